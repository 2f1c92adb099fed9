"""What an algorithm may ask of a model.

Algorithms import this module and nothing else of `policies`: they never learn whether a policy is a two-layer
network or a language model, nor how its tokens lie in a tensor.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Distribution(Protocol):
    """A distribution over actions that can be asked and not trained: a reference, for one."""

    def logprobs(self, batch: Any) -> Tensor:
        """log π(action | what came before), shaped like the batch's mask and 0 where the mask is False."""
        ...


@runtime_checkable
class Policy(Distribution, Protocol):
    """A distribution over actions that is trained."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name; a tied weight appears once."""
        ...

    def dropout(self, on: bool) -> None:
        """Switch dropout; it is off wherever a ratio or a reference matters."""
        ...


@runtime_checkable
class Critic(Protocol):
    """An estimate of the return to come."""

    def values(self, batch: Any) -> Tensor:
        """V, one column more than the batch's mask: the last is the value of the final state."""
        ...


@dataclass(frozen=True)
class Models:
    """The models of one run. `reference` is the policy as it was when training began."""

    policy: Policy
    reference: Distribution | None = None
    critic: Critic | None = None
