"""Policies and critics of control: multilayer perceptrons of R runs in lockstep, computed as one.

A run's weights are its own: they begin from its own seed, nothing mixes over runs, and a run that has finished leaves
by `keep`. All of a network's parameters are one leaf `theta` [R, n], so that clipping, the optimizer and a line search
each see a run as one row.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from burnish.batches import Transitions
from burnish.policies.control.distributions import Categorical, DiagonalGaussian
from burnish.policies.control.networks import Networks, Sizes, networks, outputs, pulled, pushed, split
from burnish.run import UserError


class StackedMLP:
    """R networks of one shape with hidden layers of tanh, and `beside` parameters more that are of no layer.

    Weights begin orthogonal, those of hidden layers times √2 and those of the last times `gain`; all else at 0
    (Saxe et al. 2014; the gains are those of the code that came with PPO, openai/baselines). `stream` tells apart the
    networks of one run, which would begin alike else.
    """

    def __init__(
        self,
        sizes: Sizes,
        seeds: Sequence[int],
        *,
        gain: float,
        stream: int,
        beside: int,
        dtype: torch.dtype,
        device: str | torch.device,
    ) -> None:
        self.sizes = sizes
        columns = sum((a + 1) * b for a, b in pairwise(sizes)) + beside
        theta = torch.zeros(len(seeds), columns, dtype=torch.float64)
        for row, seed in zip(theta.split(1), seeds, strict=True):
            generator = generator_of(seed, stream)
            weights = split(row, sizes)[0][::2]
            for weight in weights[:-1]:
                # Drawn the way that torch.nn.Linear has it.
                weight[0] = nn.init.orthogonal_(torch.empty_like(weight[0].T), math.sqrt(2), generator).T
            nn.init.orthogonal_(weights[-1][0], gain, generator)
        self.theta = nn.Parameter(theta.to(dtype=dtype, device=device))
        self._views: tuple[list[Tensor], Tensor] | None = None

    @property
    def runs(self) -> int:
        """How many runs there are still."""
        return self.theta.shape[0]

    def parameters(self) -> dict[str, nn.Parameter]:
        """The one leaf, [R, n]."""
        return {"theta": self.theta}

    def dropout(self, on: bool) -> None:
        """There is none."""

    def keep(self, index: Int[Tensor, "kept"]) -> None:
        """Go on with the runs at these positions alone, in this order. The leaf is a new one."""
        self.theta = nn.Parameter(self.theta.detach()[index.to(self.theta.device)])

    def named(self) -> dict[str, Tensor]:
        """A copy of the weights by layer, [R, …] and each run's as `torch.nn.Linear` has it: for saving."""
        return {name: part.clone(memory_format=torch.contiguous_format) for name, part in self._named().items()}

    def load_named(self, weights: dict[str, Tensor]) -> None:
        """Take over what `named` gave. Raises UserError where names or shapes are of other networks."""
        parts = self._named()
        ours, theirs = ({name: tuple(x.shape) for name, x in some.items()} for some in (parts, weights))
        if ours != theirs:
            raise UserError(f"saved weights of shapes {theirs} do not fit networks of shapes {ours}: build them alike")
        for name, part in parts.items():
            part.copy_(weights[name])

    def _named(self) -> dict[str, Tensor]:
        """Views of theta, without gradient."""
        parts, beside = split(self.theta.detach(), self.sizes)
        named = {}
        for i, (weight, bias) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            named[f"layers.{i}.weight"] = weight if i == len(self.sizes) - 2 else weight.mT
            named[f"layers.{i}.bias"] = bias.flatten(1)
        return named | ({"log_std": beside} if beside.shape[1] else {})

    def _standing(self) -> tuple[list[Tensor], Tensor]:
        """`split` of theta as it is, made anew only where theta has moved to another place in memory."""
        if self._views is None or self._views[0][0].data_ptr() != self.theta.data_ptr():
            self._views = split(self.theta.detach(), self.sizes)
        return self._views


