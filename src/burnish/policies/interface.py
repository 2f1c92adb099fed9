"""What algorithms and experiences may ask of a model or a sampler.

Algorithms import this module and nothing else of `policies`: they never learn whether a policy is a two-layer
network or a language model, nor how its tokens lie in a tensor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from burnish.run import UserError


@runtime_checkable
class Distribution(Protocol):
    """A distribution over actions that can be evaluated but is not trained, such as a reference."""

    def logprobs(self, batch: Any) -> Tensor:
        """log π(action | what came before), shaped like the batch's mask and 0 where the mask is False."""
        ...


@runtime_checkable
class Trained(Protocol):
    """A model with parameters that an optimizer updates."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name; a tied weight appears once."""
        ...

    def dropout(self, on: bool) -> None:
        """Switch dropout on or off; it is off wherever a ratio or a reference matters."""
        ...


@runtime_checkable
class Regularised(Protocol):
    """A model that is trained with losses of its own beside the method's, whatever the method is."""

    def own_losses(self) -> AbstractContextManager[dict[str, tuple[float, Tensor]]]:
        """Weights and values of the losses of what the model computes inside, by name, filled in at the end."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A model whose weights may be divided among the processes of a run."""

    @property
    def divided(self) -> bool:
        """Whether each process holds a shard of every weight; its gradients are summed over the processes then."""
        ...

    def gathered(self) -> AbstractContextManager[None]:
        """Inside, every process holds the whole weights, and may compute what others do not. All have to call it."""
        ...


@runtime_checkable
class Policy(Distribution, Trained, Protocol):
    """A distribution over actions that is trained."""

    def logprobs_and_entropy(self, batch: Any) -> tuple[Tensor, Tensor]:
        """`logprobs`, and the entropy of the distribution that each action was chosen from, in the same shape."""
        ...


