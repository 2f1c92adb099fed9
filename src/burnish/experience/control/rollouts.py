"""Rollouts in environments: the experience of control, and its steps laid out as rows."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from burnish.batches import Drawn, Transitions
from burnish.experience.interface import Experience
from burnish.options import option


class Knobs(Protocol):
    """What stepping the environments depends on, whatever is then learned from the steps."""

    @property
    def copies(self) -> int: ...
    @property
    def rollout(self) -> int | None: ...
    @property
    def gamma(self) -> float: ...
    @property
    def normalise_observations(self) -> bool: ...
    @property
    def normalise_rewards(self) -> bool: ...


@dataclass(frozen=True)
class Control(Experience):
    """How a run interacts with its environment.

    Algorithms that need whole episodes play `copies` of them per rollout; the others take `rollout` steps of each copy,
    and an episode that is cut by a rollout's end continues in the next.
    """

    copies: int = option(8, "copies of the environment that a run steps at once", ge=1, most=10_000)
    rollout: int | None = option(
        32, "steps per copy and rollout; none: one whole episode per copy", ge=1, most=1_000_000
    )
    gamma: float = option(0.99, "discount factor", ge=0, le=1)
    normalise_observations: bool = option(False, "normalise observations by their running mean and deviation")
    normalise_rewards: bool = option(False, "divide rewards by the running deviation of the discounted return")

    def draw(self, source: Any, number: int, carried: dict[str, float]) -> Drawn | None:
        """The next rollout, played by the `source`, a `Player`, as rows of episodes; None at the end."""
        if (columns := played(source)) is None:
            return None
        names, progress, theta = who(source)
        return Drawn(transitions(columns, self.gamma, names, progress, theta), metrics_of(source.ledger))


def played(source: Any) -> dict[str, np.ndarray] | None:
    """The next rollout of the runs that have episodes or steps left, `[T, R, E, …]` by name; None at the end.

    A run that has finished leaves before it learns from its last rollout, and one that failed in learning from the
    rollout before this one does not play.
    """
    while len(source.streams):
        if (unfit := np.array([name in source.failed for name in source.ledger.names.tolist()])).any():
            source.retire(unfit)
            continue
        columns, failing = source.play()
        over = failing | source.ledger.over()
        source.report(source.ledger)
        remaining = source.retire(over)
        if not len(remaining):
            return None
        return {name: values[:, remaining] for name, values in columns.items()} if over.any() else columns
    return None


def who(source: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers of the runs that play, how much of each is behind it, and the parameters of their policies."""
    theta: Any = next(iter(source.models.policy.parameters().values()))
    progress = torch.from_numpy(source.ledger.progress()).to(theta.device, theta.dtype)
    return torch.from_numpy(source.ledger.names.copy()).to(theta.device), progress, theta


def metrics_of(ledger: Any) -> dict[str, float]:
    """Metrics of a rollout: the progress of the runs, and the mean return of the latest episodes."""
    latest = ledger.finished[-100:]
    return {
        "runs": float(len(ledger.names)),
        "episodes": float(ledger.ended.mean()),
        "env_steps": float(ledger.steps.mean()),
        "return": float(np.mean([e.return_ for e in latest])) if latest else 0.0,
    }


def transitions(
    columns: dict[str, np.ndarray], gamma: float, runs: Tensor, progress: Tensor, like: Tensor
) -> Transitions:
    """Steps `[T, R, E]` as rows `[R, B, T′]`, one per episode or piece of one, with device and type of `like`.

    A row ends with its episode or with the rollout; where that is not a termination its discount stays gamma, and the
    column behind its last step holds the observation that it reached.
    """
    real = np.moveaxis(columns["real"], 0, -1)
    ended = np.moveaxis(columns["ended"], 0, -1)
    piece = ended.cumsum(-1) - ended  # the row of its copy that a step belongs to
    before = real.cumsum(-1) - real  # real steps of the copy before this one
    first = np.maximum.accumulate(np.where(np.roll(ended, 1, -1) & (np.arange(ended.shape[-1]) > 0), before, 0), -1)
    column = before - first
    rows = np.where(real, piece, -1).max(-1) + 1
    row = piece + (rows.cumsum(1) - rows)[..., None]
    r, e, t = np.nonzero(real)
    place = (r, row[r, e, t], column[r, e, t])
    shape = (len(real), max(1, int(rows.sum(1).max())), int(column[real].max(initial=0)) + 1)

    def laid(name: str) -> np.ndarray:
        values = columns[name]
        out = np.zeros((*shape, *values.shape[3:]), dtype=values.dtype)
        out[place] = values[t, r, e]
        return out

    seen = columns["reached"]
    images = seen.dtype == np.uint8
    observations = np.zeros((*shape[:2], shape[2] + 1, seen.shape[-1]), np.uint8 if images else np.float64)
    observations[place[0], place[1], place[2] + 1] = seen[t, r, e]
    observations[place] = columns["observations"][
        t, r, e
    ]  # last, so that the values that the policy saw win over later normalisation
    mask = laid("real")
    tensor = lambda x: torch.from_numpy(x).to(like.device, like.dtype)  # noqa: E731
    actions = torch.from_numpy(laid("actions")).to(like.device)
    return Transitions(
        mask=torch.from_numpy(mask).to(like.device),
        lengths=torch.from_numpy(mask.sum(-1)).to(like.device),
        rows=torch.arange(shape[1], device=like.device),
        old_logprobs=tensor(laid("logprobs")),
        rewards=tensor(laid("rewards")),
        discounts=tensor(np.where(mask & ~laid("terminated"), gamma, 0.0)),
        observations=torch.from_numpy(observations).to(like.device) if images else tensor(observations),
        actions=actions,
        runs=runs.to(like.device),
        progress=progress,
    )
