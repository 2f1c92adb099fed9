"""Memory that the C library keeps when it is freed."""

import ctypes
import os

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Of `mallopt`, in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor, rather than give it back to the system, which clears every page
    when it is asked for again. Whether that was done: not where the environment has glibc's own switches, `MALLOC_…_`
    and `GLIBC_TUNABLES`, and other C libraries have none.

    Work that makes and drops large tensors all the time takes less time, up to half of it, and some more memory.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
