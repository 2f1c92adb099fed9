from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import worlds
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from worlds import Drift, NativeCartPole, Needy, Pressed, drift

from burnish.experience.control.vector import Transition, VectorEnvironments
from burnish.run import UserError

MODES = list(AutoresetMode)


def acrobot() -> gymnasium.Env:
    return gymnasium.make("Acrobot-v1", max_episode_steps=5)


def cartpole() -> gymnasium.Env:
    return gymnasium.make("CartPole-v1", max_episode_steps=12)


def group(
    make: Callable[[], gymnasium.Env], seeds: list[int], copies: int, mode: AutoresetMode = AutoresetMode.DISABLED
) -> VectorEnvironments:
    return VectorEnvironments([SyncVectorEnv([make] * copies, autoreset_mode=mode) for _ in seeds], seeds)


def choose(observation: np.ndarray, actions: int) -> int:
    """An action that is a function of what is seen, and takes every value."""
    return int(abs(float(observation[0])) * 1000) % actions


# One transition, however the next episode begins -------------------------------------------------------------------


def by_hand(env: gymnasium.Env, seed: int, steps: int, actions: int, start: int) -> list[tuple[Any, ...]]:
    """The loop that every introduction to Gymnasium has: what was seen, what it led to, what comes next."""
    told, (seen, _) = [], env.reset(seed=seed)
    for _ in range(steps):
        led_to, reward, terminated, truncated, _ = env.step(choose(seen, actions) + start)
        following = env.reset()[0] if terminated or truncated else led_to
        told.append((seen, led_to, following, reward, terminated, truncated))
        seen = following
    return told


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("make", "actions", "start"), [(drift, 3, -1), (acrobot, 3, 0), (cartpole, 2, 0)], ids=["drift", "acrobot", "pole"]
)
def test_the_real_transitions_are_those_of_single_environments(
    mode: AutoresetMode, make: Any, actions: int, start: int
) -> None:
    runs, copies, steps = 2, 3, 40
    inner = [[make() for _ in range(copies)] for _ in range(runs)]
    envs = [
        SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=mode, copy=r == 0)
        for r, envs in enumerate(inner)
    ]
    environments = VectorEnvironments(envs, [3, 8])
    seen = environments.reset()
    expected = [[by_hand(make(), env.np_random_seed, steps, actions, start) for env in envs] for envs in inner]
    told: dict[tuple[int, int], list[tuple[Any, ...]]] = {(r, e): [] for r in range(runs) for e in range(copies)}
    dummies = ends = both = 0
    for _ in range(steps):
        chosen = np.array([[choose(o, actions) for o in run] for run in seen])
        t = environments.step(chosen, np.ones(runs, dtype=bool))
        for (r, e), list_ in told.items():
            if not t.real[r, e]:
                dummies += 1
                assert (t.rewards[r, e], t.terminated[r, e], t.truncated[r, e]) == (0, False, False)
                if list_:  # What the end led on to is known only now.
                    list_[-1] = (*list_[-1][:2], t.following[r, e], *list_[-1][3:])
                continue
            one = (t.observations[r, e], t.following[r, e], t.rewards[r, e], t.terminated[r, e], t.truncated[r, e])
            list_.append((seen[r, e].copy(), *one))
            ends += bool(t.terminated[r, e] or t.truncated[r, e])
            both += bool(t.terminated[r, e])
        seen = t.following
    assert ends > 2 * runs * copies
    if make is drift:
        assert 0 < both < ends
    assert (dummies > 0) == (mode is AutoresetMode.NEXT_STEP)
    for (r, e), list_ in told.items():
        assert len(list_) > 20
        for ours, theirs in zip(list_[:-1], expected[r][e], strict=False):
            for mine, right in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine, right)


def test_an_environment_that_says_nothing_begins_again_on_the_next_step() -> None:
    """Gymnasium's own pole in a vector: mechanics by hand from each real transition's beginning."""
    native = NativeCartPole(3, max_episode_steps=9)
    native.metadata = {}
    environments, single = VectorEnvironments([native], [4]), gymnasium.make("CartPole-v1")
    seen, waiting, real, rng = environments.reset()[0], np.zeros(3, dtype=bool), 0, np.random.default_rng(0)
    single.reset()
    for _ in range(60):
        actions = rng.integers(2, size=(1, 3))
        t = environments.step(actions, np.array([True]))
        np.testing.assert_array_equal(t.real[0], ~waiting)
        for e in range(3):
            if t.real[0, e]:
                single.unwrapped.state = seen[e].astype(np.float64)
                led_to, *_ = single.unwrapped.step(int(actions[0, e]))
                np.testing.assert_allclose(t.observations[0, e], led_to, atol=1e-6)
                assert t.rewards[0, e] == 1
            else:
                assert abs(t.following[0, e]).max() <= 0.05
        waiting, seen, real = t.terminated[0] | t.truncated[0], t.following[0], real + t.real.sum()
    assert 100 < real < 180
    assert isinstance(native.seeds[0], int)  # One number for a vector with a stream of its own, and only once.
    assert len(native.seeds) == 1


