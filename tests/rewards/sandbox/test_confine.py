"""A confined process, from inside: everything but reading the standard library is refused by the kernel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from burnish.rewards.sandbox import confine
from burnish.rewards.sandbox.confine import CALLS, folders, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason="no Landlock here")

INSIDE = """
import ctypes, json, mmap, os, resource, signal, socket, sys, threading
from sandbox.confine import confine, folders
here, secret = sys.argv[2], os.path.join(sys.argv[2], "secret")
libc = ctypes.CDLL(None, use_errno=True)
def system(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno())
attempts = {
    "read": lambda: open(secret).read(),
    "list": lambda: os.listdir(here),
    "list home": lambda: os.listdir(os.path.expanduser("~")),
    "environment": lambda: open("/proc/self/environ").read(),
    "memory of the parent": lambda: open(f"/proc/{os.getppid()}/mem"),
    "write": lambda: open(os.path.join(here, "new"), "w"),
    "truncate": lambda: os.open(secret, os.O_RDONLY | os.O_TRUNC),
    "old open": lambda: system(2, secret.encode(), os.O_RDONLY),
    "openat2": lambda: system(437, -100, secret.encode(), 0, 0),
    "unlink": lambda: os.unlink(secret),
    "rename": lambda: os.rename(secret, secret + "2"),
    "mkdir": lambda: os.mkdir(os.path.join(here, "d")),
    "link": lambda: os.link(secret, secret + "3"),
    "chmod": lambda: os.chmod(secret, 0o777),
    "socket": lambda: socket.socket(),
    "unix socket": lambda: socket.socketpair(),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "thread": lambda: threading.Thread(target=print).start(),
    "kill": lambda: os.kill(os.getppid(), 0),
    "pipe": os.pipe,
    "memfd": lambda: os.memfd_create("x"),
    "ptrace": lambda: system(101, 16, os.getppid(), 0, 0),
    "io_uring": lambda: system(425, 8, 0),
    "memory": lambda: mmap.mmap(-1, 2**30),
    "more time": lambda: resource.setrlimit(resource.RLIMIT_CPU, (99, 99)),
    "death signal": lambda: system(157, 1, 0, 0, 0, 0),
}
fine = {
    "library": lambda: __import__("decimal").Decimal(1) / 3,
    "random": lambda: __import__("random").random(),
    "time": lambda: __import__("datetime").datetime.now(),
}
confine(folders(), 5, 512 * 2**20)
def works(attempt):
    try:
        attempt()
    except (OSError, RuntimeError, ValueError):
        return False
    return True
print(json.dumps([[k for k, v in attempts.items() if works(v)], [k for k, v in fine.items() if works(v)]]))
"""


def test_what_a_confined_process_can_do(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    code = "import sys; sys.path.insert(0, sys.argv[1])\n" + INSIDE
    command = [sys.executable, "-I", "-S", "-c", code, str(Path(confine.__file__).parents[1]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [[], ["library", "random", "time"]]
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").read_text() == "x"


def test_system_calls_have_the_kernels_numbers() -> None:
    """Against the kernel's own header where it is installed."""
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("no kernel headers")
    numbers = {}
    for line in header.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#define" and words[1].startswith("__NR") and words[2].isdigit():
            numbers[words[1].removeprefix("__NR").removeprefix("3264").lstrip("_")] = int(words[2])
    numbers["newfstatat"] = numbers["fstatat"]
    assert {name: numbers[name] for name in CALLS["aarch64"]} == CALLS["aarch64"]
    assert confine.OPENAT["aarch64"] == numbers["openat"]
    assert confine.FCNTL["aarch64"] == numbers["fcntl"]


def test_a_machine_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(path in ("/", "/usr") for path in folders())
    monkeypatch.setattr(confine.platform, "machine", lambda: "vax")
    assert missing() == "no list of system calls for vax"
    monkeypatch.setattr(confine.sys, "platform", "darwin")
    assert missing() == "it needs Linux"
