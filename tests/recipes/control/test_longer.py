"""Training that goes on: the same weights and statistics, new episodes, and nothing lost on the way."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from burnish.experience.control.environments import make_environments
from burnish.experience.control.player import Player
from burnish.experience.control.saved import read_policies
from burnish.policies.interface import Models
from burnish.recipes.control.group import RunGroup, run_group
from burnish.recipes.control.longer import Earlier, continued, earlier_of, going_on, tidy
from burnish.recipes.control.models import network_of
from burnish.recipes.control.settings import method
from burnish.run import RunFolder, UserError, read_mapping
from burnish.training.control.lockstep import LockstepLearner

KNOBS = {"copies": 2, "rollout": 16, "update_epochs": 2, "batch_size": 16, "schedule": "constant"}
KNOBS |= {"normalise_observations": True, "normalise_rewards": True}


def group(episodes: int, last: int = 1, **knobs: Any) -> RunGroup:
    return RunGroup(method("ppo", KNOBS | knobs), "CartPole-v1", {}, (4,), episodes, 5, 0, last)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one group of two runs of 6 episodes."""
    run = tmp_path_factory.mktemp("longer") / "run"
    run_group(group(6), run / "groups" / "ppo-00-01", lambda episodes: None)
    (run / "config.yaml").write_text("episodes: 6\n")
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def go_on(run: Path, episodes: int) -> Path:
    asked = group(episodes)
    with RunFolder.open(run, resume=True) as folder:
        going_on(folder, episodes, [asked.name])
    earlier = earlier_of(run, asked.name, episodes)
    run_group(replace(asked, earlier=earlier), run / "groups" / asked.name, lambda episodes: None)
    tidy(run, [asked.name])
    return run / "groups" / asked.name


def test_what_training_goes_on_from_is_what_it_ended_with(finished: Path) -> None:
    folder = finished / "groups" / "ppo-00-01"
    asked, earlier = group(9), Earlier(folder, (6,), 40, 1.0)
    seeds = earlier.seeds(asked.seeds)
    environments = make_environments(asked.env, seeds, 2)
    network = network_of(environments, asked.hidden, asked.method.algorithm)
    models = Models(policy=network.policy(seeds)).having(critic=network.critic(seeds))
    player = Player(models, asked.method.control, environments, seeds, 9)
    learner = LockstepLearner(asked.method.algorithm, models, asked.method.steps, seeds)
    state = continued(earlier, models, player, learner)
    weights, kept = load_file(folder / "weights.safetensors"), load_file(folder / "training.safetensors")
    assert state.step == 40
    assert player.seen is not None
    assert player.earned is not None
    trained: dict[str, Any] = models.trained()
    for run in (0, 1):
        for part, model in trained.items():
            for name, x in model.named().items():
                assert torch.equal(x[run], weights[f"{run}/{part}/{name}"])
        for name, x in player.seen.moments.named(run).items():
            assert torch.equal(torch.from_numpy(x), weights[f"{run}/observations/{name}"])
        for name, x in player.earned.moments.named(run).items():
            assert torch.equal(torch.from_numpy(x), kept[f"{run}/rewards/{name}"])
        state_of = learner.named(run)
        assert len(state_of) == 6  # moments, squares and count of policy and critic
        assert state_of["optimizer/policy/count"] > 0
        for name, x in state_of.items():
            assert torch.equal(x, kept[f"{run}/{name}"])
    steps = [facts["steps"] for facts in read_policies(folder).runs.values()]
    assert player.ledger.steps.tolist() == steps
    assert (player.ledger.begun == 6).all()
    assert (player.ledger.ended == 6).all()


def test_episodes_are_added_to_those_before(run: Path) -> None:
    before = pd.read_parquet(run / "groups" / "ppo-00-01" / "returns.parquet")
    old = read_mapping(run / "groups" / "ppo-00-01" / "group.json")
    folder = go_on(run, 9)
    after = pd.read_parquet(folder / "returns.parquet")
    for number in (0, 1):
        own = after[after.run == number]
        assert own.episode.tolist() == list(range(1, 10))
        past = before[before.run == number].reset_index(drop=True)
        pd.testing.assert_frame_equal(own[:6].reset_index(drop=True), past)
        assert own.steps[6:].min() > past.steps.max()
    found = read_mapping(folder / "group.json")
    assert found["went_on_after"] == [6]
    assert all(found["updates"][number] > old["updates"][number] for number in "01")
    assert found["seconds"] >= old["seconds"]
    assert read_policies(folder).runs[1]["episodes"] == 9
    assert not (run / "earlier").exists()
    assert read_mapping(go_on(run, 10) / "group.json")["went_on_after"] == [6, 9]