# Runs in lockstep --------------------------------------------------------------------------------------------------


def rows(t: Transition, r: int) -> tuple[Any, ...]:
    return (t.observations[r], t.following[r], t.rewards[r], t.terminated[r], t.truncated[r], t.real[r])


@pytest.mark.parametrize("mode", MODES)
def test_a_run_of_a_group_sees_what_it_sees_alone(mode: AutoresetMode) -> None:
    rng, seeds, copies = np.random.default_rng(1), [5, 6, 11], 2
    together, alone = group(drift, seeds, copies, mode), [group(drift, [seed], copies, mode) for seed in seeds]
    there, first = list(range(3)), together.reset()
    for i, one in enumerate(alone):
        np.testing.assert_array_equal(one.reset()[0], first[i])
    for step in range(90):
        if step == 40:
            together.keep([2, 0])
            there = [2, 0]
        if step == 60:
            together.keep((1,))
            there = [0]
        stepping = rng.random(len(there)) < 0.6
        actions = rng.integers(3, size=(len(there), copies))
        t = together.step(actions, stepping)
        for r, i in enumerate(there):
            if stepping[r]:
                theirs = alone[i].step(actions[[r]], np.array([True]))
                for mine, right in zip(rows(t, r), rows(theirs, 0), strict=True):
                    np.testing.assert_array_equal(mine, right)
        if step == 70:
            np.testing.assert_array_equal(together.reset()[0], alone[0].reset()[0])


def test_a_run_that_waits_is_left_alone() -> None:
    env = drift()
    environments = VectorEnvironments([SyncVectorEnv([lambda: env]), SyncVectorEnv([drift])], [1, 2])
    first = environments.reset()
    environments.step(np.zeros((2, 1), int), np.array([True, True]))
    before = environments.step(np.array([[99], [1]]), np.array([False, True]))
    state = env.unwrapped.np_random.bit_generator.state
    t = environments.step(np.array([[99], [1]]), np.array([False, True]))
    assert env.unwrapped.steps == 1
    assert env.unwrapped.np_random.bit_generator.state == state
    assert not t.real[0].any()
    assert t.real[1].all()
    np.testing.assert_array_equal(t.observations[0], before.following[0])
    np.testing.assert_array_equal(t.following[0], before.following[0])
    assert (t.observations[0] != first[0]).any()
    assert (t.rewards[0], t.terminated[0], t.truncated[0]) == (0, False, False)


def test_a_run_that_waits_is_shown_what_it_saw_last_whoever_wrote_on_it_or_left() -> None:
    """After the first observations, after a step, and after runs changed places."""
    environments, nobody = group(drift, [1, 2, 3], 1), np.zeros(3, dtype=bool)
    seen = environments.reset()
    last = seen.copy()
    seen[...] = 55
    np.testing.assert_array_equal(environments.step(np.ones((3, 1), int), nobody).observations, last)
    seen = environments.step(np.ones((3, 1), int), ~nobody).following
    last = seen.copy()
    seen[...] = 55
    np.testing.assert_array_equal(environments.step(np.ones((3, 1), int), nobody).following, last)
    environments.keep([2, 0])
    t = environments.step(np.ones((2, 1), int), nobody[:2])
    np.testing.assert_array_equal(t.observations, last[[2, 0]])


def test_every_copy_of_every_run_has_a_stream_of_its_own() -> None:
    seeds, copies = [0, 1, 2, 3], 4
    inner = Drift()
    VectorEnvironments([SyncVectorEnv([lambda: inner])], [1]).reset()
    assert 0 <= inner.np_random_seed < 2**31  # Some libraries take no more.
    first = group(drift, seeds, copies).reset()
    assert len(np.unique(first[..., 0])) == 16
    np.testing.assert_array_equal(group(drift, seeds, copies).reset(), first)
    np.testing.assert_array_equal(group(drift, seeds, 2).reset(), first[:, :2])


