"""What SAC trains beside each other: policies with bounded actions, critics of actions, and temperatures, of R runs."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.functional import squashed_gaussian_sample
from burnish.policies.control.networks import Activation, networks
from burnish.policies.control.policy import Stacked, StackedMLP
from burnish.run import UserError

LEAST_LOG_STD, MOST_LOG_STD = -20.0, 2.0
"""As in the code of the SAC papers: far beyond them nothing is a number any more."""
LOG_TEMPERATURE = "log_temperature"


class SquashedPolicy(StackedMLP):
    """π(action | observation) of R runs: tanh of a diagonal Gaussian, so that actions lie in (−1, 1).

    Mean and log standard deviation both depend on the observation: 2 · `actions` outputs; the latter is clipped to
    [−20, 2]. The environment scales actions to its bounds.
    """

    def __init__(
        self,
        observations: int,
        actions: int,
        seeds: Sequence[int],
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        sizes = (observations, *hidden, 2 * actions)
        kind: dict[str, Any] = {"image": None, "activation": activation, "dtype": dtype, "device": device}
        super().__init__(sizes, seeds, gain=0.01, stream=0, beside=0, **kind)

    def draw(
        self, observations: Float[Tensor, "runs N inputs"], noise: Float[Tensor, "runs N actions"]
    ) -> tuple[Float[Tensor, "runs N actions"], Float[Tensor, "runs N"]]:
        """Actions by standard normal noise, and their log-densities, both differentiable."""
        return self._sample(self._outputs(observations.to(self.theta.dtype))[0], noise)

    @torch.no_grad()
    def act(
        self, observations: Float[Tensor, "runs E inputs"], noise: Float[Tensor, "runs E actions"]
    ) -> tuple[Float[Tensor, "runs E actions"], Float[Tensor, "runs E"]]:
        """`draw` without gradient."""
        return self._sample(self._outputs_now(observations)[0], noise)

    @torch.no_grad()
    def likeliest(self, observations: Float[Tensor, "runs E inputs"]) -> Float[Tensor, "runs E actions"]:
        """tanh of the mean: the median of each number."""
        return self._outputs_now(observations)[0].chunk(2, -1)[0].tanh()

    def _sample(self, out: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = out.chunk(2, -1)
        return squashed_gaussian_sample(mean, log_std.clamp(LEAST_LOG_STD, MOST_LOG_STD), noise)


class ActionNetwork(StackedMLP):
    """Q(observation, action) of R runs; `stream` tells one critic of a run from the other."""

    def __init__(
        self,
        observations: int,
        actions: int,
        seeds: Sequence[int],
        stream: int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        sizes = (observations + actions, *hidden, 1)
        kind: dict[str, Any] = {"image": None, "activation": activation, "dtype": dtype, "device": device}
        super().__init__(sizes, seeds, gain=1.0, stream=stream, beside=0, **kind)

    def action_values(
        self,
        observations: Float[Tensor, "runs N inputs"],
        actions: Float[Tensor, "runs N actions"],
        frozen: bool = False,
    ) -> Float[Tensor, "runs N"]:
        """The values; `frozen`: with a gradient for the actions alone, and else for the weights alone."""
        given = torch.cat([observations.to(self.theta.dtype), actions.to(self.theta.dtype)], -1)
        if frozen:
            return networks(self.theta.detach(), given, self.sizes, self.activation)[0].squeeze(-1)
        return self._outputs(given)[0].squeeze(-1)


class Temperature(Stacked):
    """The price of entropy of R runs, one positive number each; theta is its logarithm, [R, 1], which starts at 0."""

    def __init__(self, runs: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> None:
        self.theta = nn.Parameter(torch.zeros(runs, 1, dtype=dtype, device=device))

    def named(self) -> dict[str, Tensor]:
        """A copy of the logarithms, [R, 1], for saving."""
        return {LOG_TEMPERATURE: self.theta.detach().clone()}

    def load_named(self, weights: dict[str, Tensor]) -> None:
        """Load numbers in the format of `named`. Raises UserError where they do not match."""
        if {name: x.shape for name, x in weights.items()} != {LOG_TEMPERATURE: self.theta.shape}:
            raise UserError(f"saved temperatures {', '.join(weights)} do not match {self.runs} runs")
        self.theta.detach().copy_(weights[LOG_TEMPERATURE])
