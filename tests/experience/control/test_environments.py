import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import worlds
from gymnasium.envs.registration import WrapperSpec

from burnish.experience.control.cartpole import CartPoles
from burnish.experience.control.environments import make_environments
from burnish.experience.control.vector import VectorEnvironments
from burnish.run import UserError

IDS = {
    "BurnishDrift-v0": {"entry_point": worlds.Drift, "max_episode_steps": 6},
    "BurnishNeedy-v0": {"entry_point": worlds.Needy},
    "BurnishPair-v0": {"entry_point": worlds.Pair},
    "BurnishNative-v0": {"vector_entry_point": worlds.NativeCartPole, "max_episode_steps": 8},
    "BurnishWrapped-v0": {
        "entry_point": worlds.Drift,
        "vector_entry_point": worlds.NativeCartPole,
        "additional_wrappers": (WrapperSpec("FlattenObservation", "gymnasium.wrappers:FlattenObservation", {}),),
    },
}


@pytest.fixture(autouse=True)
def _known() -> None:
    for id_, how in IDS.items():
        if id_ not in gymnasium.registry:
            gymnasium.register(id_, **how)


def ends(name: str, steps: int, **options: object) -> list[int]:
    """The steps after which the one copy of the one run is truncated, under the action 1."""
    environments = make_environments(name, [1], 1, **options)
    environments.reset()
    actions = np.ones((1, 1), int)
    return [i for i in range(1, steps + 1) if environments.step(actions, np.array([True])).truncated.any()]


def test_shapes_and_kinds() -> None:
    pendulum = make_environments("Pendulum-v1", [1, 2], 3)
    assert isinstance(pendulum, VectorEnvironments)
    assert (pendulum.observations, pendulum.actions, pendulum.continuous) == (3, 1, True)
    assert pendulum.reset().shape == (2, 3, 3)
    lake = make_environments("FrozenLake-v1", [1], 1)
    assert (lake.observations, lake.actions, lake.continuous) == (16, 4, False)
    assert lake.reset().tolist() == [[[1] + [0] * 15]]
    pole = make_environments("CartPole-v1", [1, 2], 3)
    assert isinstance(pole, CartPoles)
    assert (pole.observations, pole.actions, pole.continuous) == (4, 2, False)
    assert pole.reset().shape == (2, 3, 4)


def test_an_action_beyond_the_bounds_is_that_at_the_bound() -> None:
    """Two pendulums of one seed, pushed by 2, its bound, and by 90; and one the other way."""
    environments = make_environments("Pendulum-v1", [4, 4, 4], 1)
    environments.reset()
    t = environments.step(np.array([[[2.0]], [[90.0]], [[-90.0]]]), np.ones(3, bool))
    np.testing.assert_array_equal(t.observations[0], t.observations[1])
    assert (t.observations[0] != t.observations[2]).any()
    assert t.rewards[0] == t.rewards[1]


def test_the_time_limit_is_the_ids_own_unless_given() -> None:
    assert ends("Acrobot-v1", 9, max_episode_steps=4) == [4, 8]
    assert ends("BurnishNative-v0", 16, max_episode_steps=3)[0] == 3
    for name, limit, options in (
        ("CartPole-v1", 500, {}),
        ("CartPole-v0", 200, {}),
        ("CartPole-v1", 20, {"max_episode_steps": 20}),
    ):
        poles = make_environments(name, [1], 1, **options)
        seen, steps = poles.reset(), 0
        while True:
            action = (seen[..., 2] + 0.5 * seen[..., 3] + 0.1 * seen[..., 1] > 0).astype(int)
            t, steps = poles.step(action, np.array([True])), steps + 1
            seen = t.following
            if t.truncated.any() or t.terminated.any():
                break
        assert (steps, t.truncated.item(), t.terminated.item()) == (limit, True, False)


def test_options_reach_the_environment() -> None:
    """Pendulum of twice the gravity turns faster from the same place; a pole of Sutton and Barto's earns nothing."""
    light, heavy = (make_environments("Pendulum-v1", [1], 1, g=g) for g in (5.0, 10.0))
    assert (light.reset() == heavy.reset()).all()
    push = np.zeros((1, 1, 1)), np.array([True])
    assert abs(heavy.step(*push).observations[0, 0, 2]) > abs(light.step(*push).observations[0, 0, 2])
    pole = make_environments("CartPole-v1", [1], 1, sutton_barto_reward=True)
    pole.reset()
    assert pole.step(np.ones((1, 1), int), np.array([True])).rewards.tolist() == [[0.0]]


