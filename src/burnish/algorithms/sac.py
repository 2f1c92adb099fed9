"""Soft actor-critic."""

from dataclasses import dataclass

import torch
from torch import Tensor

from burnish.algorithms.interface import Algorithm
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Replayed
from burnish.functional import n_step_target, soft_value, value_loss
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class SAC(Algorithm):
    """A policy that follows the gradient of its critics, on replayed steps, with entropy as a part of the return.

    L(φ_k) = mean_i [ ½ (Q_k(s_i, a_i) − y_i)² ],  y = r + γ (min_k Q_target,k(s′, b) − α log π(b|s′)),  b ~ π(·|s′)
    L(θ) = mean_i [ α log π_θ(b|s_i) − min_k Q_k(s_i, b) ],  b = tanh(μ_θ(s_i) + σ_θ(s_i) ε)
    L(log α) = mean_i [ −log α · (log π(b|s_i) + target_entropy) ]

    The gradient goes through the action b into the critics, whose own weights it leaves alone; of two critics the
    smaller counts, because the policy finds what one of them overestimates. The temperature α rises while the entropy
    is below its target. Each loss is of one model, and all models make their step at once.

    Haarnoja et al. (2018), "Soft Actor-Critic Algorithms and Applications", eqs. 5, 7 and 18 and algorithm 1; bounded
    actions: Haarnoja et al. (2018), "Soft Actor-Critic", appendix C.
    Differs: eq. 18 has α in place of log α; the papers' code and Stable-Baselines3 have log α, as here. Its policy's
    step is one from critics after their own step, here and in the papers' code from those before it.
    """

    name = "sac"
    roles = ("policy", "critic", "target")
    paper = "Haarnoja et al. 2018"
    head = "squashed"
    activation = "relu"
    replays = True
    follows = {"target_1": "critic_1", "target_2": "critic_2"}  # noqa: RUF012 - a fact of the class

    tau: float = option(0.005, "how far the target networks move to the critics after each update", gt=0, le=1)
    target_update_interval: int = option(1, "updates between those of the target networks", ge=1)
    temperature: float | None = option(None, "α, the price of entropy; none: learned, towards target_entropy", ge=0)
    target_entropy: float | None = option(
        None, "entropy per step in nats, of actions in (−1, 1), that α is learned for; none: −1 per number of an action"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature is not None and self.target_entropy is not None:
            raise ValueError("target_entropy is for a temperature that is learned: leave one of them out")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("temperature",) if self.temperature is None else ()

    def loss(self, models: Models, batch: Replayed) -> Loss:
        assert batch.noise is not None
        real, observations = batch.real, batch.observations
        alpha = self.alpha(models, batch)
        losses, values = self.critic_losses(models, batch, alpha)
        drawn, logprobs = models.policy.draw(observations, batch.noise[:, :, 1])
        worth = [models.parts[name].model.action_values(observations, drawn, frozen=True) for name in losses]
        losses["policy"] = -soft_value(torch.minimum(*worth), logprobs, alpha)
        if self.temperature is None:
            losses["temperature"] = self.temperature_losses(models, batch, logprobs)
        metrics = {
            "val/action_value_avg": values,
            "policy/entropy_avg": -logprobs.detach(),
            "policy/temperature": alpha[:, 0].expand(len(real)),
        }
        return Loss({f"{name}_avg": Term(each, real, "row") for name, each in losses.items()}, metrics)

    def alpha(self, models: Models, batch: Replayed) -> Tensor:
        """The temperature of each run, `[R, 1]`, without gradient."""
        if self.temperature is not None:
            return batch.rewards.new_full((len(batch.runs), 1), self.temperature)
        return models.temperature.theta.detach().exp()

    def critic_losses(self, models: Models, batch: Replayed, alpha: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The losses of both critics `[R, B]` by their names, and the mean of their values."""
        assert batch.noise is not None
        with torch.no_grad():
            following, logprobs = models.policy.draw(batch.reached, batch.noise[:, :, 0])
            worth = [models.parts[name].model.action_values(batch.reached, following) for name in self.follows]
            soft = soft_value(torch.minimum(*worth), logprobs, alpha)
            targets = n_step_target(batch.rewards, batch.discounts, batch.mask, soft)
        names = list(self.follows.values())
        values = [models.parts[name].model.action_values(batch.observations, batch.actions) for name in names]
        losses = {name: value_loss(value, targets) for name, value in zip(names, values, strict=True)}
        return losses, torch.stack(values).mean(0).detach()

    def temperature_losses(self, models: Models, batch: Replayed, logprobs: Tensor) -> Tensor:
        """−log α · (log π + target entropy), `[R, B]`."""
        wanted = -float(batch.actions.shape[-1]) if self.target_entropy is None else self.target_entropy
        return -models.temperature.theta * (logprobs.detach() + wanted)

    def following(self, updates: Tensor) -> Tensor:
        return torch.where(updates % self.target_update_interval == 0, self.tau, 0.0)
