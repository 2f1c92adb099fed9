"""A group of runs from its settings to its folder: episodes worked by hand, weights, faults, and runs of their own."""

import json
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from burnish.experience.control.saved import read_policies
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.recipes.control.evaluate import evaluate_control
from burnish.recipes.control.group import RunGroup, caution_of, run_group
from burnish.recipes.control.load import load_policy
from burnish.recipes.control.settings import method
from burnish.run import UserError, read_jsonl, read_mapping
from recipes.classic_worlds import HERE, Loose, Rich

KNOBS: dict[str, dict[str, Any]] = {
    "reinforce": {"copies": 1, "rollout": None},
    "reinforce_baseline": {"copies": 2, "rollout": None},
    "actor_critic": {"copies": 2, "rollout": 5},
    "trpo": {"copies": 2, "rollout": 24, "update_epochs": 2, "batch_size": 16},
    "ppo": {"copies": 2, "rollout": 16, "update_epochs": 2, "batch_size": 16},
}


def group(
    name: str = "reinforce",
    first: int = 0,
    last: int = 1,
    *,
    env: str = f"{HERE}:Stairs-v0",
    episodes: int = 4,
    seed: int = 5,
    options: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> RunGroup:
    return RunGroup(method(name, KNOBS[name] | knobs), env, options or {}, (8, 6), episodes, seed, first, last)


def unheard(episodes: int) -> None:
    pass


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "returns.parquet")


def weights(folder: Path, run: int, part: str) -> dict[str, torch.Tensor]:
    """One run's weights, with the leading dimension of one run."""
    prefix = f"{run}/{part}/"
    found = load_file(folder / "weights.safetensors")
    return {name.removeprefix(prefix): x[None] for name, x in found.items() if name.startswith(prefix)}


def test_every_episode_of_every_run_is_written_down(tmp_path: Path) -> None:
    """Stairs: each episode has 3 steps and returns 1 + 2 + 4; the k-th ends when 3k steps were made."""
    found = run_group(group(first=3, last=4), tmp_path / "g", unheard)
    rows = [("reinforce", run, k, 7.0, 3, 3 * k) for run in (3, 4) for k in (1, 2, 3, 4)]
    columns = ["algorithm", "run", "episode", "return", "length", "steps"]
    pd.testing.assert_frame_equal(table(tmp_path / "g"), pd.DataFrame(rows, columns=columns))
    assert found == read_mapping(tmp_path / "g" / "group.json")
    assert found["failed"] == {}
    assert found["seconds"] > 0


def test_two_copies_climb_side_by_side(tmp_path: Path) -> None:
    """Episodes 1 and 2 begin together, and so do 3 and 4: a pair of them takes 6 steps. The 4th of 3 is not counted."""
    run_group(group("reinforce_baseline", episodes=3), tmp_path / "g", unheard)
    assert table(tmp_path / "g").query("run == 1")[["episode", "steps"]].values.tolist() == [[1, 6], [2, 6], [3, 12]]


def test_an_episode_goes_on_in_the_next_rollout(tmp_path: Path) -> None:
    """Rollouts of 5 steps cut episodes of 3: the ledger does not mind. Of 2 copies, each episode's end is told once."""
    run_group(group("actor_critic", episodes=5), tmp_path / "g", unheard)
    rows = table(tmp_path / "g").query("run == 0")
    assert rows["return"].tolist() == [7.0] * 5
    assert rows.length.tolist() == [3] * 5
    assert rows.steps.tolist() == [6, 6, 12, 12, 18]


def test_a_folder_says_what_it_holds(tmp_path: Path) -> None:
    asked = group(first=3, last=4, options={"max_episode_steps": 2})
    assert asked.name == "reinforce-03-04"
    run_group(asked, tmp_path / "g", unheard)
    config = read_mapping(tmp_path / "g" / "config.yaml")
    assert (config["algorithm"], config["env"], config["env_options"]) == (
        "reinforce",
        f"{HERE}:Stairs-v0",
        {"max_episode_steps": 2},
    )
    assert (config["first"], config["last"], config["hidden"], config["seed"]) == (3, 4, "8,6", 5)
    assert table(tmp_path / "g").length.unique().tolist() == [2]
    with pytest.raises(UserError, match="exists and is not empty"):
        run_group(asked, tmp_path / "g", unheard)


