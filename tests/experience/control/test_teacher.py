"""What the teacher asks, learns and pays, on rollouts written by hand and on real ones."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from burnish.batches import Drawn, Transitions
from burnish.experience.control.environments import make_environments
from burnish.experience.control.player import Player
from burnish.experience.control.rollouts import Control
from burnish.experience.control.teacher import Actions, Comparisons, Memory, Teacher, compared, correlation, padded
from burnish.experience.interface import draws
from burnish.policies.control.policy import ControlPolicy
from burnish.policies.interface import Models
from burnish.rewards.predicted import Predictor
from burnish.run import UserError

SMALL = Predictor(members=3, hidden=(6,), learning_rate=0.01, deviation=1.0)
KNOBS = Comparisons(
    labels=40, segment=5, warmup=1, recent=30, candidates=4, fits=3, first_fits=6, batch_size=8, predictor=SMALL
)


def rollout(number: int, runs: Sequence[int] = (0, 1), progress: float = 0.0, steps: int = 20, rows: int = 3) -> Drawn:
    """Rows of one length in each run, whose numbers are those of the run and of the rollout alone."""
    parts = [np.random.default_rng([run, number]) for run in runs]
    draw = lambda *shape: torch.from_numpy(np.stack([rng.standard_normal(shape) for rng in parts]))  # noqa: E731
    mask = torch.ones(len(runs), rows, steps, dtype=torch.bool)
    batch = Transitions(
        mask=mask,
        lengths=mask.sum(-1),
        rows=torch.arange(rows),
        old_logprobs=draw(rows, steps),
        rewards=draw(rows, steps),
        discounts=torch.full(mask.shape, 0.9, dtype=torch.float64),
        observations=draw(rows, steps + 1, 2),
        actions=torch.from_numpy(np.stack([rng.integers(2, size=(rows, steps)) for rng in parts])),
        runs=torch.tensor(list(runs)),
        progress=torch.full((len(runs),), progress, dtype=torch.float64),
    )
    return Drawn(batch, {"return": 1.0})


def stream(count: int = 6, **options: Any) -> list[Drawn]:
    return [rollout(i, progress=i / count, **options) for i in range(count)]


def taught(drawn: Iterator[Drawn] | list[Drawn], knobs: Comparisons = KNOBS, seeds: Sequence[int] = (3, 4)) -> Any:
    teacher = Teacher(knobs, Actions(2), seeds)
    return list(compared(iter(drawn), teacher)), teacher


# Knobs ---------------------------------------------------------------------------------------------------------------


def test_the_schedule_of_labels_by_hand() -> None:
    """A quarter at once; by half of the time (log 3 / log 5 of the rest) 76; all by 0.8 of the episodes.

    The rate is proportional to 1/(p + ¼), so that at p = ¼ it is half of that at 0.
    """
    knobs = Comparisons(labels=100, first=0.25, until=0.8, decay=0.25)
    assert [knobs.due(p) for p in (0.0, 0.8, 0.9, 1.0)] == [25, 100, 100, 100]
    assert knobs.due(0.4) == round(25 + 75 * math.log(3) / math.log(5))
    many = Comparisons(labels=10**6, first=0.25, until=0.8, decay=0.25)
    rate = [(many.due(p + 1e-3) - many.due(p)) / 1e-3 for p in (0.0, 0.2, 0.6)]
    assert rate[1] / rate[0] == pytest.approx(0.5, rel=0.01)
    assert rate[2] / rate[0] == pytest.approx(0.25, rel=0.01)
    assert Comparisons(labels=100, when="start").due(0.0) == 100


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"labels": 0}, "labels must be at least 1"),
        ({"segment": 0}, "segment must be at least 1"),
        ({"warmup": 0}, "warmup must be at least 1"),
        ({"recent": 1}, "recent must be at least 2, not 1: a comparison has two"),
        ({"first": 0.0}, r"first must lie in \(0, 1\]"),
        ({"until": 1.5}, r"until must lie in \(0, 1\]"),
        ({"decay": 0.0}, "decay must be above 0"),
    ],
)
def test_knobs_that_make_no_sense(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Comparisons(**knobs)


def test_actions_as_a_predictor_sees_them() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    assert Actions(3)(torch.tensor([[2, 0]]), like).tolist() == [[[0, 0, 1], [1, 0, 0]]]
    boxed = Actions(0, np.array([-2.0, -np.inf]), np.array([2.0, 1.0]))
    assert boxed(torch.tensor([[-3.0, -9.0], [0.5, 7.0]]), like).tolist() == [[-2, -9], [0.5, 1]]


# Segments and the judge ----------------------------------------------------------------------------------------------


def test_segments_are_whole_pieces_of_rows() -> None:
    """Rows of 5 and 3 steps and pieces of 2: two of the first, one of the second, none over an end."""
    drawn = rollout(0, runs=(0,), steps=5, rows=2).batch
    mask = torch.tensor([[[True] * 5, [True] * 3 + [False] * 2]])
    batch = replace(drawn, mask=mask, rewards=torch.arange(10.0, dtype=torch.float64).view(1, 2, 5))
    teacher = Teacher(replace(KNOBS, segment=2), Actions(2), [1])
    features = teacher.features(batch)
    teacher.watch(batch, features)
    (memory,) = teacher.memories
    assert memory.totals.tolist() == [0 + 1, 2 + 3, 5 + 6]
    expected = [(0, 0), (0, 2), (1, 0)]
    for segment, (row, at) in zip(memory.segments, expected, strict=True):
        for t in range(2):
            observation = drawn.observations[0, row, at + t].tolist()
            action = [[1, 0], [0, 1]][int(drawn.actions[0, row, at + t])]
            assert segment[t].tolist() == [*observation, *action]
    assert not features[0, 1, 3:].any()
    np.testing.assert_allclose(teacher.scale.mean[0], features[0][mask[0]].mean(0))


def test_only_the_latest_segments_are_asked_about() -> None:
    memory = Memory(1, replace(KNOBS, recent=4), torch.zeros(1, dtype=torch.float64), 2)
    for first in (0, 3):
        memory.add(
            torch.zeros(3, 5, 2, dtype=torch.float64), torch.arange(first, first + 3.0).double()[:, None].expand(3, 5)
        )
    assert memory.totals.tolist() == [10, 15, 20, 25]
    assert memory.numbers.tolist() == [2, 3, 4, 5]
    pairs = memory.candidates(500)
    assert set(map(tuple, pairs.tolist())) == set(itertools.permutations(range(4), 2))


def test_runs_ask_about_pairs_of_their_own() -> None:
    asked = []
    for seed in (1, 2, 1):
        memory = Memory(seed, KNOBS, torch.zeros(1, dtype=torch.float64), 2)
        memory.add(torch.zeros(12, 5, 2, dtype=torch.float64), torch.zeros(12, 5, dtype=torch.float64))
        asked.append(memory.candidates(20).tolist())
    assert asked[0] == asked[2] != asked[1]


def test_the_judge_by_hand() -> None:
    """Sums 3, 1 and 3: the first beats the second, loses to nothing, and is like the third."""
    memory = Memory(1, replace(KNOBS, segment=2), torch.zeros(1, dtype=torch.float64), 1)
    segments = torch.arange(6.0, dtype=torch.float64).view(3, 2, 1)
    memory.add(segments, torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]], dtype=torch.float64))
    memory.ask(np.array([[0, 1], [1, 0], [0, 2]]))
    assert memory.labels.tolist() == [1, 0, 0.5]
    assert memory.asked == [(0, 1), (1, 0), (0, 2)]
    assert memory.pairs[..., 0].tolist() == [[[0, 1], [2, 3]], [[2, 3], [0, 1]], [[0, 1], [4, 5]]]


def test_bootstrap_samples_are_the_members_own() -> None:
    """A label is in a member's sample k times with probability e⁻¹/k!."""
    memory = Memory(1, KNOBS, torch.zeros(1, dtype=torch.float64), 2)
    memory.add(torch.zeros(9, 5, 2, dtype=torch.float64), torch.zeros(9, 5, dtype=torch.float64))
    memory.ask(memory.candidates(2000))
    memory.ask(memory.candidates(1000))
    counts = np.stack([np.bincount(bag, minlength=3000) for bag in memory.bags])
    assert counts.shape == (3, 3000)
    for k in range(3):
        assert (counts == k).mean() == pytest.approx(math.exp(-1) / math.factorial(k), abs=0.02)
    assert abs(np.corrcoef(counts)[np.triu_indices(3, 1)]).max() < 0.06
    drawn = memory.draw(500)
    assert drawn.shape == (500, 3, 8)
    for m in range(3):
        assert set(drawn[:, m].flatten().tolist()) <= set(memory.bags[m])
        share = (counts[m][drawn[:, m]] >= 2).mean()  # of what is drawn: those that are in the bag more than once
        assert share == pytest.approx(1 - math.exp(-1), abs=0.03)


