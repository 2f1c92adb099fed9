"""Rollouts as rows, and as draws, against the same counted by hand or with loops."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scripted import Scripted, long, played, player_of, random_script

from burnish.batches import Transitions
from burnish.experience.control.player import Episode, Ledger
from burnish.experience.control.rollouts import Control, metrics_of, transitions
from burnish.experience.interface import Experience, draws
from burnish.functional import gae

# Draws -------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_with_its_last_episode_and_draws_end_with_the_last_run() -> None:
    """Two episodes each, in rollouts of 4: run 0 has had them after 3 steps, run 1 after 10."""
    control = Control(1, 4)
    player, told = player_of(Scripted([[long(2, 1, 9)], [long(5, 5, 9)]]), control, episodes=2), []
    player.report = lambda ledger: told.append(ledger.ended.tolist())
    assert isinstance(control, Experience)
    first, second = draws(control, player)
    assert [drawn.batch.runs.tolist() for drawn in (first, second)] == [[1], [1]]
    assert told == [[2, 0], [1], [2]]
    assert first.batch.progress.tolist() == [0.0]
    assert second.batch.progress.tolist() == [0.5]
    assert (first.state, first.samples) == ({}, [])
    assert control.draw(player, 3, {}) is None
    assert len(told) == 3


def test_what_a_line_of_metrics_says() -> None:
    """Two runs of one copy, rollouts of 4: episodes of 2 and 2 steps, earning 1 a step, and one of 3, earning 2."""
    player = player_of(Scripted([[long(2, 2, 9)], [long(3, 9, reward=2.0)]]), Control(1, 4), episodes=10)
    first = Control(1, 4).draw(player, 0, {})
    assert first.metrics == {"runs": 2.0, "episodes": 1.5, "env_steps": 4.0, "return": pytest.approx((2 + 2 + 6) / 3)}
    torch.testing.assert_close(first.batch.progress, torch.tensor([0.2, 0.1]))
    assert metrics_of(Ledger(1, 1, 5))["return"] == 0.0
    ledger = Ledger(1, 1, 500)
    ledger.finished = [Episode(0, k, 1000.0 if k < 50 else 1.0, 1, k) for k in range(150)]
    assert metrics_of(ledger)["return"] == 1.0  # Of the latest hundred.


# Rows --------------------------------------------------------------------------------------------------------------


def random_columns(rng: np.random.Generator) -> dict[str, np.ndarray]:
    shape = tuple(rng.integers(1, 7, size=3))
    real = rng.random(shape) < rng.choice([0.4, 0.8, 1.0])
    ended = real & (rng.random(shape) < rng.choice([0.1, 0.5, 0.9]))
    return {
        "observations": rng.normal(size=(*shape, 2)),
        "actions": rng.integers(5, size=shape) if rng.random() < 0.5 else rng.normal(size=(*shape, 3)),
        "logprobs": rng.normal(size=shape),
        "rewards": rng.normal(size=shape),
        "terminated": (rng.random(shape) < 0.5) & (ended | ~real),
        "ended": ended,
        "real": real,
        "reached": rng.normal(size=(*shape, 2)),
    }


def rows_of(columns: dict[str, np.ndarray], gamma: float, first: int = 0) -> Transitions:
    """Of runs numbered from `first`, each a tenth further than the one before."""
    runs = torch.arange(columns["real"].shape[1])
    return transitions(columns, gamma, first + runs, runs / 10, torch.zeros(1, dtype=torch.float64))


def rows_by_loops(columns: dict[str, np.ndarray], run: int) -> list[list[int]]:
    """Of each of a run's rows, where its steps are: pairs of time and copy."""
    rows: list[Any] = []
    for copy in range(columns["real"].shape[2]):
        row: list[Any] = []
        for time in range(columns["real"].shape[0]):
            if columns["real"][time, run, copy]:
                row.append((time, copy))
            if columns["ended"][time, run, copy]:
                rows.append(row)
                row = []
        if row:
            rows.append(row)
    return rows


def test_rows_by_loops() -> None:
    rng, seen = np.random.default_rng(0), 0
    for _ in range(60):
        columns = random_columns(rng)
        runs = columns["real"].shape[1]
        batch = rows_of(columns, 0.9, 4)
        rows = [rows_by_loops(columns, run) for run in range(runs)]
        widest, longest = max(map(len, rows)), max([1, *(len(row) for some in rows for row in some)])
        assert batch.mask.shape == (runs, max(1, widest), longest)
        assert batch.observations.shape == (runs, max(1, widest), longest + 1, 2)
        assert batch.runs.tolist() == list(range(4, 4 + runs))
        torch.testing.assert_close(batch.progress, torch.arange(runs) / 10)
        assert batch.rewards.dtype == batch.observations.dtype == batch.discounts.dtype == torch.float64
        assert batch.rows.tolist() == list(range(max(1, widest)))
        for run in range(runs):
            lengths = [len(row) for row in rows[run]] + [0] * (batch.mask.shape[1] - len(rows[run]))
            assert batch.lengths[run].tolist() == lengths
            assert batch.mask[run].tolist() == [[t < length for t in range(longest)] for length in lengths]
            for number, row in enumerate(rows[run]):
                assert_row(batch, run, number, row, columns)
                seen += 1
    assert seen > 500


