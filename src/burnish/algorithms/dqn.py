"""Deep Q-networks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from burnish.algorithms.epsilon_greedy import EpsilonGreedy
from burnish.algorithms.q_learning import regression
from burnish.algorithms.terms import Loss
from burnish.batches import Replayed
from burnish.functional import double_q, huber_loss, n_step_target
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class DQN(EpsilonGreedy):
    """Q-learning with a network in place of the table, on replayed steps, towards a copy that stands still for a while.

    L(θ) = mean_i [ huber(Q_θ(s_i, a_i) − y_i) ],  y = r + γ max_b Q_target(s′, b),  y = r where the step terminated

    Replay makes the steps of an update nearly independent, and the copy keeps the targets from running after the values
    that learn from them. `double`: the network chooses the action and the copy says its worth, which removes most of
    the bias of the maximum. With the experience's `n_step`, y has n rewards before the value.

    Mnih et al. (2015), "Human-level control through deep reinforcement learning", algorithm 1 and methods; van Hasselt
    et al. (2016), "Deep Reinforcement Learning with Double Q-learning", eq. 4.
    Differs: from the paper by Adam in place of RMSProp; and Stable-Baselines3 counts `target_update_interval` in
    environment steps, where here, as in the paper, it is in updates.
    """

    name = "dqn"
    roles = ("policy", "target")
    paper = "Mnih et al. 2015"
    head = "values"
    activation = "relu"
    replays = True
    follows = {"target": "policy"}  # noqa: RUF012 - a fact of the class

    double: bool = option(False, "double Q-learning: the network chooses the action that the target network values")
    target_update_interval: int = option(10_000, "updates between those of the target network", ge=1)
    tau: float = option(1.0, "how far the target network then moves to the network: 1 copies it", gt=0, le=1)

    def loss(self, models: Models, batch: Replayed) -> Loss:
        with torch.no_grad():
            worth = models.target.action_values(batch.reached)
            chosen = models.policy.action_values(batch.reached) if self.double else worth
            targets = n_step_target(batch.rewards, batch.discounts, batch.mask, double_q(worth, chosen))
        return regression(models.policy.action_values(batch.observations), targets, batch, huber_loss)

    def following(self, updates: Tensor) -> Tensor:
        return torch.where(updates % self.target_update_interval == 0, self.tau, 0.0)
