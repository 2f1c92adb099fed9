"""Worker processes: one thread each, and none is left when the block ends with an error."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from burnish.recipes.processes import workers


def leave() -> None:
    """Start a process that sleeps, and end with an error."""
    with workers(1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        pool.submit(time.sleep, 600)
        raise RuntimeError("stop")


def test_a_worker_has_one_thread_and_is_killed_by_an_error() -> None:
    others = set(multiprocessing.active_children())
    with pytest.raises(RuntimeError, match="stop"):
        leave()
    for child in set(multiprocessing.active_children()) - others:
        assert has_ended(child.pid or 0)  # not join: the pool's own thread asks about the child at the same time


PARENT = """
import os, time
from burnish.recipes.processes import workers
if __name__ == "__main__":
    with workers(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)
"""


def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    assert has_ended(worker)


def has_ended(process: int) -> bool:
    """Whether a process ends within a minute."""
    for _ in range(600):
        if not alive(process):
            return True
        time.sleep(0.1)
    return False


def alive(process: int) -> bool:
    """Whether a process runs: one that has ended and that nobody has asked about does not."""
    try:
        return "(zombie)" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
