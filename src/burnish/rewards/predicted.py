"""Reward predictors trained on comparisons of trajectory segments, as ensembles for R runs in lockstep.

A network predicts the reward of each step from observation and action; the score of a segment is the sum over its
steps, and segments are compared with the Bradley–Terry model. It is a reward model with segments instead of texts.

Christiano et al. (2017), "Deep Reinforcement Learning from Human Preferences", sections 2.2.1 and 2.2.3.
Differs: fixed weight decay, where the paper adapts it to keep the validation loss slightly above the training loss; no
dropout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.functional import erring_bradley_terry
from burnish.options import check, option

PREDICTOR_STREAM = 5
SLOPE = 0.01  # of the leaky ReLU, as in the paper
BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Predictor:
    """Hyperparameters of a reward predictor: networks and optimiser."""

    members: int = option(
        3, "networks whose normalised predictions are averaged, each trained on a bootstrap sample", ge=1
    )
    hidden: tuple[int, ...] = option((64, 64), "sizes of the hidden layers")
    learning_rate: float = option(1e-3, "Adam's learning rate", gt=0)
    weight_decay: float = option(1e-2, "decoupled weight decay, multiplied by the learning rate", ge=0)
    error: float = option(0.1, "assumed share of random labels", ge=0, lt=1, why="at 1 labels carry no information")
    deviation: float = option(0.2, "standard deviation to which each network's predictions are scaled", gt=0)

    def __post_init__(self) -> None:
        check(self)


class PredictedReward:
    """Ensembles of M reward predictors for each of R runs: features of a step [F] → its reward.

    Runs are independent: run i of a group gives the same results as the same run alone.
    """

    def __init__(
        self,
        inputs: int,
        seeds: Sequence[int],
        knobs: Predictor,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self.knobs, self.sizes = knobs, (inputs, *knobs.hidden, 1)
        theta = torch.stack([begun(self.sizes, seed, knobs.members) for seed in seeds])
        self.theta = theta.to(dtype=dtype, device=device)
        self._moments, self._squares = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self._counts = self.theta.new_zeros(len(seeds), 1, 1)
        self._centre = self.theta.new_zeros(len(seeds), inputs)
        self._spread = self.theta.new_ones(len(seeds), inputs)
        self._mean = self.theta.new_zeros(len(seeds), knobs.members)
        self._std = self.theta.new_ones(len(seeds), knobs.members)

    def scale_inputs(self, mean: Float[Tensor, "runs F"], variance: Float[Tensor, "runs F"]) -> None:
        """Standardise input features with these statistics from now on; constant features are only centred."""
        spread = variance.to(self.theta).sqrt()
        self._centre, self._spread = mean.to(self.theta), torch.where(spread > 1e-6, spread, 1.0)

    @torch.no_grad()
    def scale_outputs(self, features: Float[Tensor, "runs N F"], real: Bool[Tensor, "runs N"]) -> None:
        """Normalise each member's predictions by its mean and deviation over this experience from now on.

        Comparisons only determine differences of rewards, and not their scale.
        """
        raw, counts = self.each(features), real.sum(-1)[:, None].clamp(min=1)
        mean = torch.where(real[:, None], raw, 0.0).sum(-1) / counts
        squares = torch.where(real[:, None], raw - mean[..., None], 0.0).square().sum(-1)
        some = real.any(-1)[:, None]
        self._mean = torch.where(some, mean, self._mean)
        self._std = torch.where(some, (squares / counts).sqrt().clamp(min=1e-6), self._std)

    @torch.no_grad()
    def __call__(self, features: Float[Tensor, "runs *steps F"]) -> Float[Tensor, "runs *steps"]:
        """The reward of each step: the mean of the members' normalised predictions."""
        raw = self.each(features.flatten(1, -2))
        scaled = (raw - self._mean[..., None]) / self._std[..., None]
        return self.knobs.deviation * scaled.mean(1).view(features.shape[:-1])

    @torch.no_grad()
    def worth(self, segments: Float[Tensor, "runs N L F"]) -> Float[Tensor, "runs M N"]:
        """Each member's score of each segment: the sum of its unnormalised predictions over the steps."""
        return self.each(segments.flatten(1, 2)).unflatten(-1, segments.shape[1:3]).sum(-1)

    def each(self, features: Float[Tensor, "runs N F"]) -> Float[Tensor, "runs M N"]:
        """Every member's unnormalised predictions."""
        return self._outputs(self.theta, features[:, None].expand(-1, self.knobs.members, -1, -1))

    def descend(
        self,
        pairs: Float[Tensor, "runs M P 2 L F"],
        labels: Float[Tensor, "runs M P"],
        going: Bool[Tensor, "runs"],
    ) -> Float[Tensor, "runs"]:
        """One Adam step on the mean loss over each member's own P comparisons, in the runs where `going` is True.

        A label is 1 if the first segment of a pair is better, 0 if the second is, ½ for a tie. Returns the loss before
        the step, averaged over members.
        """
        theta = self.theta.detach().requires_grad_()
        worth = self._outputs(theta, pairs.flatten(2, 4)).unflatten(-1, pairs.shape[2:5]).sum(-1)
        losses = erring_bradley_terry(worth[..., 0], worth[..., 1], labels, self.knobs.error).mean(-1)
        (gradient,) = torch.autograd.grad(losses.sum(), theta)
        self._adam(gradient, going[:, None, None])
        return losses.detach().mean(-1)

    def keep(self, index: Int[Tensor, "kept"]) -> None:
        """Keep only the runs at these positions."""
        for name in ("theta", "_moments", "_squares", "_counts", "_centre", "_spread", "_mean", "_std"):
            setattr(self, name, getattr(self, name)[index])

    def _outputs(self, theta: Tensor, features: Float[Tensor, "runs M N F"]) -> Float[Tensor, "runs M N"]:
        scaled = (features - self._centre[:, None, None]) / self._spread[:, None, None]
        return network(theta.flatten(0, 1), scaled.flatten(0, 1), self.sizes).view(features.shape[:-1])

    @torch.no_grad()
    def _adam(self, gradient: Tensor, going: Tensor) -> None:
        """Adam with decoupled weight decay (Loshchilov & Hutter 2019), with a step count per run."""
        (first, second), rate = BETAS, self.knobs.learning_rate
        moments = torch.lerp(self._moments, gradient, 1 - first)
        squares = torch.lerp(self._squares, gradient.square(), 1 - second)
        counts = self._counts + 1
        step = moments / (1 - first**counts) / ((squares / (1 - second**counts)).sqrt() + EPSILON)
        theta = self.theta * (1 - rate * self.knobs.weight_decay) - rate * step
        new, old = (theta, moments, squares, counts), (self.theta, self._moments, self._squares, self._counts)
        self.theta, self._moments, self._squares, self._counts = (
            torch.where(going, a, b) for a, b in zip(new, old, strict=True)
        )


