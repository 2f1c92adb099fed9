"""What runs of control do in worlds that play what is written, against the same counted by hand or with loops."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scripted import Act, Continuous, Scripted, finished, heard, long, played, player_of, random_script

from burnish.experience.control.player import Episode
from burnish.experience.control.rollouts import Control

# The ledger --------------------------------------------------------------------------------------------------------


def test_episodes_by_hand() -> None:
    """Copy 0 plays episodes of 3, 2 and 9 steps, copy 1 of 1, 5 and 9; every step of copy 0 earns 1, of copy 1 a half.

    1 and 2 begin together. Step 1 ends episode 2, and 3 begins; step 3 ends episode 1, and 4 begins; step 5 ends
    episode 4, which is one too many; step 6 ends episode 3, the last of the three. Both copies step every time.
    """
    world = Scripted([[long(3, 2, 9), long(1, 5, 9, reward=0.5)]])
    player = player_of(world, Control(2, 4), episodes=3)
    drawn = played(player)
    assert player.ledger.finished == [
        Episode(0, 2, 0.5, 1, 2),
        Episode(0, 1, 3.0, 3, 6),
        Episode(0, 3, 2.5, 5, 12),
    ]
    assert world.made == {0: 8}
    assert len(drawn) == 1  # It leaves before it learns from its last rollout.
    assert drawn[0].batch.lengths.tolist() == [[3, 1, 1, 3]]


def test_of_episodes_that_begin_together_the_first_copy_s_comes_first() -> None:
    player = player_of(Scripted([[long(2, 3, 9), long(2, 1, 9), long(1, 1, 1, 9)]]), Control(3, 3), episodes=7)
    played(player)
    told = [(e.episode, e.length) for e in player.ledger.finished]
    assert told[:6] == [(3, 1), (1, 2), (2, 2), (4, 1), (6, 1), (7, 1)]
    assert told[6] == (5, 3)


def by_loops(acts: list[list[Act]], count: int, late: bool) -> list[tuple[int, float, int, int]]:
    """A run's episodes: all that begin and end, laid out in time copy by copy, and numbered by sorting."""
    laid, real = [], []
    for copy, of_copy in enumerate(acts):
        time = 0
        for rewards, _ in of_copy:
            # On a late start a step is lost between two episodes, but the next has begun in name.
            began, first = time, time + (late and time > 0)
            time = first + len(rewards)
            laid.append((began, copy, time, sum(rewards), len(rewards)))
            real += list(range(first + 1, time + 1))
    numbered = [(number, *one) for number, one in enumerate(sorted(laid), 1) if number <= count]
    by_end = sorted(numbered, key=lambda one: (one[3], one[2]))
    return [(n, earned, length, sum(t <= end for t in real)) for n, _, _, end, earned, length in by_end]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("copies", [1, 3])
def test_episodes_by_loops(copies: int, late: bool) -> None:
    script = random_script(np.random.default_rng(copies), 4, copies, 60, 6)
    player = player_of(Scripted(script, late), Control(copies, 5), episodes=17, first=3)
    left = [drawn.batch.runs.tolist() for drawn in played(player)]
    for run in range(4):
        expected = by_loops(script[run], 17, late)
        assert [e[:1] + e[2:] for e in finished(player.ledger, 3 + run)] == [e[:1] + e[2:] for e in expected]
        assert [e[1] for e in finished(player.ledger, 3 + run)] == pytest.approx([e[1] for e in expected])
    # A run leaves with the rollout in which the last of its episodes ends, and learns from those before.
    assert left[0] == [3, 4, 5, 6]
    assert len({len(runs) for runs in left}) > 1
    assert all(set(later) <= set(sooner) for sooner, later in pairwise(left))
    assert player.retired.keys() == {3, 4, 5, 6}


