"""Q-learning's loss and gradient by hand."""

import torch

from burnish.algorithms.q_learning import QLearning
from burnish.batches import Replayed
from burnish.functional import aggregate
from burnish.policies.control.values import TablePolicy
from burnish.policies.interface import Models


def steps(
    states: list[int], actions: list[int], rewards: list[float], reached: list[int], ends: list[bool]
) -> Replayed:
    """One step of one run each, in a world of three states, with γ = ½."""
    one_hot = torch.eye(3, dtype=torch.float64)
    count = len(states)
    return Replayed(
        observations=one_hot[states][None],
        actions=torch.tensor([actions]),
        rewards=torch.tensor([rewards], dtype=torch.float64)[..., None],
        discounts=torch.tensor([[0.0 if end else 0.5 for end in ends]], dtype=torch.float64)[..., None],
        mask=torch.ones(1, count, 1, dtype=torch.bool),
        reached=one_hot[reached][None],
        lengths=torch.ones(1, count, dtype=torch.int64),
        rows=torch.arange(count),
        runs=torch.tensor([0]),
        progress=torch.zeros(1),
    )


def test_the_loss_and_its_gradient_by_hand() -> None:
    """Q = [[1, 2], [3, 4], [5, 6]]. In state 0, action 1 earns 3 and leads to state 1: y = 3 + ½·4 = 5, an error of 3.
    In state 1, action 0 earns 3 and terminates: no error. In state 2, action 1 earns 1 and is cut in state 0, which is
    worth 2: y = 2, an error of −4."""
    policy = TablePolicy(3, 2, [0], dtype=torch.float64)
    policy.theta.detach().copy_(torch.arange(1.0, 7.0)[None])
    batch = steps([0, 1, 2], [1, 0, 1], [3.0, 3.0, 1.0], [1, 2, 0], [False, True, False])
    loss = QLearning().loss(Models(policy=policy), batch)
    (term,) = loss.terms.values()
    assert term.losses.tolist() == [[4.5, 0.0, 8.0]]
    assert term.over == "row"
    assert loss.metrics["val/td_error_avg"].tolist() == [[3.0, 0.0, 4.0]]
    assert loss.metrics["val/action_value_avg"].tolist() == [[2.0, 3.0, 6.0]]
    total = aggregate(term.losses, term.mask, over="row", total=torch.tensor([1]))
    (gradient,) = torch.autograd.grad(total.sum(), policy.theta)
    assert gradient.tolist() == [[0.0, -3.0, 0.0, 0.0, 0.0, 4.0]]  # none through the targets
