"""What the networks of a run look like: training and a saved policy make them from the same description."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import torch

from burnish.policies.control.networks import Activation
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.policies.control.squashed import ActionNetwork, SquashedPolicy
from burnish.policies.control.values import TablePolicy, ValuePolicy

Head: TypeAlias = Literal["distribution", "squashed", "values", "table"]
"""What a policy's outputs are: a distribution over actions; one over actions in (−1, 1), which are scaled to their
bounds; a value of each action, of which it takes the highest, by a network or from a table."""


@runtime_checkable
class Acting(Protocol):
    """What has a kind of actions: a `Network`, and the environments that it is for."""

    @property
    def actions(self) -> int: ...
    @property
    def continuous(self) -> bool: ...
    @property
    def choices(self) -> tuple[int, ...]: ...


def noise_shape(kind: Acting) -> tuple[int, ...]:
    """The shape of the noise that one action is drawn from: a number, or one per choice or per real number."""
    several = kind.actions if kind.continuous else len(kind.choices)
    return (several,) if several else ()


@dataclass(frozen=True)
class Network:
    """Numbers of inputs and outputs, the kind of actions, and the sizes of the hidden layers.

    `choices` are the numbers of values of each choice, where an action is several; their sum is `actions`. `image` is
    channels, height and width of observations that are images; their product is `observations`. `activation` is of the
    networks of the heads "values" and "squashed"; those of distributions, and critics of states, have tanh.
    """

    observations: int
    actions: int
    continuous: bool
    hidden: tuple[int, ...]
    choices: tuple[int, ...] = ()
    image: tuple[int, int, int] | None = None
    head: Head = "distribution"
    activation: Activation = "tanh"

    def policy(
        self, seeds: Sequence[int], dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> Any:
        """The policies of one run per seed."""
        if self.head == "table":
            return TablePolicy(self.observations, self.actions, seeds, dtype=dtype, device=device)
        if self.head == "values":
            kind: dict[str, Any] = {"image": self.image} | self._kind(dtype, device)
            return ValuePolicy(self.observations, self.actions, seeds, **kind)
        if self.head == "squashed":
            return SquashedPolicy(self.observations, self.actions, seeds, **self._kind(dtype, device))
        kind = {"continuous": self.continuous, "choices": self.choices, "image": self.image}
        kind |= {"hidden": self.hidden, "dtype": dtype, "device": device}
        return ControlPolicy(self.observations, self.actions, seeds, **kind)

    def critic(
        self, seeds: Sequence[int], dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> ControlCritic:
        """The critics of one run per seed."""
        kind: dict[str, Any] = {"image": self.image, "hidden": self.hidden, "dtype": dtype, "device": device}
        return ControlCritic(self.observations, seeds, **kind)

    def action_critic(
        self,
        seeds: Sequence[int],
        number: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> ActionNetwork:
        """The critics of actions with this `number`, from 1 on, of one run per seed."""
        return ActionNetwork(self.observations, self.actions, seeds, number, **self._kind(dtype, device))

    def _kind(self, dtype: torch.dtype, device: str | torch.device) -> dict[str, Any]:
        return {"hidden": self.hidden, "activation": self.activation, "dtype": dtype, "device": device}

    def as_dict(self) -> dict[str, Any]:
        """The description as JSON has it."""
        lists = {"hidden": list(self.hidden), "choices": list(self.choices)}
        return asdict(self) | lists | {"image": None if self.image is None else list(self.image)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Network":
        """The description that `as_dict` gave. Raises ValueError where it is of another kind of network."""
        saved = {"head": "distribution", "activation": "tanh", **saved}  # which older descriptions do not name
        kinds = {"head": get_args(Head), "activation": get_args(Activation)}
        if saved.keys() != {field.name for field in fields(cls)} or any(saved[k] not in v for k, v in kinds.items()):
            own = f"the head {saved['head']!r} and the activation {saved['activation']!r}"
            raise ValueError(f"a network is described by {', '.join(saved)}, with {own}")
        hidden, choices = tuple(saved["hidden"]), tuple(saved["choices"])
        image = None if saved["image"] is None else tuple(saved["image"])
        sizes = [saved["observations"], saved["actions"], *hidden, *choices, *(image or ())]
        if not all(isinstance(size, int) and size > 0 for size in sizes) or not isinstance(saved["continuous"], bool):
            raise ValueError("a network has sizes that are no whole numbers above 0")
        if image is not None and (len(image) != 3 or math.prod(image) != saved["observations"]):
            raise ValueError(f"a network has images of {image} and {saved['observations']} inputs")
        if choices and (saved["continuous"] or sum(choices) != saved["actions"]):
            raise ValueError(f"a network has choices of {choices} and {saved['actions']} outputs")
        named = {name: saved[name] for name in kinds}
        return cls(saved["observations"], saved["actions"], saved["continuous"], hidden, choices, image, **named)
