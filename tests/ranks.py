"""Several processes of one run, as torchrun starts them, forked from a server that has imported everything once."""

import os
import pickle
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import jobs
from torch.distributed import TCPStore

STORES: list[TCPStore] = []
"""Where the processes meet: kept here as torchrun's agent keeps it, so that it outlives each of them."""


def variables(size: int) -> list[dict[str, str]]:
    """The environment of each process."""
    STORES[:] = [TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)]
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(STORES[0].port)}
    common |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    return [dict(os.environ) | common | {"RANK": str(rank)} for rank in range(size)]


def start(arguments: list[list[str]], log: Path, crash: tuple[int, str, int] | None = None) -> list[ForkServerProcess]:
    """`burnish …` in processes with these arguments, in the log's folder; `crash` names the rank that dies too."""
    processes = []
    for rank, environment in enumerate(variables(len(arguments))):
        own = crash[1:] if crash and crash[0] == rank else None
        process = jobs.process(jobs.child, arguments[rank], str(log), own, environment)
        process.start()
        processes.append(process)
    return processes


def run(arguments: list[list[str]], log: Path, crash: tuple[int, str, int] | None = None) -> list[int]:
    """The exit statuses."""
    return [jobs.finish(process) for process in start(arguments, log, crash)]


def together(size: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What the function returns in each of the processes, or the error that it raises."""
    folder.mkdir(parents=True, exist_ok=True)
    processes = []
    for rank, environment in enumerate(variables(size)):
        path = str(folder / f"{rank}.pickle")
        process = jobs.process(called, environment, path, function, arguments)
        process.start()
        processes.append(process)
    for process in processes:
        jobs.finish(process, 240)  # many runs
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(size)]


def called(environment: dict[str, str], path: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    try:
        found = function(*arguments)
    except Exception as error:
        found = error
    Path(path).write_bytes(pickle.dumps(found))
    sys.stdout.flush()
