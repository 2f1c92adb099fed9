"""Gives up, for good, what a process needs no more: files, network, processes, signals, memory and time.

Three parts of Linux, none of which needs root or a container: resource limits (setrlimit(2)), Landlock (landlock(7)),
which leaves only some folders readable, and a seccomp filter (seccomp(2)), which allows a short list of system calls
and answers all others with "not permitted". Nothing undoes them, in this process or in its children.
"""

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable
from typing import Any

CALLS = {
    "x86_64": {
        **{"read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9},
        **{"mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15},
        **{"pread64": 17, "readv": 19, "writev": 20, "access": 21, "select": 23, "sched_yield": 24, "mremap": 25},
        **{"madvise": 28, "dup": 32, "nanosleep": 35, "setitimer": 38, "getpid": 39, "exit": 60},
        **{"uname": 63, "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "times": 100},
        **{
            "getuid": 102,
            "getgid": 104,
            "geteuid": 107,
            "getegid": 108,
            "getppid": 110,
            "sigaltstack": 131,
            "gettid": 186,
        },
        **{"time": 201, "futex": 202, "sched_getaffinity": 204, "getdents64": 217, "restart_syscall": 219},
        **{"clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "newfstatat": 262},
        **{"readlinkat": 267, "faccessat": 269, "pselect6": 270, "ppoll": 271, "getrandom": 318, "statx": 332},
        **{"faccessat2": 439, "close_range": 436},
    },
    "aarch64": {
        **{"dup": 23, "faccessat": 48, "close": 57, "getdents64": 61, "lseek": 62, "read": 63, "write": 64},
        **{"readv": 65, "writev": 66, "pread64": 67, "pselect6": 72, "ppoll": 73, "readlinkat": 78},
        **{"newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98, "nanosleep": 101},
        **{"setitimer": 103, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115},
        **{
            "sched_getaffinity": 123,
            "sched_yield": 124,
            "restart_syscall": 128,
            "sigaltstack": 132,
            "rt_sigaction": 134,
        },
        **{"rt_sigprocmask": 135, "rt_sigreturn": 139, "times": 153, "uname": 160, "getrusage": 165},
        **{"gettimeofday": 169, "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176},
        **{"getegid": 177, "gettid": 178, "sysinfo": 179, "getcwd": 17, "brk": 214, "munmap": 215, "mremap": 216},
        **{"mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278, "statx": 291, "close_range": 436},
        **{"faccessat2": 439},
    },
}
"""The system calls that stay allowed. None opens a file, starts a process or thread, or reaches another process."""

OPENAT = {"x86_64": 257, "aarch64": 56}
FCNTL = {"x86_64": 72, "aarch64": 25}
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # on every architecture

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FCNTL_READS = (1, 2, 3)  # F_GETFD, F_SETFD, F_GETFL

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
LOAD, JUMP_EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
READ_FILE, READ_DIR = 1 << 2, 1 << 3
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights over files that each version of Landlock knows."""


class UnconfinedError(Exception):
    """The kernel does not confine this process."""


def missing() -> str:
    """What this machine lacks for `confine`; "" if nothing."""
    if sys.platform != "linux":
        return "it needs Linux"
    if platform.machine() not in CALLS or sys.maxsize < 2**32:
        return f"no list of system calls for {platform.machine()}"
    if landlock_version() < 1:
        return "the kernel has no Landlock, which Linux 5.13 or newer has where it is enabled"
    return ""


def confine(readable: Iterable[str], seconds: int, memory: int) -> None:
    """Limit this process to so many seconds of CPU time and bytes of memory, reading files below `readable` only.

    It can write to no file, start no process or thread, use no network and signal no process. Raises UnconfinedError
    where the kernel refuses.
    """
    if lacking := missing():
        raise UnconfinedError(lacking)
    limit(seconds, memory)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    restrict_files(readable)
    restrict_calls()


def limit(seconds: int, memory: int) -> None:
    """CPU time, memory, and what else setrlimit(2) limits; the process is killed when its time is up."""
    import resource

    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for which, value in limits.items():
        resource.setrlimit(which, (value, value))


def folders() -> list[str]:
    """What a Python program has to read: the standard library, and the system's shared libraries."""
    paths = {sysconfig.get_path("stdlib"), os.path.join(sys.base_prefix, "lib")}
    paths |= {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"}
    if os.path.realpath(sys.base_prefix) in ("/", "/usr"):
        paths.discard(os.path.join(sys.base_prefix, "lib"))
    return sorted(path for path in paths if os.path.exists(path))


def restrict_files(readable: Iterable[str]) -> None:
    version = landlock_version()
    rights = FILE_RIGHTS[min(version, max(FILE_RIGHTS))]
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    attributes = struct.pack("<QQQ", rights, network, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = call(LANDLOCK_CREATE, ctypes.c_char_p(attributes), ctypes.c_size_t(size), 0)
    for path in readable:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = READ_FILE | (READ_DIR if os.path.isdir(path) else 0)
        call(LANDLOCK_ADD, ruleset, 1, ctypes.c_char_p(struct.pack("<Qi", allowed, opened)), 0)
        os.close(opened)
    call(LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def restrict_calls() -> None:
    machine = platform.machine()
    program = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, AUDIT[machine]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    for number in CALLS[machine].values():
        program += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    # openat(folder, path, flags): only to read. Arguments lie from byte 16 on, 8 bytes each, the low half first.
    program += [(JUMP_EQUAL, 0, 4, OPENAT[machine]), (LOAD, 0, 0, 16 + 2 * 8), (AND, 0, 0, WRITING)]
    program += [(JUMP_EQUAL, 0, 1, 0), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 0)]
    program += [(JUMP_EQUAL, 0, 2 + 2 * len(FCNTL_READS), FCNTL[machine]), (LOAD, 0, 0, 16 + 8)]
    for command in FCNTL_READS:
        program += [(JUMP_EQUAL, 0, 1, command), (RETURN, 0, 0, ALLOW)]
    program += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in program))
    whole = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(code)))
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(whole))


def landlock_version() -> int:
    with contextlib.suppress(UnconfinedError):
        return call(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    return 0


def call(number: int, *arguments: Any) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(ctypes.c_long(number), *arguments)
    if found < 0:
        raise UnconfinedError(f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return found


def prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        raise UnconfinedError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
