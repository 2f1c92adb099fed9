"""A replay buffer: the latest steps of every run, and rows drawn from them uniformly."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from burnish.batches import Replayed
from burnish.run import UserError

REPLAY_STREAM = 9


class ReplayBuffer:
    """The last `capacity` steps of each of R runs with E copies of the environment, in preallocated tensors.

    Each copy has a ring of ⌊capacity / E⌋ places, in the order of its steps. A row of up to `n_step` steps begins with
    a step that is drawn uniformly from all of its run; it ends with its episode, and at the latest step of its copy,
    where it is cut as by a time limit. Each run draws from a stream of its own, so that it draws the same in any group.
    """

    def __init__(
        self, seeds: Sequence[int], copies: int, capacity: int, gamma: float, n_step: int, like: Tensor
    ) -> None:
        self.copies, self.places, self.gamma, self.n_step, self.like = copies, capacity // copies, gamma, n_step, like
        self.streams = [np.random.Generator(np.random.PCG64([seed, REPLAY_STREAM])) for seed in seeds]
        self.rows = np.arange(len(seeds))
        """Where the remaining runs stand in `columns`, which never move: that would take their size again."""
        self.made = np.zeros((len(seeds), copies), dtype=np.int64)
        """The steps that each copy has made."""
        self.columns: dict[str, Tensor] = {}

    def add(self, rollout: dict[str, np.ndarray]) -> None:
        """Add the real steps of a rollout, `[T, R, E, …]` by name; the oldest ones are overwritten."""
        real = rollout["real"]
        number = self.made + real.cumsum(0) - 1
        self.made = self.made + real.sum(0)
        kept = real & (number >= self.made - self.places)  # more steps than there is room for would meet in one place
        t, r, e = np.nonzero(kept)
        places = (self.rows[r] * self.copies + e) * self.places + number[t, r, e] % self.places
        values = {name: rollout[name] for name in ("observations", "actions", "rewards", "reached")}
        values |= {"ended": rollout["ended"], "discounts": np.where(rollout["terminated"], 0.0, self.gamma)}
        if not self.columns:
            self.columns = {name: self._empty(x) for name, x in values.items()}
        where = torch.from_numpy(places).to(self.like.device)
        for name, column in self.columns.items():
            column[where] = torch.from_numpy(values[name][t, r, e]).to(column)

    def draw(self, ready: Bool[np.ndarray, "R"], count: int, noise: int = 0) -> dict[str, Tensor]:
        """`count` rows of every run that is `ready`, as the fields of `Replayed`; the rows of the others are empty.

        With `noise`, the size of an action, each row has standard normal noise for two actions.
        """
        stored = np.minimum(self.made, self.places)
        last = stored.cumsum(1)
        copy, number = (np.zeros((len(self.rows), count), np.int64) for _ in range(2))
        drawn = np.zeros((len(self.rows), count, 2, noise), np.float32)
        for run in np.flatnonzero(ready):
            chosen = self.streams[run].integers(last[run, -1], size=count)
            copy[run] = np.searchsorted(last[run], chosen, side="right")
            number[run] = (self.made - last)[run, copy[run]] + chosen  # of the copy's steps, counted from its first
            if noise:
                drawn[run] = self.streams[run].standard_normal((count, 2, noise), np.float32)
        rows = self._rows(copy, number, ready)
        return rows | ({"noise": torch.from_numpy(drawn).to(self.like)} if noise else {})

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions."""
        chosen = [int(i) for i in index]
        self.streams, self.rows, self.made = [self.streams[i] for i in chosen], self.rows[chosen], self.made[chosen]

    def _rows(
        self, copy: Int[np.ndarray, "R N"], number: Int[np.ndarray, "R N"], ready: Bool[np.ndarray, "R"]
    ) -> dict[str, Tensor]:
        ahead = np.arange(self.n_step)
        runs = np.arange(len(self.rows))[:, None]
        ring = ((self.rows[:, None] * self.copies + copy) * self.places)[..., None]
        index = torch.from_numpy(ring + (number[..., None] + ahead) % self.places).to(self.like.device)
        there = (number[..., None] + ahead < self.made[runs, copy][..., None]) & ready[:, None, None]
        mask, first = torch.from_numpy(there).to(self.like.device), index[..., 0]
        if self.n_step > 1:
            ended = self.columns["ended"][index] & mask
            mask = mask & (ended.cumsum(-1) - ended.to(torch.int64) == 0)
        lengths = mask.sum(-1)
        final = index.gather(-1, (lengths - 1).clamp(min=0)[..., None])[..., 0]
        each = {"rewards": torch.where(mask, self.columns["rewards"][index], 0.0)}
        each |= {"discounts": torch.where(mask, self.columns["discounts"][index], 0.0)}
        one = {name: self.columns[name][first] for name in ("observations", "actions")}
        return each | one | {"reached": self.columns["reached"][final], "mask": mask, "lengths": lengths}

    def _empty(self, values: np.ndarray) -> Tensor:
        """A column for these values `[T, R, E, …]`, in their own type if they are bytes, whole numbers or truths."""
        kind = self.like.dtype if np.issubdtype(values.dtype, np.floating) else torch.from_numpy(values[:0]).dtype
        shape = (len(self.rows) * self.copies * self.places, *values.shape[3:])
        try:
            return torch.zeros(shape, dtype=kind, device=self.like.device)
        except RuntimeError as error:
            gigabytes = np.prod(shape, dtype=float) * kind.itemsize / 2**30
            raise UserError(
                f"a replay buffer of {self.places * self.copies:,} steps of {len(self.rows)} runs needs more than "
                f"{gigabytes:,.1f} GiB, which this machine does not have: lower buffer_size or group"
            ) from error


def replayed(rows: dict[str, Tensor], runs: Tensor, progress: Tensor) -> Replayed:
    """The batch of rows that were drawn."""
    return Replayed(**rows, rows=torch.arange(rows["mask"].shape[1], device=runs.device), runs=runs, progress=progress)