def assert_row(batch: Transitions, run: int, number: int, row: list[Any], columns: dict[str, np.ndarray]) -> None:
    of = lambda name: np.array([columns[name][time, run, copy] for time, copy in row])  # noqa: E731
    count = len(row)
    found: Any = lambda name: getattr(batch, name)[run, number]  # noqa: E731
    np.testing.assert_array_equal(found("actions")[:count], of("actions"))
    np.testing.assert_array_equal(found("old_logprobs")[:count], of("logprobs"))
    np.testing.assert_array_equal(found("rewards")[:count], of("rewards"))
    np.testing.assert_array_equal(found("observations")[:count], of("observations"))
    np.testing.assert_array_equal(found("observations")[count], of("reached")[-1])
    assert found("discounts").tolist() == [0.0 if over else 0.9 for over in of("terminated")] + [0.0] * (
        batch.mask.shape[-1] - count
    )


@pytest.mark.parametrize("late", [False, True])
def test_a_row_ends_in_what_its_last_step_reached_and_not_in_what_came_after(late: bool) -> None:
    """Rollouts of five steps: in a row, observations tell one place, one episode, and one step after the other."""
    script = random_script(np.random.default_rng(4), 3, 2, 40, 7)
    player = player_of(Scripted(script, late), Control(2, 5, gamma=0.9), episodes=25)
    ends, cuts, pieces = 0, 0, 0
    for drawn in played(player):
        batch: Transitions = drawn.batch
        for r, b in batch.lengths.nonzero().tolist():
            count = int(batch.lengths[r, b])
            seen = batch.observations[r, b, : count + 1].long().tolist()
            place, episode, first = seen[0]
            assert seen == [[place, episode, first + t] for t in range(count + 1)]
            rewards, terminates = script[place // 10][place % 10][episode]
            assert batch.rewards[r, b, :count].tolist() == pytest.approx(rewards[first : first + count])
            over = first + count == len(rewards)
            expected = [0.9] * (count - 1) + [0.0 if over and terminates else 0.9]
            assert batch.discounts[r, b, :count].tolist() == pytest.approx(expected)
            ends, cuts, pieces = ends + (over and terminates), cuts + (over and not terminates), pieces + (not over)
    assert min(ends, cuts, pieces) > 20


def test_a_truncated_episode_goes_on_from_the_value_of_its_own_end() -> None:
    """Advantages step by step from what was reached; a critic that tells what it sees, and dreads beginnings."""
    rng, gamma, lambda_ = np.random.default_rng(2), 0.9, 0.8
    for _ in range(20):
        columns = random_columns(rng)
        real, ended = columns["real"], columns["ended"]
        cut = columns["terminated"]
        for r, e in np.ndindex(real.shape[1:]):
            steps = np.flatnonzero(real[:, r, e])
            for now, later in pairwise(steps):
                fresh = ended[now, r, e]
                columns["observations"][later, r, e] = -1e6 if fresh else columns["reached"][now, r, e]
        batch = rows_of(columns, gamma)
        found = gae(batch.rewards, batch.observations[..., 0], batch.discounts, batch.mask, lambda_)
        for r in range(real.shape[1]):
            for number, row in enumerate(rows_by_loops(columns, r)):
                expected = 0.0
                for place, (t, e) in reversed(list(enumerate(row))):
                    onward = 0.0 if cut[t, r, e] else gamma
                    error = columns["rewards"][t, r, e] + onward * columns["reached"][t, r, e, 0]
                    expected = error - columns["observations"][t, r, e, 0] + onward * lambda_ * expected
                    assert found[r, number, place].item() == pytest.approx(expected, rel=1e-9)


# Knobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"copies": 0}, "copies must be at least 1, not 0"),
        ({"rollout": 0}, "rollout must be at least 1, not 0"),
        ({"gamma": 1.5}, r"gamma must lie in \[0, 1\], not 1.5"),
        ({"gamma": -0.1}, r"gamma must lie in \[0, 1\], not -0.1"),
        ({"gamma": math.nan}, r"gamma must lie in \[0, 1\], not nan"),
    ],
)
def test_knobs_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Control(**wrong)