def test_whole_episodes_by_hand() -> None:
    """A turn is one episode of each copy. What comes after its end, a reward of a million, does not count."""
    lengths = [[(2, 5), (4, 1), (1, 1)], [(1, 2), (1, 2), (3, 2)]]
    world = Scripted([[long(*of_copy, reward=0.5) for of_copy in of_run] for of_run in lengths], whole=True)
    player = player_of(world, Control(3, None), episodes=5)
    drawn = played(player)
    assert finished(player.ledger, 0) == [
        (3, 0.5, 1, 3),
        (1, 1.0, 2, 5),
        (2, 2.0, 4, 7),
        (5, 0.5, 1, 10),
        (4, 2.5, 5, 14),
    ]
    assert finished(player.ledger, 1) == [
        (1, 0.5, 1, 3),
        (2, 0.5, 1, 3),
        (3, 1.5, 3, 5),
        (4, 1.0, 2, 11),
        (5, 1.0, 2, 11),
    ]
    assert world.made == {0: 9, 1: 5}  # A run all of whose copies wait is left alone.
    assert len(drawn) == 1
    batch = drawn[0].batch
    assert batch.lengths.tolist() == [[2, 4, 1], [1, 1, 3]]
    assert batch.rewards.sum(-1).tolist() == [[1.0, 2.0, 0.5], [0.5, 0.5, 1.5]]
    assert (batch.discounts == 0.99).sum().item() == 12 - 6


def test_a_run_whose_world_breaks_is_named_by_its_number_and_leaves() -> None:
    """Run 10 has its four episodes in the first rollout, so that run 12 is at the second place when it breaks."""
    script = [[long(1, 1, 99), long(1, 1, 99)], [long(9, 9, 9), long(9, 9, 9)], [long(3, 1, 4), long(4, 4)]]
    world, told = Scripted(script, breaks={2: 5}), []
    player = player_of(world, Control(2, 2), episodes=4, first=10)
    player.report = lambda ledger: told.append(ledger.ended.tolist())
    drawn = played(player)
    assert player.failed == {12: "in one of episodes 4 to 5, it broke"}
    assert finished(player.ledger, 12) == [(1, 3.0, 3, 6), (3, 1.0, 1, 8), (2, 4.0, 4, 8)]
    assert [one.batch.runs.tolist() for one in drawn] == [[11, 12]] * 2 + [[11]] * 6
    assert [len(ended) for ended in told] == [3, 2, 2, 1, 1, 1, 1, 1, 1]
    assert told[0] == [4, 0, 0]
    assert len(finished(player.ledger, 11)) == 4
    assert player.retired.keys() == {10, 11, 12}


def test_one_copy_breaks_in_its_own_episode() -> None:
    script = [[long(3, 9)], [long(9, 9)]]
    for world, control in (
        (Scripted(script, breaks={0: 5}), Control(1, 6)),
        (Scripted(script, whole=True, breaks={0: 5}), Control(1, None)),
    ):
        player = player_of(world, control, episodes=2)
        played(player)
        assert player.failed == {0: "in episode 2, it broke"}
        assert finished(player.ledger, 0) == [(1, 3.0, 3, 3)]
        assert finished(player.ledger, 1) == [(1, 9.0, 9, 9), (2, 9.0, 9, 18)]


def test_what_is_kept_of_a_run_that_leaves_are_its_own_weights() -> None:
    """As they were then, whatever the others do later, who go on with theirs."""
    player = player_of(Scripted([[long(9)] for _ in range(3)]), Control(1, 2), first=10)
    policy: Any = player.models.policy
    before = policy.named()
    assert player.retire(np.array([False, False, False])).tolist() == [0, 1, 2]
    assert player.retired == {}
    assert player.retire(np.array([False, True, False])).tolist() == [0, 2]
    with torch.no_grad():
        policy.theta.add_(1.0)
    assert player.retired.keys() == {11}
    for name, weights in before.items():
        assert torch.equal(player.retired[11][f"policy/{name}"], weights[1])
        torch.testing.assert_close(policy.named()[name], weights[[0, 2]] + 1.0)
    assert player.ledger.names.tolist() == [10, 12]
    assert (player.environments.names, len(player.streams)) == ([0, 2], 2)


# Noise -------------------------------------------------------------------------------------------------------------


