"""Distributions over the actions of control, one per step.

They hold the arguments of the formulas in `burnish.functional`, and turn given noise into actions, so that every run
can have a random stream of its own.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from burnish.functional import (
    action_logprobs,
    categorical_kl,
    entropy,
    gaussian_entropy,
    gaussian_kl,
    gaussian_logprobs,
    log_softmax,
)


@dataclass(frozen=True)
class Categorical:
    """Distributions over A actions by their logits, `[..., A]`."""

    logits: Float[Tensor, "*steps actions"]

    def logprobs(self, actions: Int[Tensor, "*steps"]) -> Float[Tensor, "*steps"]:
        """log π(a) of the actions taken, numbers 0 … A − 1."""
        return action_logprobs(self.logits, actions)

    def entropy(self) -> Float[Tensor, "*steps"]:
        """H(π) in nats."""
        return entropy(self.logits)

    def kl(self, other: "Categorical") -> Float[Tensor, "*steps"]:
        """KL(self‖other) in nats."""
        return categorical_kl(self.logits, other.logits)

    def fisher(self, change: Float[Tensor, "*steps actions"]) -> Float[Tensor, "*steps actions"]:
        """The product of the Fisher matrix of the logits with a vector: (diag(π) − π πᵀ) u."""
        pi = log_softmax(self.logits).exp()
        weighted = pi * change
        return weighted - pi * weighted.sum(-1, keepdim=True)

    def detach(self) -> "Categorical":
        return Categorical(self.logits.detach())

    def mode(self) -> Int[Tensor, "*steps"]:
        """The likeliest action; of several, the first."""
        return self.logits.argmax(-1)

    def sample(self, noise: Float[Tensor, "*steps"]) -> Int[Tensor, "*steps"]:
        """The action selected by uniform `noise` in [0, 1): inverse-CDF sampling."""
        return self.draw(noise)[0]

    def draw(self, noise: Float[Tensor, "*steps"]) -> tuple[Int[Tensor, "*steps"], Float[Tensor, "*steps"]]:
        """`sample` and the sample's `logprobs`, from one log-softmax.

        a = the number of actions b with Σ_{c ≤ b} π(c) ≤ noise · Σ_c π(c)

        The sum on the right is 1 but for rounding. Since noise · x < x for every x > 0 in floating point too, neither
        an action of probability 0 is ever drawn nor one beyond the last.
        """
        logprobs = self.logits.log_softmax(-1)  # faster for few steps than `burnish.functional`
        cumulative = logprobs.exp().cumsum(-1)
        actions = (cumulative <= noise[..., None] * cumulative[..., -1:]).sum(-1)
        return actions, logprobs.gather(-1, actions[..., None]).squeeze(-1)


@dataclass(frozen=True)
class DiagonalGaussian:
    """Distributions over real vectors of A numbers by mean and logarithm of the standard deviation, `[..., A]`."""

    mean: Float[Tensor, "*steps actions"]
    log_std: Float[Tensor, "*steps actions"]

    def logprobs(self, actions: Float[Tensor, "*steps actions"]) -> Float[Tensor, "*steps"]:
        """log π(a), a density, of the actions taken."""
        return gaussian_logprobs(self.mean, self.log_std, actions)

    def entropy(self) -> Float[Tensor, "*steps"]:
        """Differential entropy in nats, which may be negative."""
        return gaussian_entropy(self.log_std)

    def kl(self, other: "DiagonalGaussian") -> Float[Tensor, "*steps"]:
        """KL(self‖other) in nats."""
        return gaussian_kl(self.mean, self.log_std, other.mean, other.log_std)

    def fisher(self, change: Float[Tensor, "*steps actions"]) -> Float[Tensor, "*steps actions"]:
        """The product of the Fisher matrix of the mean with a vector: u / σ²; that of log σ is 2."""
        return change * (-2 * self.log_std).exp()

    def detach(self) -> "DiagonalGaussian":
        return DiagonalGaussian(self.mean.detach(), self.log_std.detach())

    def mode(self) -> Float[Tensor, "*steps actions"]:
        """The likeliest action: the mean."""
        return self.mean

    def sample(self, noise: Float[Tensor, "*steps actions"]) -> Float[Tensor, "*steps actions"]:
        """The action selected by standard normal `noise`: μ + σ · noise."""
        return self.mean + self.log_std.exp() * noise

    def draw(
        self, noise: Float[Tensor, "*steps actions"]
    ) -> tuple[Float[Tensor, "*steps actions"], Float[Tensor, "*steps"]]:
        """`sample` and the sample's `logprobs`."""
        actions = self.sample(noise)
        return actions, self.logprobs(actions)