def test_metrics_are_logged_now_and_then(tmp_path: Path) -> None:
    """One update an episode, the last of which a run does not learn from: 41 episodes have 40 updates, 3 are logged."""
    found = run_group(group(episodes=41), tmp_path / "g", unheard)
    lines = read_jsonl(tmp_path / "g" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 20, 40]
    assert [line["episodes"] for line in lines] == [1, 20, 40]
    assert [line["return"] for line in lines] == [7, 7, 7]
    assert found["updates"] == {"0": 40, "1": 40}


@pytest.mark.parametrize(("name", "steps", "ends"), [("reinforce", 7, [3, 6]), ("actor_critic", 13, [6, 6, 12, 12])])
def test_a_run_ends_with_its_steps(name: str, steps: int, ends: list[int], tmp_path: Path) -> None:
    """Episodes of 3 steps, of one copy and of two that take 14 steps: the episodes in progress are not counted."""
    heard: list[int] = []
    found = run_group(replace(group(name), episodes=None, steps=steps), tmp_path / "g", heard.append)
    rows = table(tmp_path / "g")
    assert rows.query("run == 0").steps.tolist() == rows.query("run == 1").steps.tolist() == ends
    assert found["failed"] == {}
    assert heard[-1] == 2 * steps
    both = replace(group(name), episodes=2, steps=steps)
    run_group(both, tmp_path / "both", unheard)
    assert table(tmp_path / "both").query("run == 0").episode.tolist() == [1, 2]


def test_who_waits_hears_how_far_the_runs_are(tmp_path: Path) -> None:
    """2 runs of 5 episodes with 2 copies: 2, 4 and at last all 5 of each; what is climbed beyond does not count."""
    heard: list[int] = []
    run_group(group("reinforce_baseline", episodes=5), tmp_path / "g", heard.append)
    assert heard == [4, 8, 10]


@pytest.mark.parametrize("name", KNOBS)
def test_weights_of_each_run_are_saved_and_loaded(name: str, tmp_path: Path) -> None:
    """[out, in] a layer, as torch.nn.Linear has them, under each run's number in the experiment."""
    run_group(group(name, first=2, last=3, env="CartPole-v1"), tmp_path / "g", unheard)
    found = load_file(tmp_path / "g" / "weights.safetensors")
    layers = {"layers.0.weight": (8, 4), "layers.0.bias": (8,), "layers.1.weight": (6, 8), "layers.1.bias": (6,)}
    ends = {"policy": 2} | ({} if name == "reinforce" else {"critic": 1})
    expected = {
        f"{run}/{part}/{layer}": shape
        for run in (2, 3)
        for part, out in ends.items()
        for layer, shape in (layers | {"layers.2.weight": (out, 6), "layers.2.bias": (out,)}).items()
    }
    assert {key: tuple(x.shape) for key, x in found.items()} == expected
    policy = ControlPolicy(4, 2, [0], hidden=(8, 6))
    policy.load_named(weights(tmp_path / "g", 3, "policy"))
    observation = np.array([0.1, -0.2, 0.3, -0.4], np.float32)
    x = observation
    for i in range(3):
        x = found[f"3/policy/layers.{i}.weight"].numpy() @ x + found[f"3/policy/layers.{i}.bias"].numpy()
        x = np.tanh(x) if i < 2 else x
    chance = np.exp(x[0]) / np.exp(x).sum()
    _, logprobs = policy.act(torch.from_numpy(observation)[None, None], torch.zeros(1, 1))
    assert logprobs.item() == pytest.approx(np.log(chance), abs=1e-6)
    if name != "reinforce":
        critic = ControlCritic(4, [0], hidden=(8, 6))
        critic.load_named(weights(tmp_path / "g", 3, "critic"))


@pytest.mark.parametrize("name", ["reinforce", "reinforce_baseline"])
def test_a_run_begins_from_its_own_seed_and_learns_nothing_from_its_last_episode(name: str, tmp_path: Path) -> None:
    """Runs of a single rollout leave with the weights that they came with; run i has the seed 5 · 1,000,003 + i."""
    episodes = KNOBS[name]["copies"]
    run_group(group(name, first=2, last=3, env="CartPole-v1", episodes=episodes), tmp_path / "g", unheard)
    for run in (2, 3):
        seed = 5_000_015 + run
        made = {"policy": ControlPolicy(4, 2, [seed], hidden=(8, 6)), "critic": ControlCritic(4, [seed], hidden=(8, 6))}
        if name == "reinforce":
            del made["critic"]
        for part, model in made.items():
            found = weights(tmp_path / "g", run, part)
            assert found.keys() == model.named().keys()
            for layer, x in model.named().items():
                assert torch.equal(found[layer], x), (run, part, layer)
    assert not torch.equal(
        weights(tmp_path / "g", 2, "policy")["layers.0.weight"], weights(tmp_path / "g", 3, "policy")["layers.0.weight"]
    )