class ControlPolicy(StackedMLP):
    """π(action | observation) of R runs: categorical over `actions` actions, or Gaussian over `actions` numbers.

    A Gaussian's standard deviations are parameters, the same for every observation, and begin at 1.
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
        sizes, beside = (observations, *hidden, actions), actions if continuous else 0
        super().__init__(sizes, seeds, gain=0.01, stream=0, beside=beside, dtype=dtype, device=device)
        self.continuous = continuous

    def distribution(self, batch: Transitions) -> Categorical | DiagonalGaussian:
        """The distributions that actions are chosen from, [R, B, T]; at masked places those of the observation 0.

        Made openly, for products with second derivatives, which would recompute what a gradient by hand has saved.
        """
        out, beside = networks(self.theta, self._observations(batch), self.sizes)
        return self._distributions(out, beside, batch.mask.shape)

    def logprobs(self, batch: Transitions) -> Float[Tensor, "runs B T"]:
        """Log-probabilities of the actions taken; 0 at masked places."""
        distributions, actions = self._chosen(batch)
        return torch.where(batch.mask, distributions.logprobs(actions), 0.0)

    def logprobs_and_entropy(self, batch: Transitions) -> tuple[Float[Tensor, "runs B T"], Float[Tensor, "runs B T"]]:
        """`logprobs`, and the entropy in nats of the distribution that each action was drawn from."""
        distributions, actions = self._chosen(batch)
        logprobs, entropy = distributions.logprobs(actions), distributions.entropy()
        return torch.where(batch.mask, logprobs, 0.0), torch.where(batch.mask, entropy, 0.0)

    @torch.no_grad()
    def fisher_product(self, batch: Transitions) -> Callable[[Tensor], Tensor]:
        """v ↦ F v of every run, [R, n], at theta as it is now, whatever becomes of it.

        F = mean_t Jᵀ H J = ∇²KL(π‖π_θ) at π_θ = π, over the real steps of a run

        J is the derivative of what the network gives by theta, H the distribution's own Fisher matrix. That this is all
        of the second derivative (Schraudolph 2002, generalised Gauss-Newton) is due to KL's first one, which is 0
        there. A product costs a push forward and a pull back, about as much as a gradient.
        """
        given: list[Tensor] = []
        theta, sizes = self.theta.detach().clone(), self.sizes
        parts, beside = split(theta, sizes)
        out = outputs(parts, self._observations(batch), given)
        at = self._distributions(out, beside, out.shape[:-1])
        mask = batch.mask.flatten(1)[..., None].to(theta.dtype)
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)
        total = share.sum(1)  # 1, or 0 of a run without a real step

        @torch.no_grad()
        def product(v: Tensor) -> Tensor:
            change, beside_change = pushed(theta, given, v, sizes)
            return pulled(theta, given, share * at.fisher(change), 2 * total * beside_change, sizes)

        return product

    def act(
        self, observations: Float[Tensor, "runs E inputs"], noise: Float[Tensor, "runs E *A"]
    ) -> tuple[Shaped[Tensor, "runs E *A"], Float[Tensor, "runs E"]]:
        """Actions in each run's E environments and their log-probabilities, without gradient.

        `noise` is uniform in [0, 1) and [R, E], or standard normal and [R, E, A] where actions are real vectors: each
        run's from a stream of its own.
        """
        parts, beside = self._standing()
        out = outputs(parts, observations.to(parts[0].dtype))
        return self._distributions(out, beside, out.shape[:-1]).draw(noise)

    def _chosen(self, batch: Transitions) -> tuple[Categorical | DiagonalGaussian, Tensor]:
        """`distribution`, quickly, and the actions; 0 for those that nobody took, which may be anything."""
        out, beside = Networks.apply(self.theta, self._observations(batch), self.sizes)
        taken = batch.mask[..., None] if self.continuous else batch.mask
        return self._distributions(out, beside, batch.mask.shape), torch.where(taken, batch.actions, 0)

    def _observations(self, batch: Transitions) -> Float[Tensor, "runs N inputs"]:
        return select(batch.observations[:, :, : batch.mask.shape[-1]], batch.mask).to(self.theta.dtype)

    def _distributions(
        self, out: Float[Tensor, "runs N outputs"], beside: Float[Tensor, "runs k"], shape: torch.Size
    ) -> Categorical | DiagonalGaussian:
        """One distribution for each place of `shape`."""
        if not self.continuous:
            return Categorical(out.view(*shape, -1))
        return DiagonalGaussian(out.view(*shape, -1), beside[:, None].expand_as(out).view(*shape, -1))


class ControlCritic(StackedMLP):
    """V(observation) of R runs, by networks like the policy's that share nothing with them."""

    def __init__(
        self,
        observations: int,
        seeds: Sequence[int],
        *,
        hidden: Sequence[int] = (64, 64),
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        sizes = (observations, *hidden, 1)
        super().__init__(sizes, seeds, gain=1.0, stream=1, beside=0, dtype=dtype, device=device)

    def values(self, batch: Transitions) -> Float[Tensor, "runs B T_and_one"]:
        """V of the states that steps begin in and that rows end in, [R, B, T + 1]; 0 behind them.

        Loose steps, whose observations have no column for the final state, have 0 there.
        """
        reached = batch.mask
        loose = batch.observations.shape[2] == reached.shape[2]
        if not loose:
            reached = nn.functional.pad(reached, (0, 1)) | nn.functional.pad(reached, (1, 0))
        x = select(batch.observations, reached).to(self.theta.dtype)
        out, _ = Networks.apply(self.theta, x, self.sizes)
        values = torch.where(reached, out.view(reached.shape), 0.0)
        return nn.functional.pad(values, (0, 1)) if loose else values


def select(
    observations: Float[Tensor, "runs B t inputs"], mask: Bool[Tensor, "runs B t"]
) -> Float[Tensor, "runs N inputs"]:
    """Observations in one row a run, and 0 for those where the mask is False: 0 · NaN would reach every gradient."""
    return torch.where(mask[..., None], observations, 0.0).flatten(1, 2)


def generator_of(seed: int, stream: int) -> torch.Generator:
    """A stream of random numbers of one run, and of one purpose within it."""
    number = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(number))
