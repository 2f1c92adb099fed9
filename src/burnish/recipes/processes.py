"""Work that is spread over processes with one thread each."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each, killed when an error or Ctrl-C ends the block.

    They are killed, because a pool hands a process its next call before the current one has ended.
    """
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), start) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.kill()  # its work is finished or done again
            raise


def start() -> None:
    """Set up a worker process: one thread, no reaction to Ctrl-C, which the parent handles, and an end with the
    parent's, also where that is killed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
