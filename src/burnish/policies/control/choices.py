"""Products of categorical distributions: actions that consist of several independent choices."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.policies.control.distributions import Categorical


@dataclass(frozen=True)
class Categoricals:
    """K independent choices per step, the k-th among `sizes[k]` values, by the logits of all, `[..., Σ sizes]`.

    π(a) = Π_k π_k(a_k): log-probabilities, entropies and divergences add up over the choices.
    """

    logits: Float[Tensor, "*steps outputs"]
    sizes: tuple[int, ...]

    def logprobs(self, actions: Int[Tensor, "*steps choices"]) -> Float[Tensor, "*steps"]:
        """log π(a) = Σ_k log π_k(a_k) of the actions taken."""
        return self._sum([one.logprobs(actions[..., k]) for k, one in enumerate(self._each())])

    def entropy(self) -> Float[Tensor, "*steps"]:
        """H(π) = Σ_k H(π_k) in nats."""
        return self._sum([one.entropy() for one in self._each()])

    def kl(self, other: "Categoricals") -> Float[Tensor, "*steps"]:
        """KL(self‖other) = Σ_k KL(π_k‖other_k) in nats."""
        return self._sum([one.kl(two) for one, two in zip(self._each(), other._each(), strict=True)])

    def fisher(self, change: Float[Tensor, "*steps outputs"]) -> Float[Tensor, "*steps outputs"]:
        """The product of the Fisher matrix of the logits, which has a block per choice, with a vector."""
        each = zip(self._each(), change.split(self.sizes, -1), strict=True)
        return torch.cat([one.fisher(part) for one, part in each], -1)

    def detach(self) -> "Categoricals":
        return Categoricals(self.logits.detach(), self.sizes)

    def mode(self) -> Int[Tensor, "*steps choices"]:
        """The likeliest action: of each choice the likeliest value."""
        return torch.stack([one.mode() for one in self._each()], -1)

    def sample(self, noise: Float[Tensor, "*steps choices"]) -> Int[Tensor, "*steps choices"]:
        """The action selected by uniform `noise` in [0, 1), one number per choice."""
        return self.draw(noise)[0]

    def draw(
        self, noise: Float[Tensor, "*steps choices"]
    ) -> tuple[Int[Tensor, "*steps choices"], Float[Tensor, "*steps"]]:
        """`sample` and the sample's `logprobs`."""
        drawn = [one.draw(noise[..., k]) for k, one in enumerate(self._each())]
        return torch.stack([action for action, _ in drawn], -1), self._sum([logprob for _, logprob in drawn])

    def _each(self) -> list[Categorical]:
        return [Categorical(logits) for logits in self.logits.split(self.sizes, -1)]

    def _sum(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, -1).sum(-1)
