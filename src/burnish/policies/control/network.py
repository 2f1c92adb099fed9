"""What the networks of a run look like: training and a saved policy make them from the same description."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from burnish.policies.control.policy import ControlCritic, ControlPolicy


@dataclass(frozen=True)
class Network:
    """Numbers of inputs and outputs, the kind of actions, and the sizes of the hidden layers."""

    observations: int
    actions: int
    continuous: bool
    hidden: tuple[int, ...]

    def policy(
        self, seeds: Sequence[int], dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> ControlPolicy:
        """The policies of one run per seed."""
        kind: dict[str, Any] = {"continuous": self.continuous, "hidden": self.hidden, "dtype": dtype, "device": device}
        return ControlPolicy(self.observations, self.actions, seeds, **kind)

    def critic(
        self, seeds: Sequence[int], dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> ControlCritic:
        """The critics of one run per seed."""
        return ControlCritic(self.observations, seeds, hidden=self.hidden, dtype=dtype, device=device)

    def as_dict(self) -> dict[str, Any]:
        """The description as JSON has it."""
        return asdict(self) | {"hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Network":
        """The description that `as_dict` gave. Raises ValueError where it is of another kind of network."""
        if saved.keys() != {field.name for field in fields(cls)}:
            raise ValueError(f"a network is described by {', '.join(saved)}")
        sizes = [saved["observations"], saved["actions"], *saved["hidden"]]
        if not all(isinstance(size, int) and size > 0 for size in sizes) or not isinstance(saved["continuous"], bool):
            raise ValueError("a network has sizes that are no whole numbers above 0")
        return cls(saved["observations"], saved["actions"], saved["continuous"], tuple(saved["hidden"]))