def extreme() -> np.random.Generator:
    """A stream whose next draw is the largest that there is: the generator's step, undone from a word of ones."""
    bits = np.random.PCG64(0)
    state: Any = bits.state
    modulus, multiplier = 1 << 128, 0x2360ED051FC65DA44385DF649FCCF645
    wanted = ((1 << 64) - 1) << 64
    state["state"]["state"] = (wanted - state["state"]["inc"]) * pow(multiplier, -1, modulus) % modulus
    bits.state = state
    return np.random.Generator(bits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_below_1_even_when_it_is_rounded(dtype: torch.dtype) -> None:
    assert extreme().random() == 1 - 2**-53
    player = player_of(Scripted([[long(9)]]), Control(1, 2), dtype=dtype)
    player.streams = [extreme()]
    player.play()
    first = heard(player)[0, 0, 0]
    assert first.dtype == dtype
    assert 1 - 1e-6 < first.item() < 1


@pytest.mark.parametrize("world", [Scripted, Continuous])
def test_noise_is_a_runs_own(world: type[Scripted]) -> None:
    script = [[long(500), long(500)] for _ in range(3)]
    player = player_of(world(script), Control(2, 150))
    player.play()
    noise = heard(player)
    shape = (150, 3, 2, 2) if world is Continuous else (150, 3, 2)
    assert noise.shape == shape
    assert noise.unique().numel() == math.prod(shape)  # No number twice, over blocks, runs and copies.
    if world is Continuous:
        assert noise.mean().abs() < 0.15
        assert 0.9 < noise.std() < 1.1
    else:
        assert 0 <= noise.min() < 0.02
        assert 0.98 < noise.max() < 1
        assert (noise.mean() - 0.5).abs() < 0.05
    other = player_of(world(script[:1]), Control(2, 150))
    other.play()
    assert torch.equal(heard(other)[:, 0], noise[:, 0])


def test_a_run_that_waits_draws_no_noise() -> None:
    """Run 0 is over after two steps and run 1 after 150, for which three blocks are drawn; then both play again."""
    script = [[long(2, 2)], [long(150, 2)]]
    together = player_of(Scripted(script, whole=True), Control(1, None))
    for _ in range(2):
        together.play()
    for run in range(2):
        world = Scripted(script, whole=True)
        world.keep([run])
        alone = player_of(world, Control(1, None))
        for _ in range(2):
            alone.play()
        assert together.streams[run].bit_generator.state == alone.streams[0].bit_generator.state
        assert torch.equal(heard(together)[-2:, run], heard(alone)[-2:, 0])


# What the policy sees ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_normalisation_by_loops(late: bool) -> None:
    """Each run on the scale of what it has seen so far and of its returns so far, both counting the present one."""
    script = random_script(np.random.default_rng(8), 2, 2, 40, 5)
    player = player_of(Scripted(script, late), Control(2, 6, 0.9, True, True), dtype=torch.float64)
    told = [player.play()[0] for _ in range(3)]
    columns = {name: np.concatenate([one[name] for one in told]) for name in told[0]}
    world = Scripted(script, late)
    shown = world.reset()
    seen = [list(shown[r]) for r in range(2)]
    so_far, returns = np.zeros((2, 2)), [[], []]  # type: ignore[var-annotated]

    def scaled(observations: np.ndarray, r: int) -> np.ndarray:
        return np.clip((observations - np.mean(seen[r], 0)) / np.sqrt(np.var(seen[r], 0) + 1e-8), -10, 10)

    for t in range(18):
        moved = world.step(np.zeros((2, 2)), np.ones(2, dtype=bool))
        for r in range(2):
            np.testing.assert_allclose(columns["observations"][t, r], scaled(shown[r], r), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(columns["reached"][t, r], scaled(moved.observations[r], r), rtol=1e-4, atol=1e-5)
            real = np.flatnonzero(moved.real[r])
            for e in real:
                so_far[r, e] = 0.9 * so_far[r, e] + moved.rewards[r, e]
            returns[r] += so_far[r, real].tolist()
            for e in real:
                expected = np.clip(moved.rewards[r, e] / math.sqrt(np.var(returns[r]) + 1e-8), -10, 10)
                assert columns["rewards"][t, r, e] == pytest.approx(expected, rel=1e-6)
                seen[r].append(moved.following[r, e])
                so_far[r, e] *= not (moved.terminated[r, e] or moved.truncated[r, e])
        shown = moved.following
    assert len(seen[0]) == 2 + columns["real"][:, 0].sum()
    assert columns["real"].all() != late


def test_a_returns_ledger_knows_rewards_as_they_were() -> None:
    player = player_of(Scripted([[long(3, 9, reward=7.0)]]), Control(1, 4, normalise_rewards=True))
    player.play()
    assert finished(player.ledger, 0) == [(1, 21.0, 3, 3)]
