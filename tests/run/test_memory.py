"""Memory that the C library keeps: asked of glibc alone, and the process does keep it."""

import ctypes
import platform
import resource
import subprocess
import sys

import pytest

from burnish.run import memory

FREES = """
import ctypes, resource, sys
from burnish.run.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_not_asked_for_again() -> None:
    """20 times 64 MB: 16,384 pages are cleared once, or each time."""
    pages = (64 << 20) // resource.getpagesize()
    faults = {
        mode: int(subprocess.run([sys.executable, "-c", FREES, mode], capture_output=True, check=True).stdout)
        for mode in ("keep", "give")
    }
    assert faults["keep"] < 1.2 * pages
    assert faults["give"] > 10 * pages or faults["give"] < faults["keep"]  # huge pages: few faults either way


def test_another_c_library_has_no_such_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_who_sets_glibcs_own_switches_keeps_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda library: pytest.fail("asked glibc"))
    monkeypatch.setenv(name, "1")
    assert not memory.keep_freed_memory()