@runtime_checkable
class Taught(Policy, Protocol):
    """A policy that can be compared with a teacher over the whole vocabulary."""

    def divergences(self, batch: Any, teacher: Any, formula: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`formula` of both models' logits `[k, V]` for k chosen tokens at a time, shaped like the batch's mask."""
        ...


@runtime_checkable
class Divergent(Protocol):
    """Distributions over actions, one per step, with an exact KL divergence."""

    def kl(self, other: Any) -> Tensor:
        """KL(self‖other) of each step's distribution, in nats, shaped like the batch's mask."""
        ...

    def detach(self) -> Any:
        """The same distributions without gradient."""
        ...


@runtime_checkable
class ExactPolicy(Policy, Protocol):
    """A policy with exact divergences between its distributions, as a trust region needs them."""

    def distribution(self, batch: Any) -> Divergent:
        """The distributions that the batch's actions are chosen from."""
        ...

    def fisher_product(self, batch: Any) -> Callable[[Tensor], Tensor]:
        """v ↦ F v at the current parameters, with F the Fisher matrix averaged over the real steps of each run."""
        ...


@runtime_checkable
class ActionValues(Trained, Protocol):
    """A policy that takes the action of the highest value."""

    def action_values(self, observations: Tensor) -> Tensor:
        """Q(s, ·) `[R, N, actions]` for observations `[R, N, inputs]`."""
        ...


@runtime_checkable
class Reparametrised(Trained, Protocol):
    """A policy whose actions are a differentiable function of noise."""

    def draw(self, observations: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions `[R, N, A]` and their log-probabilities `[R, N]`, both with a gradient."""
        ...


@runtime_checkable
class ActionCritic(Trained, Protocol):
    """An estimate of the return to come after an action."""

    def action_values(self, observations: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """Q(s, a) `[R, N]`; `frozen`: with a gradient for the actions alone, and none for its own weights."""
        ...


@runtime_checkable
class Critic(Trained, Protocol):
    """An estimate of the return to come."""

    def values(self, batch: Any) -> Tensor:
        """V of the state that each step begins in, with one column more than the batch's mask for the final state."""
        ...


@runtime_checkable
class Scorer(Trained, Protocol):
    """A reward model: one number per text."""

    def scores(self, batch: Any) -> Tensor:
        """The score of each whole text, shaped like the batch's `lengths`."""
        ...


@dataclass(frozen=True)
class SamplingKnobs:
    """How completions are drawn. `top_k` and `top_p` are for showing text, not for training."""

    seed: int
    max_new_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True)
class Wanted:
    """What a sampler is asked for: prompts (token ids), a random stream for each, and how completions are drawn."""

    prompts: Sequence[Sequence[int]]
    streams: Sequence[int]
    knobs: SamplingKnobs


@dataclass(frozen=True)
class Sampled:
    """One completion per prompt: token ids (with the final end), the log-probabilities of the distribution that they
    were drawn from, whether it ended by itself rather than at the length limit, and the version of the weights."""

    tokens: list[list[int]]
    logprobs: list[list[float]]
    ended: list[bool]
    version: int = 0


Spent = dict[str, float]
"""Seconds, by what they were spent on."""


@runtime_checkable
class Sampler(Protocol):
    """Draws completions, in this process or elsewhere.

    `exact` says that its log-probabilities are those of the trained policy itself, so that nobody has to compute them
    again before the first update.
    """

    exact: bool

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """One completion per prompt (token ids), each drawn from the random stream with the number beside it."""
        ...

    def load(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Sample with these weights from now on, and report `version` with every completion."""
        ...


@runtime_checkable
class ComparedSampler(Protocol):
    """A sampler whose log-probabilities are compared with the policy's own before anything is learned from them."""

    def compare(self, logprobs: Tensor, sampler_logprobs: Tensor, mask: Tensor) -> None:
        """Raise SamplerError where the two differ by more than rounding, at places where the mask is True."""
        ...


class SamplerError(UserError):
    """A sampler elsewhere does not answer, or not with what the policy would have drawn."""


@runtime_checkable
class Borrowing(Protocol):
    """A model that is not trained and computes with the weights of one that is."""

    lender: Any


ROLES = {
    **dict.fromkeys(("policy", "critic", "scorer", "temperature"), True),
    **dict.fromkeys(("reference", "target", "teacher"), False),
}
"""What a part of a run's models is for, and whether an optimizer updates it."""


@dataclass(frozen=True)
class Part:
    """A model and its role, for parts whose name is not their role, such as one of two critics."""

    role: str
    model: Any


class Models:
    """The models of one run as named parts, each with a role.

    `Models(policy=p, reference=r)`: a part's role is its name, unless it is given as `Part(role, model)`, as in
    `Models(policy=p, critic_1=Part("critic", a), critic_2=Part("critic", b))`. A part is an attribute. The reference
    is the policy as it was when training began. Raises ValueError for a role that is not in `ROLES`, LookupError for a
    part that is not there.
    """

    def __init__(self, **parts: Any) -> None:
        given = {name: part if isinstance(part, Part) else Part(name, part) for name, part in parts.items()}
        for name, part in given.items():
            if part.role not in ROLES:
                raise ValueError(f"the part {name} has no role: give Part(role, model) with one of {', '.join(ROLES)}")
        self.parts = given

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__.get("parts", {})
        if name in parts:
            return parts[name].model
        if name.startswith("__") or name == "parts":
            raise AttributeError(name)
        raise LookupError(f"these models have no {name}: their parts are {', '.join(parts) or 'none'}")

    def __contains__(self, name: str) -> bool:
        return name in self.parts

    def having(self, **parts: Any) -> "Models":
        """These models with more parts, or others in their place."""
        return Models(**{**self.parts, **parts})

    def trained(self) -> dict[str, Any]:
        """The models that the optimizer updates, by name."""
        return {name: part.model for name, part in self.parts.items() if ROLES[part.role]}

    @property
    def divided(self) -> bool:
        """Whether the weights of a trained model are divided among the processes of the run."""
        return any(isinstance(model, Divisible) and model.divided for model in self.trained().values())

    @property
    def together(self) -> bool:
        """Whether the weights of a model that is not trained are divided: then the processes have to call it as often,
        also where they hold the whole weights of the trained ones."""
        others = self.parts.keys() - self.trained().keys()
        return any(isinstance(model, Divisible) and model.divided for model in map(self.__getattr__, others))

    @property
    def borrowed(self) -> bool:
        """Whether a model that is not trained computes with the weights of a trained one."""
        return any(isinstance(part.model, Borrowing) for part in self.parts.values())

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Inside, every process holds the whole weights of the trained models. All of them have to call it."""
        with ExitStack() as stack:
            for model in self.trained().values():
                if isinstance(model, Divisible):
                    stack.enter_context(model.gathered())
            yield

    @property
    def main(self) -> Any:
        """The model that the run is about and that it saves as `model/`: the policy, or else the reward model."""
        return self.policy if "policy" in self else self.scorer