def network(
    theta: Float[Tensor, "nets n"], x: Float[Tensor, "nets N F"], sizes: tuple[int, ...]
) -> Float[Tensor, "nets N"]:
    """Multilayer perceptrons with leaky ReLU, each applied to its own inputs."""
    parts = iter(theta.split([n for a, b in pairwise(sizes) for n in (a * b, b)], dim=1))
    for layer, (a, b) in enumerate(pairwise(sizes)):
        if layer:
            x = torch.nn.functional.leaky_relu(x, SLOPE)
        weight = next(parts).view(-1, a, b)
        x = torch.baddbmm(next(parts).view(-1, 1, b), x, weight)
    return x.squeeze(-1)


def begun(sizes: tuple[int, ...], seed: int, members: int) -> Float[Tensor, "M n"]:
    """Initial weights of a run's members: normal with variance 2/inputs in hidden layers and 1/inputs in the last.

    He et al. (2015), "Delving Deep into Rectifiers", for the hidden layers.
    """
    stream = np.random.Generator(np.random.PCG64([seed, PREDICTOR_STREAM]))
    rows = []
    for _ in range(members):
        parts = []
        for layer, (a, b) in enumerate(pairwise(sizes)):
            gain = 1.0 if layer == len(sizes) - 2 else 2.0
            parts += [stream.standard_normal(a * b) * np.sqrt(gain / a), np.zeros(b)]
        rows.append(np.concatenate(parts))
    return torch.from_numpy(np.stack(rows))