def test_an_id_with_a_vector_of_its_own_gets_one_a_run() -> None:
    environments = make_environments("BurnishNative-v0", [1, 2], 3)
    assert isinstance(environments, VectorEnvironments)
    assert environments.reset().shape == (2, 3, 4)
    t = environments.step(np.ones((2, 3), int), np.array([True, False]))
    assert t.real.tolist() == [[True] * 3, [False] * 3]


def test_wrappers_of_the_id_are_not_left_out() -> None:
    """Its own vector would come without the wrappers, so that single environments are stepped instead."""
    assert make_environments("BurnishWrapped-v0", [1], 1).observations == 2


def test_an_id_may_name_the_module_that_registers_it() -> None:
    assert make_environments("worlds:BurnishDrift-v0", [1], 1).observations == 2
    with pytest.raises(UserError, match=r"module of the environment 'no_such:X-v0' cannot be imported: ModuleNot"):
        make_environments("no_such:X-v0", [1], 1)


def test_a_module_or_an_environment_that_exits_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaving_worlds.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="'leaving_worlds:A-v0' cannot be imported: SystemExit: 0"):
        make_environments("leaving_worlds:A-v0", [1], 1)

    def leaving(**options: object) -> gymnasium.Env:
        raise SystemExit(0)

    if "Leaving-v0" not in gymnasium.registry:
        gymnasium.register("Leaving-v0", entry_point=leaving)
    with pytest.raises(UserError, match="Leaving-v0 could not be made: SystemExit: 0"):
        make_environments("Leaving-v0", [1], 1)


def test_where_a_module_or_an_environment_broke_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TypeError comes from Gymnasium, which raises another from it."""
    (tmp_path / "broken_worlds.py").write_text("\ndef lost(): raise KeyError('goal')\ndef odd(): return 1 + 'a'\n")
    (tmp_path / "broken_module.py").write_text("import math\n\nmath.sqrt(-1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    worlds = tmp_path / "broken_worlds.py"
    for name, said in {
        "broken_worlds:lost": rf"broken_worlds:lost could not be made: KeyError: 'goal' \({worlds}, line 2\)$",
        "broken_worlds:odd": rf"could not be made: TypeError: unsupported .* \({worlds}, line 3\)$",
        "broken_module:any": rf"imported: ValueError: math domain error \({tmp_path}/broken_module.py, line 3\)$",
    }.items():
        with pytest.raises(UserError, match=said):
            make_environments(name, [1], 1)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CartPol-v1", "did you mean CartPole-v1?"),
        ("CARTPOLE-V1", "did you mean CartPole-v1?"),
        ("CartPole-v7", "did you mean CartPole-v0 or CartPole-v1?"),
        ("Pendulum", "did you mean Pendulum-v1?"),
        ("zzzz", "gymnasium.pprint_registry() lists all"),
    ],
)
def test_an_unknown_id_is_told_its_neighbours(name: str, hint: str) -> None:
    with pytest.raises(UserError) as told:
        make_environments(name, [1], 1)
    assert str(told.value) == f"no such environment '{name}': {hint}"


def test_what_is_missing_is_said_in_gymnasiums_words() -> None:
    environments = make_environments("BurnishNeedy-v0", [1], 1)
    with pytest.raises(
        UserError, match="BurnishNeedy-v0 needs a package that is not installed: chalk is not installed, buy"
    ):
        environments.reset()


def test_a_missing_package_is_said_before_anything_is_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match="Ant-v5 needs a package that is not installed: MuJoCo is not installed, run"):
        make_environments("Ant-v5", [1], 1)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"foo": 1}, "could not be made: TypeError: .*unexpected keyword argument 'foo'"),
        ({"max_episode_steps": 0}, "max_episode_steps must be a whole number of at least 1, not 0"),
        ({"max_episode_steps": 2.5}, "max_episode_steps must be a whole number of at least 1, not 2.5"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_environments(name, [1], 1, **options)


def test_spaces_that_do_not_fit_are_named_with_the_id() -> None:
    with pytest.raises(UserError, match=r"BurnishPair-v0 has the observation space Sequence\(Discrete\(2\)"):
        make_environments("BurnishPair-v0", [1], 1)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "BurnishNative-v0"])
def test_a_run_does_not_depend_on_who_is_made_with_it(name: str) -> None:
    together, alone = make_environments(name, [3, 7], 2), make_environments(name, [7], 2)
    np.testing.assert_array_equal(together.reset()[1], alone.reset()[0])
    actions = np.array([[0, 1], [1, 0]])
    for step in range(20):
        t = together.step(actions, np.array([step % 3 == 0, True]))
        u = alone.step(actions[1:], np.array([True]))
        np.testing.assert_allclose(t.following[1], u.following[0], atol=1e-6)
