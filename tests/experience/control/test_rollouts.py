"""What runs of control do in worlds that play what is written, against the same counted by hand or with loops."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from burnish.batches import Episodes
from burnish.experience.control.rollouts import (
    Control,
    Episode,
    Ledger,
    Player,
    episodes,
    episodes_of_control,
    metrics_of,
)
from burnish.experience.control.vector import Transition
from burnish.functional import gae
from burnish.policies.control.policy import ControlPolicy
from burnish.policies.interface import Models

Act = tuple[list[float], bool]
"""The rewards of an episode's steps, and whether it terminates in the end or is cut."""


class Scripted:
    """Plays what is written for each run and copy, one episode after the other, whatever the actions.

    An observation tells the run and copy (10·run + copy), the episode, and the step in it. `late` worlds begin an
    episode on a step of its own. In `whole` worlds, what is written is played episode for episode at `reset`, and in
    between comes what must not count. `breaks` tells at which step a run's world breaks.
    """

    observations, actions, continuous = 3, 2, False

    def __init__(
        self,
        script: list[list[list[Act]]],
        late: bool = False,
        whole: bool = False,
        breaks: dict[int, int] | None = None,
    ) -> None:
        self.script, self.late, self.whole, self.breaks = script, late, whole, breaks or {}
        self.names, shape = list(range(len(script))), (len(script), len(script[0]))
        self.episode, self.at = np.full(shape, -1), np.zeros(shape, dtype=int)
        self.pending, self.between = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.made, self.closed = dict.fromkeys(self.names, 0), False

    def act(self, r: int, e: int) -> Act:
        return ([1e6], True) if self.between[r, e] else self.script[self.names[r]][e][self.episode[r, e]]

    def shown(self) -> np.ndarray:
        place = 10 * np.array(self.names)[:, None] + np.arange(self.at.shape[1])
        return np.stack([place, self.episode, self.at], -1).astype(np.float32)

    def begin(self, r: int, e: int) -> None:
        self.episode[r, e] += not self.whole
        self.between[r, e], self.pending[r, e], self.at[r, e] = self.whole, False, 0

    def reset(self) -> np.ndarray:
        self.episode += 1
        self.at[:], self.pending[:], self.between[:] = 0, False, False
        return self.shown()

    def step(self, actions: np.ndarray, stepping: np.ndarray) -> Transition:
        assert actions.shape == self.at.shape
        shape, failed, before = self.at.shape, {}, self.shown()
        rewards, terminated, truncated = np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        real, reached = np.zeros(shape, dtype=bool), before.copy()
        for r in np.flatnonzero(stepping).tolist():
            self.made[self.names[r]] += 1
            if self.breaks.get(self.names[r]) == self.made[self.names[r]]:
                failed[r] = "it broke"
                continue
            for e in range(shape[1]):
                if self.pending[r, e]:
                    self.begin(r, e)
                    reached[r, e] = self.shown()[r, e]
                    continue
                (earned, ends), real[r, e] = self.act(r, e), True
                rewards[r, e] = earned[self.at[r, e]]
                self.at[r, e] += 1
                reached[r, e] = self.shown()[r, e]
                if self.at[r, e] == len(earned):
                    (terminated if ends else truncated)[r, e] = True
                    self.pending[r, e] = self.late
                    if not self.late:
                        self.begin(r, e)
        return Transition(reached, self.shown(), rewards, terminated, truncated, real, failed)

    def keep(self, index: Iterable[int]) -> None:
        chosen = list(index)
        self.names = [self.names[i] for i in chosen]
        for name in ("episode", "at", "pending", "between"):
            setattr(self, name, getattr(self, name)[chosen])

    def close(self) -> None:
        self.closed = True


class Continuous(Scripted):
    continuous = True

    def step(self, actions: np.ndarray, stepping: np.ndarray) -> Transition:
        assert actions.shape == (*self.at.shape, 2)
        return super().step(actions[..., 0], stepping)


class Listening(ControlPolicy):
    """Remembers what it saw and the noise it was given."""

    def act(self, observations: Tensor, noise: Tensor) -> Any:
        self.saw, self.heard = getattr(self, "saw", []), getattr(self, "heard", [])
        self.saw.append(observations.clone())
        self.heard.append(noise.clone())
        return super().act(observations, noise)


def player_of(
    world: Scripted, control: Control, episodes: int = 10**9, dtype: torch.dtype = torch.float32, first: int = 0
) -> Player:
    seeds = [20 + name for name in world.names]
    policy = Listening(3, 2, seeds, continuous=world.continuous, hidden=(2,), dtype=dtype)
    return Player(Models(policy), control, world, seeds, episodes, first)


def heard(player: Player) -> Tensor:
    """All the noise so far, `[t, R, E, …]`."""
    policy: Any = player.models.policy
    return torch.stack(policy.heard)


def long(*lengths: int, reward: float = 1.0, ends: bool = True) -> list[Act]:
    return [([reward] * length, ends) for length in lengths]