def test_pairs_are_chosen_where_the_members_disagree() -> None:
    """Of the candidates, those with the widest spread of σ(first − second) over members, by loops."""
    memory, again = (Memory(1, KNOBS, torch.zeros(1, dtype=torch.float64), 2) for _ in range(2))
    for one in (memory, again):
        one.add(torch.zeros(12, 5, 2, dtype=torch.float64), torch.zeros(12, 5, dtype=torch.float64))
    worth = torch.from_numpy(np.random.default_rng(5).standard_normal((3, 12)))
    teacher = Teacher(KNOBS, Actions(2), [1])
    chosen = teacher.chosen(memory, 6, worth)
    spreads = []
    for first, second in again.candidates(24).tolist():
        wins = [1 / (1 + math.exp(float(w[second] - w[first]))) for w in worth]
        spreads.append((-np.var(wins), (first, second)))
    expected = [pair for _, pair in sorted(spreads, key=lambda x: x[0])[:6]]
    assert list(map(tuple, chosen.tolist())) == expected
    third = Memory(1, KNOBS, torch.zeros(1, dtype=torch.float64), 2)
    third.add(torch.zeros(12, 5, 2, dtype=torch.float64), torch.zeros(12, 5, dtype=torch.float64))
    fourth = Memory(1, KNOBS, torch.zeros(1, dtype=torch.float64), 2)
    fourth.add(torch.zeros(12, 5, 2, dtype=torch.float64), torch.zeros(12, 5, dtype=torch.float64))
    np.testing.assert_array_equal(teacher.chosen(third, 6, None), fourth.candidates(6))