def test_new_episodes_are_not_those_of_the_beginning_and_repeat(run: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(run, tmp_path / "again"))
    first, second = go_on(run, 12), go_on(again, 12)
    assert (first / "returns.parquet").read_bytes() == (second / "returns.parquet").read_bytes()
    assert (first / "weights.safetensors").read_bytes() == (second / "weights.safetensors").read_bytes()
    starts = [
        make_environments("CartPole-v1", seeds, 1).reset() for seeds in ([7], Earlier(run, (6,), 0, 0.0).seeds([7]))
    ]
    assert (starts[0] != starts[1]).all()


def test_a_kill_before_the_end_loses_nothing(run: Path) -> None:
    """Killed after the group was moved aside, and half-way in the new one; it goes on as if it had not been."""
    with RunFolder.open(run, resume=True) as folder:
        going_on(folder, 9, ["ppo-00-01"])
    assert earlier_of(run, "ppo-00-01", 9) == earlier_of(run, "ppo-00-01", 9) != None  # noqa: E711
    assert not (run / "groups" / "ppo-00-01").exists()
    with RunFolder.open(run, resume=True) as folder, pytest.raises(UserError, match="is not finished, and only a"):
        going_on(folder, 12, ["ppo-00-01"])
    folder = go_on(run, 9)
    assert read_mapping(folder / "group.json")["went_on_after"] == [6]
    assert earlier_of(run, "ppo-00-01", 9) is None


def test_a_run_that_failed_goes_on_from_the_same_again(run: Path) -> None:
    """A kill before the folder is tidied, and a failure: what it went on from is kept until all runs are well."""
    name = "ppo-00-01"
    folder, failing = go_on(run, 9), run / "earlier" / name
    shutil.copytree(folder, failing)
    found = read_mapping(folder / "group.json")
    (folder / "group.json").write_text(json.dumps(found | {"failed": {"1": "it fell"}}))
    tidy(run, [name])
    earlier = earlier_of(run, name, 9)
    assert earlier is not None
    assert (earlier.folder, earlier.updates) == (failing, max(found["updates"].values()))
    (folder / "group.json").write_text(json.dumps(found))
    tidy(run, [name])
    assert not failing.exists()


def test_runs_that_end_after_a_number_of_steps_do_not_go_on(tmp_path: Path) -> None:
    """They can be resumed as they were begun, and nothing else changes."""
    for had, more, steps in ((None, 9, 100), (6, 9, 100), (6, None, 100), (None, None, 200), (6, 6, None), (6, 6, 50)):
        run = tmp_path / str((had, more, steps))
        with RunFolder.open(run) as folder:
            folder.claim({"episodes": had, "steps": 100})
            said = "its runs end after 100 steps, when their last episodes have not ended, so they cannot go on"
            with pytest.raises(UserError, match=said):
                going_on(folder, more, [], steps=steps)
            going_on(folder, had, [], steps=100)
            assert folder.claimed() == {"episodes": had, "steps": 100}


def test_runs_with_episodes_do_not_go_on_for_a_number_of_steps(run: Path) -> None:
    with RunFolder.open(run, resume=True) as folder:
        for episodes in (None, 6, 9):
            with pytest.raises(UserError, match="begun with 6 episodes and no number of steps, and can go on"):
                going_on(folder, episodes, ["ppo-00-01"], steps=100)


def test_what_was_recorded_is_kept_before_what_is_new(run: Path) -> None:
    """But for the rollout in which the last episode ended, from which no run learned."""
    old = run / "groups" / "ppo-00-01"
    updates = max(read_mapping(old / "group.json")["updates"].values())
    before = {name: (old / f"{name}.jsonl").read_text().splitlines() for name in ("metrics", "timings")}
    kept = {name: [line for line in own if json.loads(line)["step"] <= updates] for name, own in before.items()}
    folder = go_on(run, 16)
    for name, lines in kept.items():
        after = (folder / f"{name}.jsonl").read_text().splitlines()
        assert len(lines) > 1
        assert after[: len(lines)] == lines
        steps = [json.loads(line)["step"] for line in after]
        assert steps == sorted(set(steps))
        assert steps[-1] > updates


