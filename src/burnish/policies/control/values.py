"""Policies of control that know the values of their actions and take the best: a table, or networks, of R runs."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from burnish.policies.control.networks import Activation
from burnish.policies.control.policy import Stacked, StackedMLP
from burnish.run import UserError

TABLE = "table"


class Greedy:
    """What both have in common; `_values_now` gives Q(s, ·) without gradient."""

    def _values_now(self, observations: Tensor) -> Tensor:
        raise NotImplementedError

    def act(
        self, observations: Num[Tensor, "runs E inputs"], noise: Tensor
    ) -> tuple[Int[Tensor, "runs E"], Float[Tensor, "runs E"]]:
        """The action of the highest value, of several the first, and its log-probability: 0, or NaN where no value is a
        number any more. The noise is not used."""
        best = self._values_now(observations).max(-1)
        return best.indices, 0.0 * best.values

    def likeliest(self, observations: Num[Tensor, "runs E inputs"]) -> Int[Tensor, "runs E"]:
        """The action of the highest value in each run's E environments."""
        return self._values_now(observations).argmax(-1)


class ValuePolicy(Greedy, StackedMLP):
    """Q(observation, ·) of R runs by networks, one output per action."""

    def __init__(
        self,
        observations: int,
        actions: int,
        seeds: Sequence[int],
        *,
        image: tuple[int, int, int] | None = None,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        sizes = (observations, *hidden, actions)
        kind: dict[str, Any] = {"image": image, "activation": activation, "dtype": dtype, "device": device}
        super().__init__(sizes, seeds, gain=1.0, stream=0, beside=0, **kind)

    def action_values(self, observations: Num[Tensor, "runs N inputs"]) -> Float[Tensor, "runs N actions"]:
        """The values of all actions."""
        return self._outputs(observations if self.images is not None else observations.to(self.theta.dtype))[0]

    def _values_now(self, observations: Tensor) -> Tensor:
        return self._outputs_now(observations)[0]


class TablePolicy(Greedy, Stacked):
    """Q(s, a) of R runs by tables of S states, whose observations are one-hot, and A actions; 0 at the start.

    theta is [R, S · A], as the networks' parameters are one row per run.
    """

    def __init__(
        self,
        states: int,
        actions: int,
        seeds: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self.states, self.actions = states, actions
        self.theta = nn.Parameter(torch.zeros(len(seeds), states * actions, dtype=dtype, device=device))

    def named(self) -> dict[str, Tensor]:
        """A copy of the tables, [R, S, A], for saving."""
        return {TABLE: self._table().detach().clone()}

    def load_named(self, weights: dict[str, Tensor]) -> None:
        """Load tables in the format of `named`. Raises UserError where the shape does not match."""
        ours, theirs = tuple(self._table().shape), {name: tuple(x.shape) for name, x in weights.items()}
        if theirs != {TABLE: ours}:
            raise UserError(f"saved tables of shapes {theirs} do not match {ours}: use the same environment")
        self.theta.detach().copy_(weights[TABLE].flatten(1))

    def action_values(self, observations: Num[Tensor, "runs N inputs"]) -> Float[Tensor, "runs N actions"]:
        """The values of all actions in these states."""
        return torch.bmm(observations.to(self.theta.dtype), self._table())

    def cells(
        self, observations: Num[Tensor, "runs N inputs"], actions: Int[Tensor, "runs N"]
    ) -> Int[Tensor, "runs N"]:
        """Where the values of these actions stand in theta."""
        return observations.argmax(-1) * self.actions + actions

    def _table(self) -> Tensor:
        return self.theta.view(self.runs, self.states, self.actions)

    def _values_now(self, observations: Tensor) -> Any:
        with torch.no_grad():
            return self.action_values(observations)