# The stream ----------------------------------------------------------------------------------------------------------


def test_rewards_are_replaced_and_nothing_else() -> None:
    drawn = stream()
    drawn[2].batch.mask[0, 1, 7:] = False
    found, teacher = taught(drawn)
    assert len(found) == 6
    for before, after in zip(drawn, found, strict=True):
        for name in ("observations", "actions", "old_logprobs", "discounts", "mask", "lengths", "runs", "progress"):
            assert getattr(after.batch, name) is getattr(before.batch, name)
        assert after.metrics["return"] == 1.0
        assert not after.batch.rewards[~after.batch.mask].any()
        assert not torch.isclose(after.batch.rewards, before.batch.rewards)[before.batch.mask].any()
    last = drawn[-1].batch
    torch.testing.assert_close(found[-1].batch.rewards, teacher.predictor(teacher.features(last)))
    assert [after.metrics["labels"] for after in found] == [KNOBS.due(i / 6) for i in range(6)]
    assert [len(memory.labels) for memory in teacher.memories] == [40, 40]


def test_predictions_are_normalised_over_the_recent_segments() -> None:
    """All of the first two rollouts are recent: each member by itself has mean 0 and deviation 1 over them."""
    _, teacher = taught(stream(2), replace(KNOBS, recent=100, predictor=replace(SMALL, members=1)))
    drawn = stream(2)
    features = torch.cat([teacher.features(one.batch).flatten(1, 2) for one in drawn], 1)
    paid = teacher.predictor(features)
    np.testing.assert_allclose(paid.mean(1), [0, 0], atol=1e-9)
    np.testing.assert_allclose(paid.std(1, unbiased=False), [1, 1])


