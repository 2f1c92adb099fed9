"""Trained policies choose what the policy in training chooses, one observation or many at a time."""

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from recipes.classic_worlds import HERE
from trained_policies import write_group

from burnish.algorithms.ppo import PPO
from burnish.experience.control.environments import make_environments
from burnish.experience.control.normalise import ObservationNormaliser
from burnish.experience.control.player import OBSERVATIONS, Player, statistics
from burnish.experience.control.rollouts import Control
from burnish.experience.control.saved import Saved, save_policies
from burnish.experience.control.trained import TrainedPolicy, load_policies
from burnish.policies.control.policy import ControlPolicy
from burnish.policies.interface import Models
from burnish.recipes.control.models import network_of
from burnish.run import UserError


def in_training(folder: Path, env: str, normalised: bool = True) -> Player:
    """A player of two runs in the middle of training, with normalised observations or not, whose policies are saved."""
    environments = make_environments(env, [5, 6], 3)
    network = network_of(environments, (4,), PPO())
    models = Models(policy=network.policy([5, 6]))
    theta: Any = models.policy.parameters()["theta"]  # type: ignore[union-attr]
    theta.data += torch.randn(theta.shape, generator=torch.Generator().manual_seed(0)) / 4  # or all actions are alike
    player = Player(models, Control(3, 20, normalise_observations=normalised), environments, [5, 6], 10**6)
    player.play()
    player.ledger.ended[:] = 10**6
    policy: Any = models.policy
    weights = {run: {f"policy/{name}": x[run] for name, x in policy.named().items()} for run in (0, 1)}
    for run in (0, 1):
        weights[run] |= statistics(OBSERVATIONS, player.seen, run)
    facts: dict[int, dict[str, Any]] = {0: {}, 1: {}}
    environment = {"id": env, "options": {}, "wrappers": []}
    saved = Saved("ppo", {}, environment, *environments.spaces, network, player.seen and player.seen.clip, facts)
    folder.mkdir(exist_ok=True)
    save_policies(folder, saved, weights)
    return player


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_a_loaded_policy_chooses_what_the_one_in_training_does(env: str, tmp_path: Path) -> None:
    """The likeliest actions and drawn ones, of both runs, to the bit; through statistics that matter."""
    player = in_training(tmp_path, env)
    rows = player.environments.reset()
    assert player.seen is not None
    shown = torch.from_numpy(player.seen(rows))
    policies = load_policies(tmp_path)
    policy: Any = player.models.policy
    np.testing.assert_array_equal(policies.choose(rows), policy.likeliest(shown).numpy())
    streams = [np.random.default_rng(run) for run in (0, 1)]
    continuous, again = player.environments.continuous, [np.random.default_rng(run) for run in (0, 1)]
    draws = [s.standard_normal((3, 1), np.float32) if continuous else s.random((3,), np.float32) for s in again]
    drawn, _ = policy.act(shown, torch.from_numpy(np.stack(draws)))
    np.testing.assert_array_equal(policies.choose(rows, streams), drawn.numpy())
    raw = policy.likeliest(torch.from_numpy(100 * rows)).numpy()
    assert env == "CartPole-v1" or (raw != policies.choose(100 * rows)).any()


@pytest.mark.parametrize("env", ["Pictures-v0", "Chosen-v0"])
def test_images_and_several_choices_are_chosen_as_in_training(env: str, tmp_path: Path) -> None:
    """The actions of the player's next rollout, drawn from the same streams; likeliest ones also through statistics."""
    player = in_training(tmp_path / "plain", f"{HERE}:{env}", normalised=False)
    streams, policies = deepcopy(player.streams), load_policies(tmp_path / "plain")
    columns, _ = player.play()
    rows, policy = columns["observations"][0], cast(ControlPolicy, player.models.policy)
    assert rows.dtype == (np.uint8 if env == "Pictures-v0" else np.float32)
    np.testing.assert_array_equal(policies.choose(rows, streams), columns["actions"][0])
    np.testing.assert_array_equal(policies.choose(rows), policy.likeliest(torch.from_numpy(rows)).numpy())
    player = in_training(tmp_path / "normalised", f"{HERE}:{env}")
    policy, seen = cast(ControlPolicy, player.models.policy), cast(ObservationNormaliser, player.seen)
    chosen = load_policies(tmp_path / "normalised").choose(rows)
    np.testing.assert_array_equal(chosen, policy.likeliest(torch.from_numpy(seen(rows))).numpy())


