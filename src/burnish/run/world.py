"""The processes of a run, as torchrun starts them: what each of them does, and what they have together.

One process is the world of size 1, in which every method returns what it is given. PyTorch is imported when it is
needed: the command line looks here before it imports anything.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from burnish.run.atomic import UserError
from burnish.run.records import config_differences

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long a process waits for the others, such as for one that writes a large model. One that has died is noticed at
once."""


class LostError(UserError):
    """Another process of the run has ended."""


@dataclass(frozen=True)
class World:
    """Process `rank` of `size` processes. The processes have to call the methods in the same order.

    `store` holds what they tell each other when one fails.
    """

    rank: int = 0
    size: int = 1
    store: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes the run folder and prints."""
        return self.rank == 0

    def bounds(self, rows: int) -> slice:
        """This process's share of so many rows; the shares differ by one row at most and may have none."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def share(self, batch: T) -> T:
        """This process's rows of a batch, contiguous."""
        rows: Any = batch
        return batch if self.size == 1 else rows.select(self.bounds(len(rows)))

    def gather(self, value: T) -> list[T]:
        """The value of every process, in their order."""
        if self.size == 1:
            return [value]
        import torch.distributed

        found: list[Any] = [None] * self.size
        with losing():
            torch.distributed.all_gather_object(found, value)
        return found

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
            with losing():
                torch.distributed.all_reduce(flat)
            for one, summed in zip(same, flat.split([one.numel() for one in same]), strict=True):
                one.grad.copy_(summed.view_as(one))

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


@contextlib.contextmanager
def losing(saying: str = "") -> Iterator[None]:
    """Raise LostError for a collective that fails with a message `saying` this: a process of the run has ended."""
    try:
        yield
    except RuntimeError as error:
        if saying not in str(error):
            raise
        raise LostError("another process of the run has ended: the others end too; continue with --resume") from error


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

    with losing():
        store, rank, size = next(distributed.rendezvous("env://", timeout=timedelta(minutes=10)))
        prefixed = distributed.PrefixStore("burnish", store)
        distributed.init_process_group("gloo", store=prefixed, rank=rank, world_size=size, timeout=PATIENCE)
    return World(rank, size, store)