def test_the_first_rollouts_are_only_looked_at() -> None:
    found, teacher = taught(stream(), replace(KNOBS, warmup=3))
    assert [after.metrics["labels"] for after in found] == [KNOBS.due(i / 6) for i in range(2, 6)]
    first = KNOBS.due(2 / 6)
    segments = max(max(pair) for pair in teacher.memories[0].asked[:first])
    assert 12 < segments < 36  # The latest 30 of three rollouts of 12 segments each.


def test_all_at_the_start_is_about_the_first_policy_alone() -> None:
    found, teacher = taught(stream(), replace(KNOBS, when="start", choose="random", warmup=2))
    assert [after.metrics["labels"] for after in found] == [40] * 5
    for memory in teacher.memories:
        assert max(max(pair) for pair in memory.asked) < 24
    assert teacher.predictor._counts.flatten().tolist() == [KNOBS.first_fits] * 2  # Fitted once, when they came.


def test_the_predictor_is_fitted_when_labels_come() -> None:
    """6 steps the first time and 3 for each later rollout that brings a label."""
    _, teacher = taught(stream())
    new = [KNOBS.due(i / 6) > KNOBS.due((i - 1) / 6) for i in range(1, 6)]
    assert teacher.predictor._counts.flatten().tolist() == [6 + 3 * sum(new)] * 2


@pytest.mark.parametrize("choose", ["variance", "random"])
def test_no_reward_of_the_environment_reaches_the_policy(choose: Any) -> None:
    """Rewards of steps that no question was about may be anything: 1e9, and what is paid stays bit for bit."""
    knobs = replace(KNOBS, choose=choose, recent=12)
    found, teacher = taught(stream(), knobs)
    numbers = [{n for pair in memory.asked for n in pair} for memory in teacher.memories]
    assert all(len(asked) < 6 * 12 for asked in numbers)
    other = stream()
    for i, drawn in enumerate(other):
        for r in range(2):
            for piece in range(12):
                if 12 * i + piece not in numbers[r]:
                    row, at = divmod(piece, 4)
                    drawn.batch.rewards[r, row, 5 * at : 5 * at + 5] = 1e9
    for mine, theirs in zip(found, taught(other, knobs)[0], strict=True):
        torch.testing.assert_close(mine.batch.rewards, theirs.batch.rewards, rtol=0, atol=0)
        assert mine.metrics == theirs.metrics


def test_the_judge_sees_sums_alone() -> None:
    """The same sum laid otherwise over a segment's steps pays the same: what is learned are the answers."""
    other = stream()
    for drawn in other:
        pieces = drawn.batch.rewards.unflatten(-1, (-1, 5))
        pieces.copy_(pieces.flip(-1) + torch.tensor([1.0, -1.0, 2.0, -2.0, 0.0], dtype=torch.float64))
    for mine, theirs in zip(taught(stream())[0], taught(other)[0], strict=True):
        torch.testing.assert_close(mine.batch.rewards, theirs.batch.rewards, rtol=0, atol=0)


def test_the_answers_do_matter() -> None:
    other = stream()
    for drawn in other:
        drawn.batch.rewards.neg_()
    mine, theirs = taught(stream())[0][-1].batch.rewards, taught(other)[0][-1].batch.rewards
    assert np.corrcoef(mine.flatten(), theirs.flatten())[0, 1] < 0.9


# Runs in lockstep ----------------------------------------------------------------------------------------------------