def test_what_cannot_go_on_is_refused(run: Path) -> None:
    with RunFolder.open(run, resume=True) as folder:
        going_on(folder, 6, ["ppo-00-01", "none"])  # nothing to do
        with pytest.raises(UserError, match="was begun with 6 episodes: give more to go on with it"):
            going_on(folder, 5, ["ppo-00-01"])
        with pytest.raises(UserError, match=r"is not finished, .* use --resume --episodes 6 first"):
            going_on(folder, 9, ["ppo-00-01", "none"])
        (run / "groups" / "ppo-00-01" / "training.safetensors").unlink()
        with pytest.raises(UserError, match=r"training\.safetensors is missing: restore it"):
            going_on(folder, 9, ["ppo-00-01"])
        (run / "groups" / "ppo-00-01" / "group.json").write_text('{"seconds": 1, "failed": {"1": "it fell"}}')
        with pytest.raises(UserError, match=r"run 1 of .* failed, so the runs cannot go on"):
            going_on(folder, 9, ["ppo-00-01"])
    assert read_mapping(run / "config.yaml")["episodes"] == 6


def test_the_method_without_a_memory_goes_on_too(tmp_path: Path) -> None:
    """A single rollout, so that no optimizer has made a step: it begins with moments of 0."""
    asked = RunGroup(method("reinforce", {"copies": 1, "rollout": None}), "CartPole-v1", {}, (4,), 1, 5, 0, 0)
    run_group(asked, tmp_path / "groups" / asked.name, lambda episodes: None)
    earlier = Earlier(tmp_path / "groups" / asked.name, (1,), 0, 0.0)
    run_group(replace(asked, episodes=3, earlier=earlier), tmp_path / "on", lambda episodes: None)
    assert pd.read_parquet(tmp_path / "on" / "returns.parquet").episode.tolist() == [1, 2, 3]


def test_a_trust_regions_updates_are_counted_on(tmp_path: Path) -> None:
    """Poles of 4 steps and rollouts of 8 in one copy: the 2nd, 4th … episode ends with one, which is learned from, but
    for the run's last."""
    knobs = {"copies": 1, "rollout": 8, "update_epochs": 1, "batch_size": 8}
    asked = RunGroup(method("trpo", knobs), "CartPole-v1", {"max_episode_steps": 4}, (4,), 6, 5, 0, 0)
    first = run_group(asked, tmp_path / "first", lambda episodes: None)
    earlier = Earlier(tmp_path / "first", (6,), 2, 0.0)
    second = run_group(replace(asked, episodes=10, earlier=earlier), tmp_path / "on", lambda episodes: None)
    assert (first["updates"], second["updates"]) == ({"0": 2}, {"0": 3})


def test_a_table_goes_on_with_its_visits(tmp_path: Path) -> None:
    """Of FrozenLake's 16 · 4 cells; each of the run's updates is one visit."""
    asked = RunGroup(method("q_learning", {"visit_decay": 0.5}), "FrozenLake-v1", {}, (4,), 3, 5, 0, 1)
    run = tmp_path / "run"
    run_group(asked, run / "groups" / asked.name, lambda episodes: None)
    (run / "config.yaml").write_text("episodes: 3\n")
    visits = []
    for episodes in (3, 6):
        asked = replace(asked, episodes=episodes)
        if episodes > 3:
            with RunFolder.open(run, resume=True) as folder:
                going_on(folder, episodes, [asked.name])
            asked = replace(asked, earlier=earlier_of(run, asked.name, episodes))
            run_group(asked, run / "groups" / asked.name, lambda episodes: None)
        kept = load_file(run / "groups" / asked.name / "training.safetensors")
        updates = read_mapping(run / "groups" / asked.name / "group.json")["updates"]
        assert [int(kept[f"{n}/visits"].sum()) for n in (0, 1)] == [updates["0"], updates["1"]]
        visits.append(kept["1/visits"])
    assert (visits[1] >= visits[0]).all()
    assert visits[1].sum() > visits[0].sum() > 0


def test_what_replays_does_not_go_on(run: Path) -> None:
    with RunFolder.open(run, resume=True) as folder:
        with pytest.raises(
            UserError, match="dqn cannot go on with more episodes, because its replay buffer is not sav"
        ):
            going_on(folder, 9, ["ppo-00-01"], ["dqn"])
        going_on(folder, 6, ["ppo-00-01"], ["dqn"])
