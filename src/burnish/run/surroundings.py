"""What the machine refuses: memory and threads that it lacks, and files whose reading never ends."""

import os
import re
import stat
import threading
from pathlib import Path

from burnish.run.atomic import UserError

_SIGNS = re.compile(
    r"out of memory|(?:not enough|can't allocate|cannot allocate) memory|bad_alloc|failed to map segment", re.I
)
_ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) ?(\w+)", re.I)
FEWEST_THREADS = 16
_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFSOCK: "socket"}


def lacks_memory(error: BaseException) -> str | None:
    """Where memory ran out, of the machine or of a GPU, what was asked for: "not enough memory (20 GiB asked for)";
    None for any other error."""
    if not isinstance(error, MemoryError) and not (
        isinstance(error, RuntimeError | ImportError) and _SIGNS.search(str(error))
    ):
        return None
    found = _ASKED.search(str(error))
    if found is None:
        return "not enough memory"
    number, unit = found.groups()
    if unit == "bytes":
        gib = int(number) / 2**30
        number, unit = (f"{gib:,.1f}", "GiB") if gib >= 0.1 else (f"{gib * 1024:,.1f}", "MiB")
    size = f"{number} {unit}"
    return f"not enough memory ({size} asked for)"


def refuse_special(path: str | Path) -> None:
    """Raise UserError for a FIFO, a device or a socket, and for a folder with one in it: reading it may never end."""
    for one in (path, *(os.scandir(path) if os.path.isdir(path) else ())):
        try:
            kind = _KINDS.get(stat.S_IFMT(os.stat(one).st_mode))
        except (OSError, ValueError):  # whoever opens it says so
            continue
        if kind:
            raise UserError(f"{os.fspath(one)} is a {kind}, not a file: copy what it gives into a file")


def threads_allowed(count: int) -> int:
    """How many threads, at most `count`, the system lets this process have with the one that asks."""
    over = threading.Event()
    started: list[threading.Thread] = []
    try:
        while len(started) + 1 < count:
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # can't start new thread
        pass
    finally:
        over.set()
        for thread in started:
            thread.join()
    return len(started) + 1


def refuse_few_threads() -> None:
    """Raise UserError where the libraries' own thread pools could not start: they abort, panic or wait for ever."""
    if (allowed := threads_allowed(FEWEST_THREADS)) < FEWEST_THREADS:
        raise UserError(
            f"the system lets this process have {allowed} threads, and its libraries need {FEWEST_THREADS}: raise the "
            "limit (ulimit -u or -v, or that of the container)"
        )