def played(seeds: Sequence[int], env: str, actions: Actions, episodes: int) -> tuple[list[Drawn], Teacher]:
    environments = make_environments(env, seeds, 2)
    policy = ControlPolicy(
        environments.observations,
        environments.actions,
        seeds,
        continuous=environments.continuous,
        hidden=(4,),
        dtype=torch.float64,
    )
    player = Player(Models(policy=policy), Control(copies=2, rollout=20), environments, seeds, episodes)
    teacher = Teacher(replace(KNOBS, labels=12), actions, seeds)
    return list(compared(draws(player.knobs, player), teacher)), teacher


@pytest.mark.parametrize(
    ("env", "actions", "episodes"),
    [
        ("CartPole-v1", Actions(2), 9),  # Runs end at different times, and rollouts have different numbers of segments.
        ("Pendulum-v1", Actions(0, np.array([-2.0]), np.array([2.0])), 2),
    ],
)
def test_run_i_of_a_group_is_paid_as_the_same_run_alone(env: str, actions: Actions, episodes: int) -> None:
    seeds = [11, 12, 13]
    together, teacher = played(seeds, env, actions, episodes)
    counts = set()
    for i, seed in enumerate(seeds):
        alone, theirs = played([seed], env, actions, episodes)
        mine = [(d.batch, d.batch.runs.tolist().index(i)) for d in together if i in d.batch.runs.tolist()]
        assert len(mine) == len(alone) > 3
        counts.add(len(alone))
        for (batch, r), drawn in zip(mine, alone, strict=True):
            real = drawn.batch.mask[0]
            rows, columns = real.shape
            torch.testing.assert_close(batch.rewards[r, :rows, :columns], drawn.batch.rewards[0], rtol=1e-6, atol=1e-6)
            assert not batch.rewards[r][~batch.mask[r]].any()
        for kind in ("late", "ever"):
            assert teacher.measured[i][kind] == pytest.approx(theirs.measured[0][kind], abs=1e-6)
        assert teacher.measured[i]["labels"] == theirs.measured[0]["labels"]
    assert sorted(teacher.measured) == [0, 1, 2]
    assert (len(counts) > 1) == (env == "CartPole-v1")


# Measures ------------------------------------------------------------------------------------------------------------


def test_correlations_of_a_run_by_hand() -> None:
    """`late` is what was paid from 0.8 on, that is in the last rollout of six; `ever` by the last predictor."""
    found, teacher = taught(stream())
    for r in range(2):
        paid, true = found[5].batch.rewards[r].flatten(), stream()[5].batch.rewards[r].flatten()
        assert teacher.measured[r]["late"] == pytest.approx(np.corrcoef(paid, true)[0, 1])
    features = torch.cat([teacher.features(one.batch).flatten(1, 2) for one in stream()], 1)
    every = torch.cat([one.batch.rewards.flatten(1) for one in stream()], 1)
    for r in range(2):  # A rollout has 12 segments, of which all are kept.
        expected = np.corrcoef(teacher.predictor(features)[r], every[r])[0, 1]
        assert teacher.measured[r]["ever"] == pytest.approx(expected)


def test_what_does_not_vary_has_no_correlation() -> None:
    varied = torch.tensor([1.0, 2.0, 4.0])
    assert correlation(varied, torch.ones(3)) is None
    assert correlation(torch.ones(3), varied) is None
    assert correlation(varied, torch.tensor([3.0, 3.0, 0.0])) == pytest.approx(np.corrcoef([1, 2, 4], [3, 3, 0])[0, 1])


def test_rows_are_padded_with_nothing() -> None:
    rows: list[Tensor] = [torch.tensor([1.0, 2.0]), torch.zeros(0), torch.tensor([3.0])]
    values, real = padded(rows)
    assert values.tolist() == [[1, 2], [0, 0], [3, 0]]
    assert real.tolist() == [[True, True], [False, False], [True, False]]


def test_without_segments_there_is_nothing_to_compare() -> None:
    with pytest.raises(UserError, match="run 0 has 0 segments of 21 steps to compare: make segment shorter"):
        taught(stream(), replace(KNOBS, segment=21))
