"""Policies and critics of control: multilayer perceptrons of R runs in lockstep, computed together.

Each run has its own weights, initialised from its own seed; nothing mixes runs, and `keep` removes runs that have
finished. All parameters of a network are one leaf `theta` [R, n], so that clipping, the optimizer and a line search
see each run as one row.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num, Shaped
from torch import Tensor, nn

from burnish.batches import Transitions
from burnish.policies.control.choices import Categoricals
from burnish.policies.control.distributions import Categorical, DiagonalGaussian
from burnish.policies.control.images import Convolutions
from burnish.policies.control.networks import Activation, Networks, Sizes, networks, outputs, pulled, pushed, split
from burnish.run import UserError

Actions: TypeAlias = Categorical | Categoricals | DiagonalGaussian


class Stacked:
    """What R runs train in lockstep as one leaf, theta [R, n]: a row of numbers per run."""

    theta: nn.Parameter

    @property
    def runs(self) -> int:
        """The number of remaining runs."""
        return self.theta.shape[0]

    def parameters(self) -> dict[str, nn.Parameter]:
        """The only leaf, [R, n]."""
        return {"theta": self.theta}

    def dropout(self, on: bool) -> None:
        """Does nothing: there is no dropout."""

    def keep(self, index: Int[Tensor, "kept"]) -> None:
        """Keep only the runs at these positions, in this order. The leaf is replaced."""
        self.theta = nn.Parameter(self.theta.detach()[index.to(self.theta.device)])


class StackedMLP(Stacked):
    """R networks of one shape, with tanh or ReLU hidden layers, and `beside` more parameters outside the layers.

    Images (`image`: channels, height, width) are read by convolutions, whose features the layers get; their parameters
    are the last of theta.

    Weights start orthogonal, scaled by √2 in hidden layers and by `gain` in the last; all else starts at 0 (Saxe et al.
    2014; the gains are those of the PPO paper's code, openai/baselines). `stream` separates the networks of one run,
    which would otherwise start alike.
    """

    def __init__(
        self,
        sizes: Sizes,
        seeds: Sequence[int],
        *,
        gain: float,
        stream: int,
        beside: int,
        image: tuple[int, int, int] | None,
        dtype: torch.dtype,
        device: str | torch.device,
        activation: Activation = "tanh",
    ) -> None:
        self.activation = activation
        self.images = None if image is None else Convolutions(image)
        self.sizes = sizes if self.images is None else (self.images.features, *sizes[1:])
        self._own = sum((a + 1) * b for a, b in pairwise(self.sizes)) + beside
        columns = self._own + (0 if self.images is None else self.images.count)
        theta = torch.zeros(len(seeds), columns, dtype=torch.float64)
        for row, seed in zip(theta.split(1), seeds, strict=True):
            generator = generator_of(seed, stream)
            weights = split(row[:, : self._own], self.sizes)[0][::2]
            for weight in weights[:-1]:
                # Drawn in the layout of torch.nn.Linear.
                weight[0] = nn.init.orthogonal_(torch.empty_like(weight[0].T), math.sqrt(2), generator).T
            nn.init.orthogonal_(weights[-1][0], gain, generator)
            if self.images is not None:
                self.images.initialise(row[:, self._own :], generator)
        self.theta = nn.Parameter(theta.to(dtype=dtype, device=device))
        self._views: tuple[list[Tensor], Tensor] | None = None

    def named(self) -> dict[str, Tensor]:
        """A copy of the weights by layer, [R, …], each run's in the layout of `torch.nn.Linear`, or of
        `torch.nn.Conv2d`, for saving."""
        return {name: part.clone(memory_format=torch.contiguous_format) for name, part in self._named().items()}

    def load_named(self, weights: dict[str, Tensor]) -> None:
        """Load weights in the format of `named`. Raises UserError where names or shapes do not match."""
        parts = self._named()
        ours, theirs = ({name: tuple(x.shape) for name, x in some.items()} for some in (parts, weights))
        if ours != theirs:
            raise UserError(
                f"saved weights of shapes {theirs} do not match networks of shapes {ours}: use the same sizes"
            )
        for name, part in parts.items():
            part.copy_(weights[name])

    def _named(self) -> dict[str, Tensor]:
        """Views of theta, without gradient."""
        theta = self.theta.detach()
        parts, beside = split(theta[:, : self._own], self.sizes)
        named = {} if self.images is None else self.images.named(theta[:, self._own :])
        for i, (weight, bias) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            named[f"layers.{i}.weight"] = weight if i == len(self.sizes) - 2 else weight.mT
            named[f"layers.{i}.bias"] = bias.flatten(1)
        return named | ({"log_std": beside} if beside.shape[1] else {})

    def _standing(self) -> tuple[list[Tensor], Tensor]:
        """`split` of theta, recomputed only when theta has moved in memory."""
        if self._views is None or self._views[0][0].data_ptr() != self.theta.data_ptr():
            self._views = split(self.theta.detach()[:, : self._own], self.sizes)
        return self._views

    def _outputs_now(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """`_outputs` without gradient, and fast for few rows."""
        parts, beside = self._standing()
        if self.images is not None:
            observations = self.images(self.theta.detach()[:, self._own :], observations)
        return outputs(parts, observations.to(parts[0].dtype), activation=self.activation), beside

    def _outputs(self, x: Tensor, fast: bool = True) -> tuple[Tensor, Tensor]:
        """The outputs for rows [R, N, inputs], and the parameters outside the layers; `fast`: by hand where it can."""
        if self.images is not None:
            return self._of_images(self.theta, x)
        return (Networks.apply if fast else networks)(self.theta, x, self.sizes, self.activation)

    def _of_images(self, theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        assert self.images is not None
        return networks(theta[:, : self._own], self.images(theta[:, self._own :], x), self.sizes, self.activation)

    def _rows(self, observations: Tensor, mask: Tensor) -> Tensor:
        """`select`, in the type of the parameters but for images of bytes."""
        x = select(observations, mask)
        return x if self.images is not None else x.to(self.theta.dtype)


class ControlPolicy(StackedMLP):
    """π(action | observation) of R runs: categorical over `actions` actions, or Gaussian over `actions` numbers.

    With `choices`, the numbers of values of several independent choices, an action is one index for each of them, and
    `actions` is their sum. A Gaussian's standard deviations are parameters, the same for every observation, and start
    at 1.
    """

    def __init__(
        self,
        observations: int,
        actions: int,
        seeds: Sequence[int],
        *,
        continuous: bool = False,
        choices: tuple[int, ...] = (),
        image: tuple[int, int, int] | None = None,
        hidden: Sequence[int] = (64, 64),
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        sizes, beside = (observations, *hidden, actions), actions if continuous else 0
        super().__init__(sizes, seeds, gain=0.01, stream=0, beside=beside, image=image, dtype=dtype, device=device)
        self.continuous, self.choices = continuous, choices

    def distribution(self, batch: Transitions) -> Actions:
        """The distributions that actions are chosen from, [R, B, T]; at masked places those of the observation 0.

        Uses plain autograd, which supports second derivatives.
        """
        out, beside = self._outputs(self._observations(batch), fast=False)
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
        """v ↦ F v for every run, [R, n], at the current theta, also after theta has changed.

        F = mean_t Jᵀ H J = ∇²KL(π‖π_θ) at π_θ = π, over the real steps of a run

        J is the Jacobian of the network's outputs with respect to theta, H the distribution's Fisher matrix. This is
        the whole second derivative (Schraudolph 2002, generalised Gauss-Newton), because the KL's first derivative is
        0 there. A product costs one forward-mode and one backward pass, about as much as a gradient.
        """
        if self.images is not None:
            return self._fisher_of_images(batch)
        given: list[Tensor] = []
        theta, sizes = self.theta.detach().clone(), self.sizes
        parts, beside = split(theta, sizes)
        out = outputs(parts, self._observations(batch), given)
        at = self._distributions(out, beside, out.shape[:-1])
        share = self._shares(batch)
        total = share.sum(1)  # 1, or 0 for a run without a real step

        @torch.no_grad()
        def product(v: Tensor) -> Tensor:
            change, beside_change = pushed(theta, given, v, sizes)
            return pulled(theta, given, share * at.fisher(change), 2 * total * beside_change, sizes)

        return product

    def _shares(self, batch: Transitions) -> Tensor:
        """What each step counts in its run's mean, [R, N, 1]."""
        mask = batch.mask.flatten(1)[..., None].to(self.theta.dtype)
        return mask / mask.sum(1, keepdim=True).clamp(min=1)

    @torch.enable_grad()
    def _fisher_of_images(self, batch: Transitions) -> Callable[[Tensor], Tensor]:
        """`fisher_product` by autograd: J v is the derivative of Jᵀu with respect to u, in the direction of v."""
        theta = self.theta.detach().clone().requires_grad_()
        out, beside = self._of_images(theta, self._observations(batch))
        at = self._distributions(out, beside, out.shape[:-1]).detach()
        back = torch.zeros_like(out, requires_grad=True)
        (pulled_back,) = torch.autograd.grad(out, theta, back, create_graph=True)
        share, first = self._shares(batch), self._own - beside.shape[1]

        def product(v: Tensor) -> Tensor:
            (change,) = torch.autograd.grad(pulled_back, back, v, retain_graph=True)
            (product,) = torch.autograd.grad(out, theta, share * at.fisher(change), retain_graph=True)
            product[:, first : self._own] += 2 * share.sum(1) * v[:, first : self._own]
            return product

        return product

    def act(
        self, observations: Num[Tensor, "runs E inputs"], noise: Float[Tensor, "runs E *A"]
    ) -> tuple[Shaped[Tensor, "runs E *A"], Float[Tensor, "runs E"]]:
        """Actions in each run's E environments and their log-probabilities, without gradient.

        `noise` is uniform in [0, 1) with shape [R, E], or [R, E, K] with K choices, or standard normal with shape
        [R, E, A] where actions are real vectors.
        """
        return self._now(observations).draw(noise)

    def likeliest(self, observations: Num[Tensor, "runs E inputs"]) -> Shaped[Tensor, "runs E *A"]:
        """The likeliest action in each run's E environments."""
        return self._now(observations).mode()

    def _now(self, observations: Tensor) -> Actions:
        """The distributions that the actions of these steps are chosen from, without gradient."""
        out, beside = self._outputs_now(observations)
        return self._distributions(out, beside, out.shape[:-1])

    def _chosen(self, batch: Transitions) -> tuple[Actions, Tensor]:
        """`distribution` with the fast gradient, and the actions; 0 at masked places, which may hold anything."""
        out, beside = self._outputs(self._observations(batch))
        taken = batch.mask[..., None] if self.continuous or self.choices else batch.mask
        return self._distributions(out, beside, batch.mask.shape), torch.where(taken, batch.actions, 0)

    def _observations(self, batch: Transitions) -> Num[Tensor, "runs N inputs"]:
        return self._rows(batch.observations[:, :, : batch.mask.shape[-1]], batch.mask)

    def _distributions(
        self, out: Float[Tensor, "runs N outputs"], beside: Float[Tensor, "runs k"], shape: torch.Size
    ) -> Actions:
        """One distribution per place of `shape`."""
        if self.choices:
            return Categoricals(out.view(*shape, -1), self.choices)
        if not self.continuous:
            return Categorical(out.view(*shape, -1))
        return DiagonalGaussian(out.view(*shape, -1), beside[:, None].expand_as(out).view(*shape, -1))


class ControlCritic(StackedMLP):
    """V(observation) of R runs, by networks like the policy's that share no weights with it."""

    def __init__(
        self,
        observations: int,
        seeds: Sequence[int],
        *,
        image: tuple[int, int, int] | None = None,
        hidden: Sequence[int] = (64, 64),
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        sizes = (observations, *hidden, 1)
        super().__init__(sizes, seeds, gain=1.0, stream=1, beside=0, image=image, dtype=dtype, device=device)

    def values(self, batch: Transitions) -> Float[Tensor, "runs B T_and_one"]:
        """V of the states in which steps begin and of each row's final state, [R, B, T + 1]; 0 after it.

        Single steps, whose observations have no column for the final state, have 0 there.
        """
        reached = batch.mask
        loose = batch.observations.shape[2] == reached.shape[2]
        if not loose:
            reached = nn.functional.pad(reached, (0, 1)) | nn.functional.pad(reached, (1, 0))
        out, _ = self._outputs(self._rows(batch.observations, reached))
        values = torch.where(reached, out.view(reached.shape), 0.0)
        return nn.functional.pad(values, (0, 1)) if loose else values


def select(
    observations: Num[Tensor, "runs B t inputs"], mask: Bool[Tensor, "runs B t"]
) -> Num[Tensor, "runs N inputs"]:
    """Observations in one row per run, 0 where the mask is False: 0 · NaN would reach every gradient."""
    return torch.where(mask[..., None], observations, 0).flatten(1, 2)


def generator_of(seed: int, stream: int) -> torch.Generator:
    """The random stream of one run for one purpose."""
    number = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(number))
