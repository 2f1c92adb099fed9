"""Late rollouts: which turn learns from which, nothing changed without a lag, and the weights by hand."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from scripted import Scripted, long, player_of

from burnish.batches import Drawn, Transitions
from burnish.experience.control.behind import Behind, of_runs
from burnish.experience.control.rollouts import Control
from burnish.experience.interface import draws

KNOBS = Control(1, 4)


def world() -> Scripted:
    return Scripted([[long(99)], [long(3, 2, 99)]])


def late(how: Behind, player: Any, count: int) -> Iterator[Drawn]:
    return islice(how(draws(KNOBS, player), player), count)


@torch.no_grad()
def shift(player: Any) -> None:
    """A policy that has learned: its parameters are others."""
    player.models.policy.theta += (
        0.1 * torch.arange(player.models.policy.theta.numel()).view_as(player.models.policy.theta).sin()
    )


def test_without_a_lag_the_rollouts_are_the_same_objects() -> None:
    player = player_of(world(), KNOBS, episodes=50)
    stream = list(islice(draws(KNOBS, player), 3))
    assert all(a is b for a, b in zip(Behind(0, "product")(iter(stream), player), stream, strict=True))


def test_turn_t_learns_from_what_the_policy_of_turn_t_minus_lag_did() -> None:
    """The policy that acted is the policy as it was two turns before, or the first."""
    player = player_of(world(), KNOBS, episodes=50)
    fresh = player_of(world(), KNOBS, episodes=50)
    policies, weights = [], []
    for turn, drawn in enumerate(late(Behind(2, "action"), player, 5)):
        policies.append(player.models.policy.theta.detach().clone())
        acted = fresh.models.policy
        with torch.no_grad():
            acted.theta.copy_(policies[max(0, turn - 2)])
            before = acted.logprobs(drawn.batch)
            now = player.models.policy.logprobs(drawn.batch)
        assert int(drawn.batch.observations[0, 0, 0, 2]) == 4 * turn  # the step in run 0's episode, which has no end
        torch.testing.assert_close(drawn.batch.old_logprobs, now)
        expected = torch.where(drawn.batch.mask, (now - before).exp(), 1.0)
        torch.testing.assert_close(drawn.batch.weights, expected)
        weights.append(drawn.batch.weights)
        shift(player)
    torch.testing.assert_close(weights[0], torch.ones_like(weights[0]))  # The first policy made the first rollouts.
    assert all(not torch.allclose(one, torch.ones_like(one)) for one in weights[1:])


def rows() -> Transitions:
    """One run with two rows: log μ is −1 at each of three actions, and −2 and −2 at those of the other."""
    mask = torch.tensor([[[True, True, True], [True, True, False]]])
    return Transitions(
        observations=torch.zeros(1, 2, 4, 1),
        actions=torch.zeros(1, 2, 3, dtype=torch.long),
        mask=mask,
        lengths=mask.sum(-1),
        rows=torch.arange(2),
        old_logprobs=torch.tensor([[[-1.0, -1, -1], [-2, -2, -99]]]),
        rewards=torch.zeros(1, 2, 3),
        discounts=torch.zeros(1, 2, 3),
        runs=torch.tensor([7]),
        progress=torch.zeros(1),
    )


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        ("action", [[1.5, 2, 2], [0.5, 1, 1]]),
        ("product", [[6.0, 6, 6], [0.5, 0.5, 1]]),
        ("truncated", [[2.5, 2.5, 2.5], [0.5, 0.5, 1]]),
    ],
)
def test_weights_by_hand(correction: Any, expected: list[list[float]]) -> None:
    """π_old/μ is 3/2, 2 and 2 in the first row, ½ and 1 in the second; at masked places it is 1."""
    now = rows().old_logprobs + torch.tensor([[[1.5, 2, 2], [0.5, 1, 7]]]).log()
    torch.testing.assert_close(Behind(1, correction, high=2.5).weights(now, rows()), torch.tensor([expected]))


def test_no_correction_has_no_weights() -> None:
    assert Behind(3).weights(rows().old_logprobs, rows()) is None


def test_runs_that_have_left_leave_the_rollouts_that_wait() -> None:
    """Run 1 has its two episodes after five steps, in the second rollout; the first one waits until then."""
    player = player_of(world(), KNOBS, episodes=2)
    (drawn,) = late(Behind(1), player, 1)
    assert drawn.batch.runs.tolist() == [0]
    assert drawn.batch.observations.shape[0] == drawn.batch.old_logprobs.shape[0] == 1
    assert drawn.batch.rows.tolist() == list(range(drawn.batch.mask.shape[1]))


def test_runs_by_position() -> None:
    """A second run is the first with other rewards."""
    one = rows()
    both = {
        name: torch.cat([value, value]) for name, value in vars(one).items() if value is not None and name != "rows"
    }
    both["rewards"] = torch.stack([torch.zeros(2, 3), torch.ones(2, 3)])
    picked = of_runs(Transitions(**both, rows=one.rows), [1])
    assert picked.rewards.tolist() == [[[1.0] * 3] * 2]
    assert picked.rows.tolist() == [0, 1]
    assert picked.weights is None
