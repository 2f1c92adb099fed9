"""Rewards predicted from comparisons of trajectory segments, by ensembles of R runs in lockstep.

A network predicts the reward of each step from observation and action; what a segment is worth is the sum over its
steps, and of two segments the one worth more wins with the probability of Bradley and Terry. It is a reward model whose
texts are segments.

Christiano et al. (2017), "Deep Reinforcement Learning from Human Preferences", sections 2.2.1 and 2.2.3.
Differs: regularised by a fixed weight decay, where the paper adapts it to keep the loss on held-out comparisons a
little above that on the others; no dropout.
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
    """The networks of a reward predictor and how they are optimised."""

    members: int = option(3, "networks whose normalised predictions are averaged, each with a bootstrap sample", ge=1)
    hidden: tuple[int, ...] = option((64, 64), "sizes of their hidden layers")
    learning_rate: float = option(1e-3, "Adam's learning rate", gt=0)
    weight_decay: float = option(1e-2, "decoupled weight decay, as a share of the learning rate", ge=0)
    error: float = option(0.1, "assumed share of random answers", ge=0, lt=1, why="at 1 labels carry no information")
    deviation: float = option(0.2, "standard deviation of each member's predictions over recent experience", gt=0)

    def __post_init__(self) -> None:
        check(self)


class PredictedReward:
    """Ensembles of M predictors for each of R runs: features of a step [F] → its reward.

    Nothing mixes over runs: run i of a group is trained and predicts as the same run alone.
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
        """See features less their mean over their deviation from now on; one that never varied is only centred."""
        spread = variance.to(self.theta).sqrt()
        self._centre, self._spread = mean.to(self.theta), torch.where(spread > 1e-6, spread, 1.0)

    @torch.no_grad()
    def scale_outputs(self, features: Float[Tensor, "runs N F"], real: Bool[Tensor, "runs N"]) -> None:
        """Predict with mean 0 and one deviation over this experience from now on, each member for itself.

        Only differences of rewards show in comparisons, and nothing fixes their scale.
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
        """What each member takes each segment to be worth: its steps' predictions, not normalised, in sum."""
        return self.each(segments.flatten(1, 2)).unflatten(-1, segments.shape[1:3]).sum(-1)

    def each(self, features: Float[Tensor, "runs N F"]) -> Float[Tensor, "runs M N"]:
        """Every member's predictions, not normalised."""
        return self._outputs(self.theta, features[:, None].expand(-1, self.knobs.members, -1, -1))

    def descend(
        self,
        pairs: Float[Tensor, "runs M P 2 L F"],
        labels: Float[Tensor, "runs M P"],
        going: Bool[Tensor, "runs"],
    ) -> Float[Tensor, "runs"]:
        """One step of Adam on the mean loss over each member's own P comparisons, in the runs that are `going`.

        A label is 1 where the first segment of a pair is better, 0 where the second is, ½ where both are alike.
        Returns the loss before the step, in the mean over members.
        """
        theta = self.theta.detach().requires_grad_()
        worth = self._outputs(theta, pairs.flatten(2, 4)).unflatten(-1, pairs.shape[2:5]).sum(-1)
        losses = erring_bradley_terry(worth[..., 0], worth[..., 1], labels, self.knobs.error).mean(-1)
        (gradient,) = torch.autograd.grad(losses.sum(), theta)
        self._adam(gradient, going[:, None, None])
        return losses.detach().mean(-1)

    def keep(self, index: Int[Tensor, "kept"]) -> None:
        """Go on with the runs at these positions alone."""
        for name in ("theta", "_moments", "_squares", "_counts", "_centre", "_spread", "_mean", "_std"):
            setattr(self, name, getattr(self, name)[index])

    def _outputs(self, theta: Tensor, features: Float[Tensor, "runs M N F"]) -> Float[Tensor, "runs M N"]:
        scaled = (features - self._centre[:, None, None]) / self._spread[:, None, None]
        return network(theta.flatten(0, 1), scaled.flatten(0, 1), self.sizes).view(features.shape[:-1])

    @torch.no_grad()
    def _adam(self, gradient: Tensor, going: Tensor) -> None:
        """Adam with decoupled weight decay (Loshchilov & Hutter 2019), each run with its own count of steps."""
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
    """Layers with a leaky ReLU between them, each network on its own inputs."""
    parts = iter(theta.split([n for a, b in pairwise(sizes) for n in (a * b, b)], dim=1))
    for layer, (a, b) in enumerate(pairwise(sizes)):
        if layer:
            x = torch.nn.functional.leaky_relu(x, SLOPE)
        weight = next(parts).view(-1, a, b)
        x = torch.baddbmm(next(parts).view(-1, 1, b), x, weight)
    return x.squeeze(-1)


def begun(sizes: tuple[int, ...], seed: int, members: int) -> Float[Tensor, "M n"]:
    """First weights of a run's members: normal, of variance 2/inputs in hidden layers and 1/inputs in the last.

    He et al. (2015), "Delving Deep into Rectifiers", for the former.
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