@pytest.mark.parametrize("mode", MODES)
def test_a_second_reset_begins_everywhere_and_goes_on_with_the_streams(mode: AutoresetMode) -> None:
    environments = group(drift, [7], 2, mode)
    first = environments.reset()
    t = environments.step(np.full((1, 2), 2), np.array([True]))
    while not t.terminated.any():
        t = environments.step(np.full((1, 2), 2), np.array([True]))
    second = environments.reset()
    assert (second[..., 1] == 0).all()
    assert not np.isin(second, first[first != 0]).any()
    assert environments.step(np.ones((1, 2), int), np.array([True])).real.all()


def test_what_is_given_out_is_not_touched_again() -> None:
    environments = group(drift, [7], 2, AutoresetMode.SAME_STEP)
    given = [environments.reset()]
    copies = [given[0].copy()]
    for _ in range(12):
        t = environments.step(np.full((1, 2), 2), np.array([True]))
        for array in rows(t, slice(None)):  # type: ignore[arg-type]
            given.append(array)
            copies.append(array.copy())
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# What goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", "RuntimeError: the line broke"),
        ("exit", "the environment called exit(0): let it raise an exception ("),
        ("observation", "copy 1 gave an observation that is not finite"),
        ("reward", "copy 1 gave a reward that is not finite"),
        ("no reward", "copy 1 gave a reward that is not finite"),
        ("shape", "ValueError: "),
        ("large", "copy 1 gave a reward of 1e+39, which overflows float32: scale it"),
    ],
)
def test_a_run_that_fails_is_named_and_the_others_go_on(mode: AutoresetMode, fault: str, said: str) -> None:
    def make() -> gymnasium.Env:
        return drift(fault, limit=100)

    together, alone = group(make, [1, 2, 3], 2, mode), {r: group(make, [r + 1], 2, mode) for r in (0, 2)}
    together.reset()
    for one in alone.values():
        one.reset()
    still, everyone = np.full((3, 2), 1), np.ones(3, dtype=bool)
    assert together.step(still, everyone).failed == {}
    last = together.step(still, everyone)
    for one in (*alone.values(), *alone.values()):
        one.step(still[:1], everyone[:1])
    bad = still.copy()
    bad[1, 1] = 3  # The action 2 of a space that begins at −1.
    for actions in (bad, still):
        t = together.step(actions, everyone)
        assert list(t.failed) == [1]
        assert t.failed[1].startswith(said)
        np.testing.assert_array_equal(t.following[1], last.following[1])
        np.testing.assert_array_equal(t.observations[1], last.following[1])
        assert not np.stack([t.rewards[1], t.terminated[1], t.truncated[1], t.real[1]]).any()
        for r, one in alone.items():
            for mine, right in zip(rows(t, r), rows(one.step(still[:1], everyone[:1]), 0), strict=True):
                np.testing.assert_array_equal(mine, right)
    assert together.step(still, np.array([True, False, True])).failed == {}
    begun = together.reset()  # What has failed stays so.
    assert begun[[0, 2]].any(axis=(1, 2)).all()
    assert not begun[1].any()
    assert list(together.step(still, everyone).failed) == [1]
    together.keep([0, 2])
    assert together.step(still[:2], everyone[:2]).failed == {}


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_that_cannot_begin_fails_its_run(mode: AutoresetMode) -> None:
    environments, failed = group(lambda: drift("reset", limit=3), [1], 1, mode), {}
    environments.reset()
    for _ in range(12):
        t = environments.step(np.ones((1, 1), int), np.array([True]))
        failed = failed or t.failed
        assert np.isfinite(t.following).all()
    assert failed[0].startswith("RuntimeError: the line is cut (")
    assert failed[0].endswith(f"worlds.py, line {line_of('the line is cut')})")


def line_of(text: str) -> int:
    """Where worlds.py raises this."""
    lines = Path(worlds.__file__).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line)


def test_a_reward_is_one_number() -> None:
    environments = group(lambda: drift("array"), [1], 1)
    environments.reset()
    t = environments.step(np.full((1, 1), 3), np.array([True]))
    said = "ValueError: a reward of shape (1,) where one number is expected: return float(reward)"
    assert t.failed == {0: said}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("first reset", "RuntimeError: there is no line ("),
        ("first observation", "copy 0 gave an observation that is not finite"),
    ],
)
def test_a_run_that_fails_before_its_first_step_says_so_in_it(fault: str, said: str) -> None:
    envs = [SyncVectorEnv([lambda fault=fault: drift(fault)]) for fault in ("none", fault)]
    environments = VectorEnvironments(envs, [1, 2])
    first = environments.reset()
    assert first[0].any()
    assert not first[1].any()
    t = environments.step(np.ones((2, 1), int), np.array([True, True]))
    assert list(t.failed) == [1]
    assert t.failed[1].startswith(said)
    assert t.real.tolist() == [[True], [False]]


