"""Tabular Q-learning."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.epsilon_greedy import EpsilonGreedy
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Replayed
from burnish.functional import n_step_target, value_loss
from burnish.policies.interface import Models


@dataclass(frozen=True)
class QLearning(EpsilonGreedy):
    """A table of the values of all actions in all states, corrected after every step by how wrong it was.

    Q(s, a) ← Q(s, a) + α (y − Q(s, a)),  y = r + γ max_b Q(s′, b),  and y = r where the step terminated

    which is a step of length α down the gradient of ½ (Q(s, a) − y)² with y fixed. The policy takes the best action, or
    with probability ε any. y does not depend on what is done in s′: the values learned are those of the best policy,
    whatever policy made the steps. They converge if every action is tried in every state for ever and the rates α of
    each satisfy Σ α = ∞ and Σ α² < ∞, as a `visit_decay` above ½ makes them.

    Watkins & Dayan (1992), "Q-learning", eq. 1 and the theorem; the rates: Even-Dar & Mansour (2003), "Learning Rates
    for Q-learning".
    """

    name = "q_learning"
    roles = ("policy",)
    paper = "Watkins & Dayan 1992"
    head = "table"

    def loss(self, models: Models, batch: Replayed) -> Loss:
        with torch.no_grad():
            values = models.policy.action_values(batch.reached).max(-1).values
        targets = n_step_target(batch.rewards, batch.discounts, batch.mask, values)
        return regression(models.policy.action_values(batch.observations), targets, batch, value_loss)


def regression(
    values: Float[Tensor, "runs rows actions"], targets: Float[Tensor, "runs rows"], batch: Replayed, formula: Any
) -> Loss:
    """The error `formula` of the values of the actions taken, with the mean value and the mean size of the error."""
    taken = values.gather(-1, batch.actions[..., None]).squeeze(-1)
    metrics = {"val/action_value_avg": taken.detach(), "val/td_error_avg": (targets - taken.detach()).abs()}
    return Loss({"value_avg": Term(formula(taken, targets), batch.real, "row")}, metrics)
