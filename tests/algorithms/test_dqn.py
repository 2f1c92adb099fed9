"""DQN's loss and gradient by hand and by loops, and when its target network moves."""

from dataclasses import replace

import pytest
import torch
from replays import GAMMA, random_rows

from burnish.algorithms.dqn import DQN
from burnish.functional import aggregate
from burnish.policies.control.values import ValuePolicy
from burnish.policies.interface import Models, Part


def linear(*weights: float) -> ValuePolicy:
    """Q(x, a) = w_a x of one run."""
    policy = ValuePolicy(1, len(weights), [0], hidden=(), dtype=torch.float64)
    policy.theta.detach().zero_()
    policy.theta.detach()[0, : len(weights)] = torch.tensor(weights)
    return policy


@pytest.mark.parametrize(("double", "loss", "slope"), [(False, 0.0, 0.0), (True, 1.5, 1.0)])
def test_the_loss_and_its_gradient_by_hand(double: bool, loss: float, slope: float) -> None:
    """At x = 1 the network says 1 and 2, its copy 3 and −1. Action 1 there earned ½ and led back to x = 1, γ = ½.
    Plain: y = ½ + ½ · 3 = 2, and the value 2 is right. Double: the network would choose action 1, which the copy values
    −1: y = 0; the error of 2 costs 2 − ½, and its slope is clipped to 1, for the weight of action 1 and its bias."""
    rows = random_rows(1, 1, 1, 1, 2, False)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    rows = replace(rows, observations=one, reached=one, rewards=one / 2, discounts=one / 2, actions=torch.tensor([[1]]))
    models = Models(policy=linear(1.0, 2.0), target=Part("target", linear(3.0, -1.0)))
    found = DQN(double=double).loss(models, rows)
    (term,) = found.terms.values()
    assert term.losses.tolist() == [[loss]]
    (gradient,) = torch.autograd.grad(term.losses.sum(), models.policy.theta)
    assert gradient.tolist() == [[0.0, slope, 0.0, slope]]


@pytest.mark.parametrize("double", [False, True])
def test_the_loss_by_loops(double: bool) -> None:
    """Rows of up to three steps of two runs, on networks of their own."""
    rows = random_rows(2, 9, 3, 4, 3, False)
    policy, target = (ValuePolicy(4, 3, seeds, hidden=(5,), dtype=torch.float64) for seeds in ([1, 2], [3, 4]))
    loss = DQN(double=double).loss(Models(policy=policy, target=Part("target", target)), rows)
    values, now = policy.action_values(rows.observations), policy.action_values(rows.reached)
    worth = target.action_values(rows.reached)
    for r in range(2):
        for b in range(9):
            best = int(now[r, b].argmax()) if double else int(worth[r, b].argmax())
            y, length = 0.0, int(rows.lengths[r, b])
            for k in range(length):
                y += GAMMA**k * rows.rewards[r, b, k].item()
            if rows.discounts[r, b, length - 1] > 0:
                y += GAMMA**length * worth[r, b, best].item()
            error = values[r, b, int(rows.actions[r, b])].item() - y
            expected = error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
            assert loss.terms["value_avg"].losses[r, b].item() == pytest.approx(expected)
            assert loss.metrics["val/td_error_avg"][r, b].item() == pytest.approx(abs(error))


def test_an_empty_row_may_hold_anything() -> None:
    rows = random_rows(1, 4, 2, 4, 3, False)
    policy = ValuePolicy(4, 3, [1], hidden=(5,), dtype=torch.float64)
    models = Models(policy=policy, target=Part("target", ValuePolicy(4, 3, [2], hidden=(5,), dtype=torch.float64)))
    found = []
    for junk in (0.0, 1e30):
        rewards, mask = rows.rewards.clone(), rows.mask.clone()
        mask[0, 3], rewards[0, 3] = False, junk
        own = replace(rows, mask=mask, rewards=rewards)
        (term,) = DQN().loss(models, own).terms.values()
        loss = aggregate(term.losses, term.mask, over=term.over, total=own.counts()["row"])
        found.append([loss.sum(), torch.autograd.grad(loss.sum(), policy.theta)[0]])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_target_network_moves_every_so_many_updates() -> None:
    found = DQN(target_update_interval=3, tau=0.5).following(torch.arange(1, 8))
    assert found.tolist() == [0, 0, 0.5, 0, 0, 0.5, 0]