def test_an_action_that_is_no_number_is_the_policys_fault() -> None:
    environments = VectorEnvironments([SyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")]) for _ in "ab"], [1, 2])
    environments.reset()
    t = environments.step(np.array([[[0.5]], [[np.nan]]]), np.array([True, True]))
    assert t.failed == {1: "FloatingPointError: the policy chose an action that is not finite"}
    assert environments.step(np.array([[[0.5]], [[np.nan]]]), np.array([True, False])).failed == {}


def test_a_vector_that_keeps_the_final_observation_to_itself_fails() -> None:
    environments = VectorEnvironments([Pressed(AutoresetMode.SAME_STEP)], [1])
    environments.reset()
    t = environments.step(np.zeros((1, 2), int), np.array([True]))
    assert t.failed == {0: "ValueError: an episode ended in autoreset mode SAME_STEP without 'final_obs' in infos"}


def test_rewards_of_another_shape_fail() -> None:
    environments = VectorEnvironments([Pressed(AutoresetMode.DISABLED, np.zeros((2, 1)))], [1])
    environments.reset()
    t = environments.step(np.zeros((1, 2), int), np.array([True]))
    assert t.failed == {0: "ValueError: rewards of shape (2, 1) for 2 copies"}


def test_a_step_that_only_begins_an_episode_earns_nothing_and_ends_nothing_whatever_it_gives() -> None:
    environments = VectorEnvironments([Pressed(AutoresetMode.NEXT_STEP)], [1])
    environments.reset()
    told = [environments.step(np.zeros((1, 2), int), np.array([True])) for _ in range(4)]
    assert [t.real.tolist() for t in told] == [[[True, True]], [[True, False]]] * 2
    assert [t.rewards.tolist() for t in told] == [[[1.0, 2.0]], [[1.0, 0.0]]] * 2
    assert [t.terminated.tolist() for t in told] == [[[False, True]], [[False, False]]] * 2


def test_who_goes_on_is_not_moved_by_a_neighbours_new_episode() -> None:
    environments = VectorEnvironments([Pressed(AutoresetMode.DISABLED)], [1])
    environments.reset()
    t = environments.step(np.zeros((1, 2), int), np.array([True]))
    assert t.observations.tolist() == [[[0.25], [0.25]]]
    assert t.following.tolist() == [[[0.25], [-0.5]]]


def test_what_is_not_installed_is_the_users_to_install() -> None:
    environments = VectorEnvironments([SyncVectorEnv([Needy])], [1], "Needy-v0")
    with pytest.raises(
        UserError, match="Needy-v0 needs a package that is not installed: chalk is not installed, buy chalk"
    ):
        environments.reset()


@pytest.mark.parametrize("mode", MODES)
def test_a_next_episode_that_begins_with_no_number_fails(mode: AutoresetMode) -> None:
    environments, failed = group(lambda: drift("next observation", limit=3), [1], 1, mode), {}
    environments.reset()
    for _ in range(12):
        failed = failed or environments.step(np.ones((1, 1), int), np.array([True])).failed
    assert failed == {0: "copy 0 gave an observation that is not finite"}


@pytest.mark.parametrize("mode", MODES)
def test_a_final_observation_that_is_no_number_fails(mode: AutoresetMode) -> None:
    environments = group(lambda: drift("observation", limit=1), [1], 1, mode)
    environments.reset()
    t = environments.step(np.full((1, 1), 3), np.array([True]))
    assert t.failed == {0: "copy 0 gave an observation that is not finite"}


def test_who_leaves_is_closed_and_who_stays_is_not() -> None:
    envs = [SyncVectorEnv([Drift]) for _ in range(3)]
    environments = VectorEnvironments(envs, [1, 2, 3])
    environments.reset()
    environments.keep([2, 1])
    assert [env.closed for env in envs] == [True, False, False]
    environments.close()
    assert all(env.closed for env in envs)


def test_observations_as_wide_as_the_environments_own() -> None:
    assert group(lambda: TimeLimit(Drift(), 5), [1], 1).reset().dtype == np.float64
    assert group(cartpole, [1], 1).reset().dtype == np.float32
