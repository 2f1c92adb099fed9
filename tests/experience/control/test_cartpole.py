import gymnasium
import numpy as np
import pytest

from burnish.experience.control import cartpole
from burnish.experience.control.cartpole import CartPoles
from burnish.experience.control.copies import stream
from burnish.experience.control.vector import Transition


def balance(observations: np.ndarray) -> np.ndarray:
    """Keeps the pole up as long as anybody asks."""
    return (observations[..., 2] + 0.5 * observations[..., 3] + 0.1 * observations[..., 1] > 0).astype(np.int64)


def rows(t: Transition, r: int) -> tuple[np.ndarray, ...]:
    return (t.observations[r], t.following[r], t.rewards[r], t.terminated[r], t.truncated[r], t.real[r])


@pytest.mark.parametrize("sutton_barto_reward", [False, True])
def test_every_step_is_that_of_the_single_environment(sutton_barto_reward: bool) -> None:
    """Single environments step by step, each begun where its run's own generator says, one start after the other."""
    seeds, copies, limit, rng = [3, 9, 4], 4, 13, np.random.default_rng(0)
    poles = CartPoles(seeds, copies, limit, sutton_barto_reward)
    streams = [np.random.default_rng(stream(seed, 0)) for seed in seeds]
    options = {"max_episode_steps": limit, "sutton_barto_reward": sutton_barto_reward}
    singles = [[gymnasium.make("CartPole-v1", **options) for _ in range(copies)] for _ in seeds]

    def begin(r: int, e: int) -> np.ndarray:
        singles[r][e].reset()
        singles[r][e].unwrapped.state = streams[r].uniform(-0.05, 0.05, size=4)
        return singles[r][e].unwrapped.state

    first = poles.reset()
    assert first.dtype == np.float32
    for r in range(3):
        for e in range(copies):
            np.testing.assert_allclose(first[r, e], begin(r, e), atol=1e-7)
    ends = {"terminated": 0, "truncated": 0, "both": 0}
    for _ in range(400):
        actions = rng.integers(2, size=(3, copies))
        actions[0] = 1  # Falls at once, and so on the step of the time limit too where that is near.
        stepping = rng.random(3) < 0.7
        t = poles.step(actions, stepping)
        assert t.real.tolist() == [[bool(go)] * copies for go in stepping]
        assert t.failed == {}
        for r in np.flatnonzero(stepping):
            for e in range(copies):
                led_to, reward, terminated, truncated, _ = singles[r][e].step(int(actions[r, e]))
                np.testing.assert_allclose(t.observations[r, e], led_to, atol=1e-6)
                assert (t.rewards[r, e], t.terminated[r, e], t.truncated[r, e]) == (reward, terminated, truncated)
                following = begin(r, e) if terminated or truncated else led_to
                np.testing.assert_allclose(t.following[r, e], following, atol=1e-6)
                ends["both" if terminated and truncated else "terminated" if terminated else "truncated"] += bool(
                    terminated or truncated
                )
    assert min(ends.values()) > 3
    assert sum(ends.values()) > 3 * 1.5 * cartpole.DRAWN  # Starts were drawn anew, more than once.


def test_the_time_limit_of_one_that_never_falls() -> None:
    poles = CartPoles([1], 2, 70)
    seen = poles.reset()
    for step in range(1, 211):
        t = poles.step(balance(seen), np.array([True]))
        assert t.truncated[0].tolist() == [step % 70 == 0] * 2
        assert not t.terminated.any()
        seen = t.following


def test_a_run_of_a_group_sees_what_it_sees_alone() -> None:
    seeds, copies, rng = [5, 6, 11], 2, np.random.default_rng(1)
    together, alone = CartPoles(seeds, copies, 11), [CartPoles([seed], copies, 11) for seed in seeds]
    first, there = together.reset(), [0, 1, 2]
    for i, one in enumerate(alone):
        np.testing.assert_array_equal(one.reset()[0], first[i])
    for step in range(600):
        if step in (300, 450):
            there = [2, 0] if step == 300 else [0]
            together.keep([2, 0] if step == 300 else [1])
        stepping = rng.random(len(there)) < 0.6
        actions = rng.integers(2, size=(len(there), copies))
        t = together.step(actions, stepping)
        for r, i in enumerate(there):
            if stepping[r]:
                theirs = alone[i].step(actions[[r]], np.array([True]))
                for mine, right in zip(rows(t, r), rows(theirs, 0), strict=True):
                    np.testing.assert_allclose(mine, right, atol=1e-6)
        if step == 500:
            np.testing.assert_array_equal(together.reset()[0], alone[0].reset()[0])


def test_a_run_that_waits_keeps_its_place_its_time_and_its_stream() -> None:
    poles, undisturbed = CartPoles([1, 2], 2, 5), CartPoles([1, 2], 2, 5)
    poles.reset()
    undisturbed.reset()
    before = poles.step(np.ones((2, 2), int), np.array([True, True]))
    undisturbed.step(np.ones((2, 2), int), np.array([True, True]))
    for _ in range(7):  # Longer than the time limit; and its actions are not looked at.
        t = poles.step(np.array([[-7, 9], [1, 0]]), np.array([False, True]))
        np.testing.assert_array_equal(t.observations[0], before.following[0])
        np.testing.assert_array_equal(t.following[0], before.following[0])
        assert not np.stack(rows(t, 0)[2:]).any()
    for _ in range(9):
        actions = np.zeros((2, 2), int)
        t, u = poles.step(actions, np.array([True, False])), undisturbed.step(actions, np.array([True, True]))
        for mine, right in zip(rows(t, 0), rows(u, 0), strict=True):
            np.testing.assert_array_equal(mine, right)


def test_how_many_starts_are_drawn_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def play() -> list[np.ndarray]:
        poles = CartPoles([1, 2], 3, 4)
        return [poles.reset(), *(poles.step(np.ones((2, 3), int), np.ones(2, bool)).following for _ in range(50))]

    many = play()
    monkeypatch.setattr(cartpole, "DRAWN", 1)
    for mine, right in zip(play(), many, strict=True):
        np.testing.assert_array_equal(mine, right)


def test_a_second_reset_begins_everywhere_with_new_starts_and_full_time() -> None:
    poles = CartPoles([1, 2], 2, 5)
    first = poles.reset()
    poles.step(np.ones((2, 2), int), np.ones(2, bool))
    second = poles.reset()
    assert len(np.unique(np.concatenate([first, second])[..., 0])) == 8
    assert abs(second).max() <= 0.05
    truncated = [poles.step(np.ones((2, 2), int), np.ones(2, bool)).truncated.all() for _ in range(5)]
    assert truncated == [False, False, False, False, True]


def test_a_run_that_is_given_no_seat_leaves_an_empty_vector() -> None:
    poles = CartPoles([1, 2], 2, 5)
    poles.reset()
    poles.keep([])
    assert poles.step(np.zeros((0, 2), int), np.zeros(0, bool)).real.shape == (0, 2)
    poles.close()