def test_a_run_that_has_more_episodes_has_learned(tmp_path: Path) -> None:
    run_group(group(first=2, last=2, env="CartPole-v1", episodes=2), tmp_path / "g", unheard)
    began = ControlPolicy(4, 2, [5_000_017], hidden=(8, 6)).named()
    for layer, x in weights(tmp_path / "g", 2, "policy").items():
        assert not torch.equal(x, began[layer]), layer


@pytest.mark.parametrize("name", KNOBS)
def test_a_run_is_the_same_in_any_group(name: str, tmp_path: Path) -> None:
    """Episodes on CartPole to the last step, weights to 1e-4.

    A product of several runs at once may round otherwise than that of one. Such a difference of 1e-7 turns an action
    about once in ten million steps, of which there are some hundreds here; it grows by Adam's first steps at most.
    """
    asked: dict[str, Any] = {"env": "CartPole-v1", "episodes": 6, "learning_rate": 0.01}
    run_group(group(name, 0, 2, **asked), tmp_path / "all", unheard)
    together = table(tmp_path / "all")
    parts = []
    for first, last in [(0, 0), (1, 2)]:
        folder = tmp_path / f"{first}-{last}"
        run_group(group(name, first, last, **asked), folder, unheard)
        parts.append(table(folder))
        for key, x in load_file(folder / "weights.safetensors").items():
            torch.testing.assert_close(load_file(tmp_path / "all" / "weights.safetensors")[key], x, atol=1e-4, rtol=0)
    pd.testing.assert_frame_equal(together, pd.concat(parts, ignore_index=True))
    lengths = together.groupby("run").length.apply(tuple)
    assert len(set(lengths)) == 3  # Else runs that are all the same would pass.


def test_runs_choose_their_actions_each_by_itself(tmp_path: Path) -> None:
    """The world is the same for all, and returns tell the actions: 8 ways to climb, 4 times, by chance."""
    run_group(group(last=2, env=f"{HERE}:Told-v0"), tmp_path / "g", unheard)
    returns = table(tmp_path / "g").groupby("run")["return"].apply(tuple)
    assert len(set(returns)) == 3
    assert {total for run in returns for total in run} <= set(range(8))


def test_another_seed_is_another_experiment_and_the_same_is_the_same(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"env": "CartPole-v1", "episodes": 3}
    for name, seed in {"a": 5, "again": 5, "b": 6}.items():
        run_group(group(seed=seed, **asked), tmp_path / name, unheard)
    files = {name: (tmp_path / name / "returns.parquet").read_bytes() for name in ("a", "again", "b")}
    assert files["a"] == files["again"]
    assert files["a"] != files["b"]
    a, again = (load_file(tmp_path / name / "weights.safetensors") for name in ("a", "again"))
    assert all(torch.equal(x, again[key]) for key, x in a.items())