@pytest.mark.parametrize("env", ["Pictures-v0", "Chosen-v0"])
def test_images_and_several_choices_are_written_as_step_takes_them(env: str, tmp_path: Path) -> None:
    in_training(tmp_path, f"{HERE}:{env}")
    policy = TrainedPolicy(load_policies(TrainedPolicy(load_policies(tmp_path, [1])).save(tmp_path / "alone")))
    made = gymnasium.make(f"{HERE}:{env}")
    observation, _ = made.reset(seed=0)
    action = policy.act(observation)
    assert made.action_space.contains(action)
    np.testing.assert_array_equal(policy.act(np.stack([observation] * 3)), [action] * 3)
    assert made.step(policy.act(observation, deterministic=False))[1] in (0, 1, 2, 3, 4)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_one_observation_and_a_batch(env: str, tmp_path: Path) -> None:
    """An action that `step` takes for one; the same ones stacked for several, also through the saved single run."""
    in_training(tmp_path, env)
    policy = TrainedPolicy(load_policies(tmp_path, [1]))
    made = gymnasium.make(env)
    observations = np.stack([made.reset(seed=seed)[0] for seed in range(4)])
    several = policy.act(observations)
    for observation, action in zip(observations, several, strict=True):
        np.testing.assert_allclose(policy.act(observation), action, atol=1e-6)
    assert made.action_space.contains(policy.act(observations[0]))
    made.step(policy.act(observations[0], deterministic=False))
    made.close()
    alone = TrainedPolicy(load_policies(policy.save(tmp_path / "alone")))
    assert (alone.number, alone.algorithm, alone.environment["id"]) == (1, "ppo", env)
    np.testing.assert_array_equal(alone.act(observations), several)


def test_drawn_actions_are_as_likely_as_the_policy_says(tmp_path: Path) -> None:
    """A policy of logits 0 and 0 draws both; its likeliest is the first. The seed repeats the draws."""
    spaces = (Box(0, 3, (1,)), Discrete(2, start=3))
    write_group(tmp_path, "any", {0: 0}, spaces=spaces)
    sure, batch = TrainedPolicy(load_policies(tmp_path)), np.zeros((200, 1), np.float32)
    assert set(sure.act(batch, deterministic=False).tolist()) == {3}
    policies = load_policies(tmp_path)
    policies.policy.theta.data.zero_()
    drawn = [TrainedPolicy(policies, seed).act(batch, deterministic=False).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 60 < sum(one == 4 for one in drawn[0]) < 140  # 100 ± 5.7 standard deviations
    assert set(TrainedPolicy(policies).act(batch).tolist()) == {3}


@pytest.mark.parametrize("observation", [np.zeros(2), np.zeros((1, 1, 1)), "high", None, [[1.0, 2.0]]])
def test_what_is_no_observation_is_refused(observation: Any, tmp_path: Path) -> None:
    policy = TrainedPolicy(load_policies(write_group(tmp_path, "any", {0: 0})))
    with pytest.raises(UserError, match=r"is not of the policy's observation space Box"):
        policy.act(observation)


@pytest.mark.parametrize(
    ("number", "dtype", "said"),
    [
        (np.nan, "float32", r"array\(\[nan\]\), an observation that is not finite"),
        (-np.inf, "float64", r"array\(\[-inf\]\), an observation that is not finite"),
        (1e39, "float32", r"array\(\[1.e\+39\]\), an observation that is not finite"),
        (1e39, "float64", r"array\(\[1.e\+39\]\), an observation of 1e\+39, which overflows float32: scale it"),
    ],
)
def test_an_observation_that_no_policy_computes_with_is_refused(
    number: float, dtype: Any, said: str, tmp_path: Path
) -> None:
    """Alone, and beside others that are fine."""
    spaces = (Box(0, 3, (1,), dtype), Discrete(2))
    policy = TrainedPolicy(load_policies(write_group(tmp_path, "any", {0: 0}, spaces=spaces)))
    space = rf"^the policy's observation space is Box\(0.0, 3.0, \(1,\), {dtype}\), and it was given "
    with pytest.raises(UserError, match=space + said):
        policy.act(np.array([number]))
    with pytest.raises(UserError, match=space + "array.*an observation "):
        policy.act(np.array([[1.0], [number]]))


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_group(tmp_path, "any", {0: 0, 3: 1})
    with pytest.raises(UserError, match=r"has no run 1: it has \[0, 3\]"):
        load_policies(tmp_path, [1])
