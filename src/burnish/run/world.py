"""The processes of a run, as torchrun starts them: what each of them does, and what they have together.

One process is the world of size 1, in which every method returns what it is given. PyTorch is imported when it is
needed: the command line looks here before it imports anything.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from burnish.run.atomic import UserError
from burnish.run.records import config_differences
from burnish.run.user_code import first_line

S = TypeVar("S")
T = TypeVar("T")

HOST = socket.gethostname()

JOINING = timedelta(minutes=10)
"""How long a process waits for the others to begin."""

NOTICED = 1.0
"""Seconds after which a process that has ended is surely seen to have."""

PATIENCE = timedelta(days=1)
"""How long a process waits for the others, such as for one that writes a large model. One that has died is noticed at
once."""


SEEDS = 2**53
"""How far apart the seeds of two processes are, where each draws its own numbers."""


class LostError(UserError):
    """Another process of the run has ended."""


@dataclass(frozen=True)
class World:
    """Process `rank` of `size` processes. The processes have to call the methods in the same order.

    `store` holds what they tell each other when one fails, and `others` on which machine each of them is, and its
    number there. `waited` has the seconds that this process has spent in the methods, waiting and sending.
    """

    rank: int = 0
    size: int = 1
    store: Any = None
    others: tuple[tuple[str, int], ...] = ()
    waited: list[float] = field(default_factory=lambda: [0.0], compare=False)
    groups: list[Any] = field(default_factory=list, compare=False)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes the run folder and prints."""
        return self.rank == 0

    def bounds(self, rows: int) -> slice:
        """This process's share of so many rows; the shares differ by one row at most and may have none."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def share(self, batch: T) -> T:
        """This process's rows of a batch, contiguous."""
        if self.size == 1:
            return batch
        import torch

        rows: Any = batch
        return rows.select(torch.arange(len(rows))[self.bounds(len(rows))])  # a copy: a view is sent with the whole

    def gather(self, value: T) -> list[T]:
        """The value of every process, in their order."""
        if self.size == 1:
            return [value]
        import torch.distributed

        found: list[Any] = [None] * self.size
        with self.meeting():
            torch.distributed.all_gather_object(found, value)
        return found

    def own_rows(self, batch: T, together: bool) -> tuple[T, bool]:
        """This process's rows of a batch, and True. Where the processes have to compute `together`, one without rows
        has the batch's first row, and False: it does not count."""
        own, rows = self.share(batch), cast(Any, batch)
        counts = len(cast(Any, own)) > 0 or not together or not len(rows)
        return (own, True) if counts else (rows.select(slice(0, 1)), False)

    def by_rows(self, function: Callable[[T], Any], batch: T, together: bool = False) -> Any:
        """What the function gives for a batch, a tensor with a row for each of the batch's; each process calls it for
        its share. It must not matter to a row which others are there. Where they have to compute `together`, one
        without rows calls it too."""
        if self.size == 1:
            return function(batch)
        import torch

        own, counts = self.own_rows(batch, together)
        found = function(own) if len(cast(Any, own)) else None
        return torch.cat([part for part in self.gather(found if counts else None) if part is not None])

    def each(self, function: Callable[[S], T], items: Iterable[S], together: bool = False) -> list[T]:
        """What the function gives for each item; of N processes each calls it for every Nth, and all get all. Where
        they have to compute `together`, each calls it as often, some for an item of another once more."""
        found: dict[int, T] = {}
        count, last = 0, cast(Any, None)
        for i, item in enumerate(items):
            count, last = i + 1, item
            if i % self.size == self.rank:
                found[i] = function(item)
        if together and len(found) < -(-count // self.size):
            function(last)
        every = {i: one for part in self.gather(found) for i, one in part.items()}
        return [every[i] for i in sorted(every)]

    def sum(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The sums over the processes, by name. A process may lack names that others have."""
        total: dict[str, Any] = {}
        for one in self.gather(values):
            for name, value in one.items():
                total[name] = total[name] + value if name in total else value
        return total

    def sum_gradients(self, parameters: Sequence[Any]) -> None:
        """Sum each parameter's `.grad` over the processes. One that has none in any of them keeps none."""
        if self.size == 1:
            return
        import torch

        found = self.gather([place for place, one in enumerate(parameters) if one.grad is not None])
        used = [parameters[place] for place in sorted(set().union(*found))]
        for dtype in dict.fromkeys(one.dtype for one in used):
            same = [one for one in used if one.dtype == dtype]
            for one in same:
                one.grad = torch.zeros_like(one) if one.grad is None else one.grad
            flat = torch.cat([one.grad.flatten() for one in same])
            with self.meeting():
                torch.distributed.all_reduce(flat)
            for one, summed in zip(same, flat.split([one.numel() for one in same]), strict=True):
                one.grad.copy_(summed.view_as(one))

    def beside(self) -> Any:
        """A process group for threads that communicate while the processes themselves do."""
        if not self.groups:
            import torch.distributed

            self.groups.append(torch.distributed.new_group(backend="gloo", timeout=PATIENCE))
        return self.groups[0]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in one process at least."""
        return any(self.gather(flag))

    def from_main(self, function: Callable[[], T]) -> T:
        """What the function returns in the main process, which alone calls it; a UserError is raised in all."""
        if self.size == 1:
            return function()
        found: Any = None
        if self.is_main:
            try:
                found = function()
            except UserError as error:
                self.gather(error)
                raise
        found = self.gather(found)[0]
        if isinstance(found, UserError):
            raise found
        return found

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.gather(None)

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process first, then in the others: what it downloads is there for them."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    def check_same(self, what: dict[str, Any]) -> None:
        """Raise UserError, in every process, where one of them has other values than the main one."""
        for rank, other in enumerate(self.gather(what)):
            if rank == 0:
                own = other
            elif differences := config_differences(own, other, free=()):
                said = differences[0].replace("(was", "(process 0 has").replace(", now", f", process {rank} has")
                raise UserError(f"the processes of the run differ in {said}: start all of them in the same way")

    @contextlib.contextmanager
    def meeting(self) -> Iterator[None]:
        """Count the time of a collective; raise LostError where it fails."""
        began = time.perf_counter()
        try:
            with self.losing():
                yield
        finally:
            self.waited[0] += time.perf_counter() - began

    @contextlib.contextmanager
    def losing(self, saying: str = "") -> Iterator[None]:
        """Raise LostError, which names the processes that have ended, for a RuntimeError whose message says this."""
        try:
            yield
        except RuntimeError as error:
            if saying not in str(error):
                raise
            raise LostError(f"{self.lost()} has ended: the others end too; continue with --resume") from error

    def lost(self) -> str:
        """The process that has ended, in words, as the first to notice it says; where it ran on another machine, that
        one has."""
        deadline, gone = time.monotonic() + NOTICED, list[int]()
        while not gone and time.monotonic() < deadline:
            gone = [rank for rank, (host, number) in enumerate(self.others) if host == HOST and not is_alive(number)]
            time.sleep(0.02)
        said = f"process {' or '.join(map(str, gone))} of {self.size}" if gone else "another process of the run"
        try:
            return said if self.store is None else self.store.compare_set("lost", "", said).decode()
        except RuntimeError:  # whoever started the processes has ended
            return said

    def fails_first(self) -> bool:
        """Whether no other process has called this before; True where that cannot be found out."""
        if self.store is None:
            return True
        try:
            return self.store.add("failed", 1) == 1
        except RuntimeError:  # whoever started the processes has ended
            return True


ALONE = World()


CONNECTION = "gloo/transport"
"""What the message of an error has where gloo has lost another process."""


def is_alive(number: int) -> bool:
    """Whether the process of this number runs on this machine; one whose end nobody has noted yet does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return not Path("/proc/self/stat").exists()  # a system that does not tell


def several() -> bool:
    """Whether torchrun, or another launcher, has started this process as one of several."""
    size = os.environ.get("WORLD_SIZE", "1")
    return "RANK" in os.environ and size.isdecimal() and int(size) > 1


@cache
def joined() -> World:
    """The processes that this one was started with, connected over gloo; `ALONE` without a launcher."""
    if not several():
        return ALONE
    import torch.distributed as distributed

    where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    try:
        store, rank, size = next(distributed.rendezvous("env://", timeout=JOINING))
        # torchrun's store outlives its restarts, with what the processes before these have written there.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = distributed.PrefixStore(f"burnish/{attempt}", store)
        meeting = distributed.PrefixStore("gloo", store)
        distributed.init_process_group("gloo", store=meeting, rank=rank, world_size=size, timeout=PATIENCE)
        everyone: list[Any] = [None] * size
        distributed.all_gather_object(everyone, (HOST, os.getpid()))
    except ValueError as error:
        raise UserError(f"the processes cannot meet ({first_line(error)}): start them with torchrun") from error
    except RuntimeError as error:
        if "EADDRINUSE" in str(error) or "address already in use" in str(error):
            raise UserError(f"the processes cannot meet, because {where} is in use: set another MASTER_PORT") from error
        raise UserError(f"the processes did not all meet at {where}: start all of them again") from error
    return World(rank, size, store, tuple(everyone))