def random_script(rng: np.random.Generator, runs: int, copies: int, count: int, longest: int) -> list[list[list[Act]]]:
    def act() -> Act:
        return rng.normal(size=rng.integers(1, longest + 1)).tolist(), bool(rng.random() < 0.5)

    return [[[act() for _ in range(count)] for _ in range(copies)] for _ in range(runs)]


def finished(ledger: Ledger, run: int) -> list[tuple[int, float, int, int]]:
    return [(e.episode, e.return_, e.length, e.steps) for e in ledger.finished if e.run == run]


# The ledger --------------------------------------------------------------------------------------------------------


def test_episodes_by_hand() -> None:
    """Copy 0 plays episodes of 3, 2 and 9 steps, copy 1 of 1, 5 and 9; every step of copy 0 earns 1, of copy 1 a half.

    1 and 2 begin together. Step 1 ends episode 2, and 3 begins; step 3 ends episode 1, and 4 begins; step 5 ends
    episode 4, which is one too many; step 6 ends episode 3, the last of the three. Both copies step every time.
    """
    world = Scripted([[long(3, 2, 9), long(1, 5, 9, reward=0.5)]])
    player = player_of(world, Control(2, 4), episodes=3)
    drawn = list(episodes_of_control(player))
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
    list(episodes_of_control(player))
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
    left = [drawn.batch.runs.tolist() for drawn in episodes_of_control(player)]
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
    drawn = list(episodes_of_control(player))
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
    drawn = list(episodes_of_control(player, lambda ledger: told.append(ledger.ended.tolist())))
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
        list(episodes_of_control(player))
        assert player.failed == {0: "in episode 2, it broke"}
        assert finished(player.ledger, 0) == [(1, 3.0, 3, 3)]
        assert finished(player.ledger, 1) == [(1, 9.0, 9, 9), (2, 9.0, 9, 18)]


def test_what_a_line_of_metrics_says() -> None:
    """Two runs of one copy, rollouts of 4: episodes of 2 and 2 steps, earning 1 a step, and one of 3, earning 2."""
    player = player_of(Scripted([[long(2, 2, 9)], [long(3, 9, reward=2.0)]]), Control(1, 4), episodes=10)
    first = next(episodes_of_control(player))
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
        batch = episodes(columns, 0.9, torch.arange(runs) + 4, torch.zeros(1, dtype=torch.float64))
        rows = [rows_by_loops(columns, run) for run in range(runs)]
        widest, longest = max(map(len, rows)), max([1, *(len(row) for some in rows for row in some)])
        assert batch.mask.shape == (runs, max(1, widest), longest)
        assert batch.observations is not None
        assert batch.observations.shape == (runs, max(1, widest), longest + 1, 2)
        assert batch.runs is not None
        assert batch.runs.tolist() == list(range(4, 4 + runs))
        assert batch.rows.tolist() == list(range(max(1, widest)))
        for run in range(runs):
            lengths = [len(row) for row in rows[run]] + [0] * (batch.mask.shape[1] - len(rows[run]))
            assert batch.lengths[run].tolist() == lengths
            assert batch.mask[run].tolist() == [[t < length for t in range(longest)] for length in lengths]
            for number, row in enumerate(rows[run]):
                assert_row(batch, run, number, row, columns)
                seen += 1
    assert seen > 500


def assert_row(batch: Episodes, run: int, number: int, row: list[Any], columns: dict[str, np.ndarray]) -> None:
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
    for drawn in episodes_of_control(player):
        batch: Episodes = drawn.batch
        assert batch.observations is not None
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
        batch = episodes(columns, gamma, torch.arange(real.shape[1]), torch.zeros(1, dtype=torch.float64))
        assert batch.observations is not None
        found = gae(batch.rewards, batch.observations[..., 0], batch.discounts, batch.mask, lambda_)
        for r in range(real.shape[1]):
            for number, row in enumerate(rows_by_loops(columns, r)):
                expected = 0.0
                for place, (t, e) in reversed(list(enumerate(row))):
                    onward = 0.0 if cut[t, r, e] else gamma
                    error = columns["rewards"][t, r, e] + onward * columns["reached"][t, r, e, 0]
                    expected = error - columns["observations"][t, r, e, 0] + onward * lambda_ * expected
                    assert found[r, number, place].item() == pytest.approx(expected, rel=1e-9)


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


# Knobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"copies": 0}, "copies must be at least 1, not 0"),
        ({"rollout": 0}, "rollout must be at least 1, not 0: leave it out for whole episodes"),
        ({"gamma": 1.5}, r"gamma must lie in \[0, 1\], not 1.5"),
        ({"gamma": -0.1}, r"gamma must lie in \[0, 1\], not -0.1"),
        ({"gamma": math.nan}, r"gamma must lie in \[0, 1\], not nan"),
    ],
)
def test_knobs_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Control(**wrong)