FAULTS = {
    "raise": "in episode 3, RuntimeError: the third stair is loose",
    "observation": "in episode 3, copy 0 gave an observation that is not finite",
    "reward": "in episode 3, copy 0 gave a reward that is not finite",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_whose_environment_fails_does_not_take_the_others_along(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three runs: it is named by its number in the experiment, and its episodes are left out."""
    monkeypatch.setattr(Loose, "made", 0)
    asked = group(first=7, last=9, env=f"{HERE}:Loose-v0", options={"fault": fault})
    heard: list[int] = []
    found = run_group(asked, tmp_path / "g", heard.append)
    assert told(found) == {"8": FAULTS[fault]}
    assert heard == [3, 6, 8, 12]  # The third episode ends in two runs; a run that is over needs no more work.
    assert json.loads((tmp_path / "g" / "group.json").read_text()) == found
    rows = table(tmp_path / "g")
    assert rows[["run", "episode"]].values.tolist() == [[run, k] for run in (7, 9) for k in (1, 2, 3, 4)]
    assert rows["return"].tolist() == [7.0] * 8
    assert rows.steps.tolist() == [3, 6, 9, 12] * 2


def test_a_group_of_which_every_run_fails_leaves_an_empty_table(tmp_path: Path) -> None:
    found = run_group(group(env=f"{HERE}:Loose-v0", options={"loose": -1}), tmp_path / "g", unheard)
    assert told(found) == {"0": FAULTS["raise"], "1": FAULTS["raise"]}
    rows = table(tmp_path / "g")
    assert rows.empty
    assert list(rows.columns) == ["algorithm", "run", "episode", "return", "length", "steps"]


def told(found: dict[str, Any]) -> dict[str, str]:
    """The failures without their places in the code."""
    return {run: reason.split(" (")[0] for run, reason in found["failed"].items()}


@pytest.mark.parametrize("name", KNOBS)
def test_rewards_that_overflow_end_their_run_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three runs earns 1e30 a step and more; the others are as they are without it."""
    both = {}
    for size in (1e30, 1.0):
        monkeypatch.setattr(Rich, "made", 0)
        options = {"size": size, "copies": KNOBS[name]["copies"]}
        asked = group(name, first=6, last=8, env=f"{HERE}:Rich-v0", options=options, episodes=40)
        found = run_group(asked, tmp_path / f"{size:g}", unheard)
        both[size] = table(tmp_path / f"{size:g}").query("run != 7").reset_index(drop=True)
        if size > 1:
            assert found["failed"].keys() == {"7"}
            assert re.match(
                r"after 0 updates, .* overflows? float32: rewards are as large as 4e\+30: ", found["failed"]["7"]
            )
    assert both[1e30].run.unique().tolist() == [6, 8]
    pd.testing.assert_frame_equal(both[1e30], both[1.0])
    ours, theirs = (load_file(tmp_path / f"{size:g}" / "weights.safetensors") for size in (1e30, 1.0))
    for key, weights in theirs.items():
        if not key.startswith("7/"):
            torch.testing.assert_close(ours[key], weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ppo", "trpo"])
def test_steps_that_are_far_too_long_fail_their_runs_in_words(name: str, tmp_path: Path) -> None:
    """A rate of 1e30 sends weights where no output is finite; which number shows it first is chance."""
    asked = group(name, first=6, last=7, env="CartPole-v1", episodes=30, learning_rate=1e30)
    found = run_group(asked, tmp_path / "g", unheard)
    assert found["failed"].keys() == {"6", "7"}
    assert all("overflow" in reason and "lower the learning rate" in reason for reason in found["failed"].values())


def test_an_episode_without_end_fails_its_run_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burnish.experience.control.player.LONGEST_EPISODE", 50)
    found = run_group(group(env=f"{HERE}:Endless-v0"), tmp_path / "g", unheard)
    assert all(reason.startswith("in episode 1, an episode has not ended") for reason in found["failed"].values())
    assert len(found["failed"]) == 2


def test_control_c_is_heard_inside_an_episode(tmp_path: Path) -> None:
    """The environment sends the signal itself on its 10th step; the episode would not end."""
    asked, before = group(env=f"{HERE}:Endless-v0", options={"pressed": 10}), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_group(asked, tmp_path / "g", unheard)
    assert signal.getsignal(signal.SIGINT) is before


def test_observations_of_a_million_are_warned_of(tmp_path: Path) -> None:
    """Heights of 0, 1 and 2 million in an episode: √(5/3) million."""
    options = {"size": 1.0, "seen": 1e6}
    found = run_group(group(env=f"{HERE}:Rich-v0", options=options), tmp_path / "g", unheard)
    assert found["caution"].startswith("observations are as large as 1.29e+06, at which a network hardly learns: set")
    assert run_group(group(env=f"{HERE}:Rich-v0"), tmp_path / "h", unheard)["caution"] is None
    scaled = group(env=f"{HERE}:Rich-v0", options=options, normalise_observations=True)
    assert run_group(scaled, tmp_path / "i", unheard)["caution"] is None


def test_what_is_said_of_observations_fits_the_method() -> None:
    """DQN and SAC have no option normalise_observations."""
    assert caution_of(method("ppo", KNOBS["ppo"]), None) is None
    scaling = (
        "scale them in the environment, or, where they have bounds, with --wrapper "
        "'gymnasium.wrappers:RescaleObservation(min_obs=-1, max_obs=1)'"
    )
    assert caution_of(method("ppo", KNOBS["ppo"]), "large") == f"large: set normalise_observations, or {scaling}"
    for name in ("dqn", "sac", "q_learning"):
        assert caution_of(method(name, {}), "large") == f"large: {scaling}"


@pytest.mark.parametrize("name", KNOBS)
def test_images_and_choices_are_played_and_learned_from(name: str, tmp_path: Path) -> None:
    found = run_group(group(name, env=f"{HERE}:Pictures-v0", last=0, episodes=40), tmp_path / "g", unheard)
    assert (found["failed"], found["caution"]) == ({}, None)
    assert min(found["updates"].values()) > 0
    weights = load_file(tmp_path / "g" / "weights.safetensors")
    assert weights["0/policy/convolutions.0.weight"].shape == (16, 3, 3, 3)
    assert weights["0/policy/layers.2.weight"].shape == (5, 6)


@pytest.mark.parametrize("env", ["Pictures-v0", "Chosen-v0"])
def test_what_was_learned_from_images_and_choices_is_loaded_and_evaluated(env: str, tmp_path: Path) -> None:
    """The return of an episode with the likeliest actions, of the loaded policy and of `burnish evaluate`."""
    run_group(group("ppo", env=f"{HERE}:{env}", last=0, episodes=40), tmp_path / "run" / "groups" / "ppo", unheard)
    (tmp_path / "run" / "config.yaml").write_text("env: any\n")
    policy, made, earned = load_policy(tmp_path / "run"), gymnasium.make(f"{HERE}:{env}"), 0.0
    observation, ended = made.reset()[0], False
    while not ended:
        observation, reward, ended, *_ = made.step(policy.act(observation))
        earned += float(reward)
    found = evaluate_control(tmp_path / "run", episodes=3)
    assert found["algorithms"]["ppo"]["deterministic"]["mean"] == earned
    assert 0 < found["algorithms"]["ppo"]["sampled"]["mean"] <= (9 if env == "Pictures-v0" else 12)


@pytest.mark.parametrize(("steps", "episodes"), [(2, 0), (7, 2)])
def test_a_policy_of_a_number_of_steps_is_saved_even_without_an_episode(
    steps: int, episodes: int, tmp_path: Path
) -> None:
    asked = replace(group(last=0), episodes=None, steps=steps)
    run_group(asked, tmp_path / "g", unheard)
    facts = read_policies(tmp_path / "g").runs[0]
    assert (facts["episodes"], facts["steps"], facts["return"]) == (episodes, steps, 7.0 if episodes else None)


# Off-policy --------------------------------------------------------------------------------------------------------

OFF_POLICY: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "q_learning": ("FrozenLake-v1", {"max_episode_steps": 12}, {}),
    "dqn": (
        "CartPole-v1",
        {"max_episode_steps": 25},
        {"copies": 2, "train_freq": 4, "learning_starts": 20, "buffer_size": 64, "batch_size": 8, "n_step": 2}
        | {"target_update_interval": 3, "double": True, "exploration_final_eps": 0.2},
    ),
    "sac": (
        "Pendulum-v1",
        {"max_episode_steps": 12},
        {"copies": 2, "train_freq": 4, "learning_starts": 20, "buffer_size": 64, "batch_size": 8, "gradient_steps": 2},
    ),
}
"""Environment, its options, and hyperparameters."""


def off_policy(name: str, first: int = 0, last: int = 2, **own: Any) -> RunGroup:
    env, options, knobs = OFF_POLICY[name]
    asked = method(name, knobs | own.pop("knobs", {}))
    about = {"env": env, "options": options, "steps": 120} | own
    return RunGroup(asked, about["env"], about["options"], (8, 6), None, 5, first, last, steps=about["steps"])


@pytest.mark.parametrize("name", OFF_POLICY)
def test_a_run_that_replays_is_the_same_in_any_group(name: str, tmp_path: Path) -> None:
    """As for the other algorithms: every episode, and weights, targets and temperatures to the rounding of a group."""
    found = run_group(off_policy(name), tmp_path / "all", unheard)
    assert found["failed"] == {}
    assert set(found["updates"].values()) == {{"q_learning": 119, "dqn": 12, "sac": 24}[name]}
    assert read_jsonl(tmp_path / "all" / "metrics.jsonl")[0]["step"] == 1
    together, parts = table(tmp_path / "all"), []
    for first, last in [(0, 0), (1, 2)]:
        folder = tmp_path / f"{first}-{last}"
        run_group(off_policy(name, first, last), folder, unheard)
        parts.append(table(folder))
        for key, x in load_file(folder / "weights.safetensors").items():
            torch.testing.assert_close(load_file(tmp_path / "all" / "weights.safetensors")[key], x, atol=1e-4, rtol=0)
    pd.testing.assert_frame_equal(together, pd.concat(parts, ignore_index=True))
    assert len(set(together.groupby("run")["return"].apply(tuple))) > 1


def test_targets_and_buffers_of_the_runs_that_stay_are_their_own(tmp_path: Path) -> None:
    """Runs of five episodes leave one after the other; each learns as it does alone."""
    asked = replace(off_policy("dqn"), episodes=5, steps=None)
    run_group(asked, tmp_path / "all", unheard)
    together = table(tmp_path / "all")
    assert together.groupby("run").steps.max().nunique() == 3
    last = int(together.groupby("run").steps.max().idxmax())
    run_group(replace(asked, first=last, last=last), tmp_path / "alone", unheard)
    own = together[together.run == last].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, table(tmp_path / "alone"))
    for key, x in load_file(tmp_path / "alone" / "weights.safetensors").items():
        torch.testing.assert_close(load_file(tmp_path / "all" / "weights.safetensors")[key], x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", OFF_POLICY)
def test_the_same_command_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    for folder in ("a", "again"):
        run_group(off_policy(name, 0, 0, steps=60), tmp_path / folder, unheard)
    for file in ("returns.parquet", "weights.safetensors", "metrics.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


WEIGHTS = {
    "q_learning": {"policy/table"},
    "dqn": {f"policy/layers.{i}.{x}" for i in range(3) for x in ("weight", "bias")},
    "sac": {
        f"{part}/layers.{i}.{x}"
        for part in ("policy", "critic_1", "critic_2")
        for i in range(3)
        for x in ("weight", "bias")
    }
    | {"temperature/log_temperature"},
}


@pytest.mark.parametrize("name", OFF_POLICY)
def test_what_was_learned_from_replay_is_loaded_acts_and_is_evaluated(name: str, tmp_path: Path) -> None:
    """Actions are the environment's, and the first episode of `burnish evaluate` is what the loaded policy earns."""
    run_group(off_policy(name, last=1), tmp_path / "run" / "groups" / name, unheard)
    (tmp_path / "run" / "config.yaml").write_text("env: any\n")
    saved = load_file(tmp_path / "run" / "groups" / name / "weights.safetensors")
    assert {key.partition("/")[2] for key in saved} == WEIGHTS[name]
    policy, (env, options, _) = load_policy(tmp_path / "run"), OFF_POLICY[name]
    made = gymnasium.make(env, **options)
    observation, _ = made.reset(seed=1)
    for deterministic in (True, False):
        action = policy.act(observation, deterministic=deterministic)
        assert made.action_space.contains(action)
    found = evaluate_control(tmp_path / "run", episodes=2)["algorithms"][name]
    assert len(found["runs"]) == 2
    assert found["deterministic"]["mean"] <= 25


@pytest.mark.parametrize(("name", "env"), [("q_learning", "Counted-v0"), ("sac", "Driven-v0")])
def test_rewards_that_overflow_end_a_run_that_replays_alone(
    name: str, env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three runs earns 1e30 a step and more; the others are as they are without it. DQN is not among
    them: its error is clipped."""
    both = {}
    for size in (1e30, 1.0):
        monkeypatch.setattr(Rich, "made", 0)
        asked = off_policy(name, 6, 8, env=f"{HERE}:{env}", options={"size": size}, steps=40, knobs={})
        asked = replace(asked, method=method(name, OFF_POLICY[name][2] | ({"copies": 1} if name == "sac" else {})))
        found = run_group(asked, tmp_path / f"{size:g}", unheard)
        both[size] = table(tmp_path / f"{size:g}").query("run != 7").reset_index(drop=True)
        if size > 1:
            assert found["failed"].keys() == {"7"}
            assert "overflow" in found["failed"]["7"]
            assert "rewards are as large as" in found["failed"]["7"]
    assert both[1e30].run.unique().tolist() == [6, 8]
    pd.testing.assert_frame_equal(both[1e30], both[1.0])


def test_actions_are_scaled_to_the_bounds_of_the_environment(tmp_path: Path) -> None:
    """Driven takes −2 to 6 and says so if it gets more; uniform actions earn −|a − 4| − with a mean of 2.5 below what
    the stairs earn: (6² / 2 + 2² / 2) / 8."""
    asked = off_policy("sac", 0, 0, env=f"{HERE}:Driven-v0", options={}, steps=600, knobs={"learning_starts": 600})
    found = run_group(asked, tmp_path / "g", unheard)
    assert (found["failed"], found["updates"]) == ({}, {"0": 0})
    assert table(tmp_path / "g")["return"].mean() == pytest.approx(7 - 3 * 2.5, abs=0.6)
