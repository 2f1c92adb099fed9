"""Policies and critics of control: multilayer perceptrons of R runs in lockstep, computed as one.

A run's weights are its own: they begin from its own seed, nothing mixes over runs, and a run that has finished leaves
by `keep`. All of a network's parameters are one leaf `theta` [R, n], so that clipping, the optimizer and a line search
each see a run as one row.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from burnish.batches import Episodes
from burnish.policies.distributions import Categorical, DiagonalGaussian
from burnish.run import UserError


class StackedMLP:
    """R networks of one shape, x ↦ W_L tanh( … tanh(W_0 x + b_0) … ) + b_L, and what is trained beside them.

    Weights begin orthogonal, those of hidden layers times √2 and those of the last times `gain`; biases at 0
    (Saxe et al. 2014; the gains are of the code that came with PPO, openai/baselines). `stream` tells apart the
    networks of one run, which would begin alike else. `extra` names vectors that are parameters and of no layer;
    they begin at 0.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        seeds: Sequence[int],
        *,
        gain: float,
        stream: int,
        extra: dict[str, int] | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self.shapes = {name: shape for name, shape, _ in _layers(sizes, gain)} | {
            name: (size,) for name, size in (extra or {}).items()
        }
        self._counts = [math.prod(shape) for shape in self.shapes.values()]
        rows = [_beginning(sizes, gain, seed, stream) for seed in seeds]
        drawn = torch.stack(rows) if rows else torch.empty(0, sum(self._counts[: 2 * len(sizes) - 2]))
        theta = nn.functional.pad(drawn, (0, sum(self._counts) - drawn.shape[1]))
        self.theta = nn.Parameter(theta.to(dtype=dtype, device=device))

    @property
    def runs(self) -> int:
        """How many runs there are still."""
        return self.theta.shape[0]

    def parameters(self) -> dict[str, nn.Parameter]:
        """The one leaf, `[R, n]`."""
        return {"theta": self.theta}

    def dropout(self, on: bool) -> None:
        """There is none."""

    def keep(self, index: Int[Tensor, "kept"]) -> None:
        """Go on with the runs at these positions alone. The leaf is a new one."""
        self.theta = nn.Parameter(self.theta.detach()[index.to(self.theta.device)])

    def named(self) -> dict[str, Tensor]:
        """A copy of the stacked weights by layer, each run's as `torch.nn.Linear` has it: for saving."""
        return {name: part.detach().clone() for name, part in zip(self.shapes, self._parts(), strict=True)}

    @torch.no_grad()
    def load_named(self, weights: dict[str, Tensor]) -> None:
        """Take over what `named` gave. Raises UserError where names or shapes are of other networks."""
        parts = dict(zip(self.shapes, self._parts(), strict=True))
        ours, theirs = ({name: tuple(x.shape) for name, x in some.items()} for some in (parts, weights))
        if ours != theirs:
            raise UserError(f"saved weights of shapes {theirs} do not fit networks of shapes {ours}: build them alike")
        for name, part in parts.items():
            part.copy_(weights[name])

    def _parts(self) -> list[Tensor]:
        """`theta` by layer. Split at once: the gradient is then one concatenation, not a sum of slices among zeros."""
        parts = self.theta.split(self._counts, dim=1)
        return [part.view(-1, *shape) for part, shape in zip(parts, self.shapes.values(), strict=True)]

    def _forward(self, parts: list[Tensor], x: Float[Tensor, "runs N inputs"]) -> Float[Tensor, "runs N outputs"]:
        """The networks' outputs, each run's of its own inputs, with parameters as `_parts` gives them."""
        layers = (len(self.shapes) // 2) * 2
        for i in range(0, layers, 2):
            x = torch.baddbmm(parts[i + 1][:, None], x.tanh() if i else x, parts[i].mT)
        return x


class ControlPolicy(StackedMLP):
    """π(action | observation) of R runs: categorical over `actions` actions, or Gaussian over `actions` numbers.

    A Gaussian's standard deviation is a parameter of its own and the same for every observation; it begins at 1.
    """

    def __init__(
        self,
        observations: int,
        actions: int,
        seeds: Sequence[int],
        *,
        continuous: bool = False,
        hidden: Sequence[int] = (64, 64),
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        extra = {"log_std": actions} if continuous else {}
        sizes = (observations, *hidden, actions)
        super().__init__(sizes, seeds, gain=0.01, stream=0, extra=extra, dtype=dtype, device=device)
        self.continuous = continuous

    def distribution(self, batch: Episodes) -> Categorical | DiagonalGaussian:
        """The distributions that actions are chosen from, `[R, B, T]`; at masked places, of the observation 0."""
        assert batch.observations is not None
        return self._at(self._parts(), select(batch.observations[:, :, : batch.mask.shape[-1]], batch.mask))

    def logprobs(self, batch: Episodes) -> Float[Tensor, "runs B T"]:
        """Log-probabilities of the actions taken; 0 at masked places."""
        return torch.where(batch.mask, self._taken(self.distribution(batch), batch), 0.0)

    def logprobs_and_entropy(self, batch: Episodes) -> tuple[Float[Tensor, "runs B T"], Float[Tensor, "runs B T"]]:
        """`logprobs`, and the entropy in nats of the distribution that each action was drawn from."""
        distribution = self.distribution(batch)
        logprobs, entropy = self._taken(distribution, batch), distribution.entropy()
        return torch.where(batch.mask, logprobs, 0.0), torch.where(batch.mask, entropy, 0.0)

    @torch.no_grad()
    def act(
        self, observations: Float[Tensor, "runs E inputs"], noise: Float[Tensor, "runs E *A"]
    ) -> tuple[Shaped[Tensor, "runs E *A"], Float[Tensor, "runs E"]]:
        """Actions of each run's environments and their log-probabilities, without gradient.

        `noise` is uniform in [0, 1) and `[R, E]`, or standard normal and `[R, E, A]` where actions are real vectors:
        one number of a run's own stream for each number of an action.
        """
        distribution = self._at(self._parts(), observations)
        actions = distribution.sample(noise)
        return actions, distribution.logprobs(actions)

    def _at(
        self, parts: list[Tensor], observations: Float[Tensor, "runs *steps inputs"]
    ) -> Categorical | DiagonalGaussian:
        x = observations.to(self.theta.dtype)
        out = self._forward(parts, x.flatten(1, -2)).view(*x.shape[:-1], -1)
        if not self.continuous:
            return Categorical(out)
        return DiagonalGaussian(out, parts[-1].view(-1, *[1] * (out.dim() - 2), out.shape[-1]).expand_as(out))

    def _taken(self, distribution: Categorical | DiagonalGaussian, batch: Episodes) -> Float[Tensor, "runs B T"]:
        assert batch.actions is not None
        mask = batch.mask[..., None] if self.continuous else batch.mask
        return distribution.logprobs(torch.where(mask, batch.actions, 0))


class ControlCritic(StackedMLP):
    """V(observation) of R runs, by networks of the policy's shape that share nothing with it."""

    def __init__(
        self,
        observations: int,
        seeds: Sequence[int],
        *,
        hidden: Sequence[int] = (64, 64),
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__((observations, *hidden, 1), seeds, gain=1.0, stream=1, dtype=dtype, device=device)

    def values(self, batch: Episodes) -> Float[Tensor, "runs B T_and_one"]:
        """V of the state that each step begins in and of the one that a row ends in, `[R, B, T + 1]`; 0 elsewhere.

        Loose steps, whose observations have no column for the final state, have 0 there.
        """
        assert batch.observations is not None
        observations, reached = batch.observations, batch.mask
        loose = observations.shape[2] == reached.shape[-1]
        if not loose:
            before = nn.functional.pad(reached, (1, 0))
            reached = before | nn.functional.pad(reached, (0, 1))
        x = select(observations, reached).to(self.theta.dtype)
        values = self._forward(self._parts(), x.flatten(1, 2)).view(reached.shape)
        values = torch.where(reached, values, 0.0)
        return nn.functional.pad(values, (0, 1)) if loose else values


def select(observations: Float[Tensor, "*steps inputs"], mask: Tensor) -> Float[Tensor, "*steps inputs"]:
    """Observations where the mask is True, else 0: what no step saw shall not meet a weight, since 0 · NaN is NaN."""
    return torch.where(mask[..., None], observations, 0.0)


def _layers(sizes: Sequence[int], gain: float) -> list[tuple[str, tuple[int, ...], float]]:
    """Name, shape and gain of each weight and bias (whose gain is 0) in the order in which they lie in a row."""
    layers: list[tuple[str, tuple[int, ...], float]] = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        layers.append((f"layers.{i}.weight", (outputs, inputs), gain if last else math.sqrt(2)))
        layers.append((f"layers.{i}.bias", (outputs,), 0.0))
    return layers


def _beginning(sizes: Sequence[int], gain: float, seed: int, stream: int) -> Float[Tensor, "n"]:
    """One run's weights as they begin. Drawn in float64, so that runs of any precision begin at the same point."""
    number = int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(number)
    parts = []
    for _, shape, factor in _layers(sizes, gain):
        part = torch.zeros(shape, dtype=torch.float64)
        parts.append(nn.init.orthogonal_(part, factor, generator).flatten() if factor else part)
    return torch.cat(parts)
