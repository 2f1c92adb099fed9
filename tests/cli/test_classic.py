"""The classical path as a command: its flags, its file, and what it says of a failed run."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.cli.classic import narrowed
from burnish.recipes.control.settings import ClassicSettings


def test_classic_has_its_options_as_flags(burnish: Any) -> None:
    status, out, _ = burnish("classic", "--help")
    assert status == 0
    words = " ".join(out.split())
    for field in dataclasses.fields(ClassicSettings):
        assert f" --{field.name.replace('_', '-')} " in words, field.name
        assert " ".join(field.metadata["help"].split())[:30] in words, field.name
    assert " --algorithms " in words
    assert " --config " in words


def test_classic_prints_its_page_and_repeats_from_its_configuration(tmp_path: Path, burnish: Any) -> None:
    """Flags go before the file; `--algorithms` chooses among the file's, with their hyperparameters."""
    file, run, again = tmp_path / "c.yaml", tmp_path / "run", tmp_path / "again"
    file.write_text("algorithms: {actor-critic: {rollout: 3}, ppo: {clip: 0.1}}\nruns: 9\nhidden: '4'\nseed: 2\n")
    flags = ["--runs", 1, "--episodes", 3, "--processes", 1, "--algorithms", "actor_critic"]
    status, out, err = burnish("classic", "--config", file, *flags, "--out", run)
    assert (status, out) == (0, f"{run / 'report.html'}\n"), err
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["runs"], config["episodes"], config["hidden"], config["seed"]) == (1, 3, "4", 2)
    assert list(config["algorithms"]) == ["actor_critic"]
    assert config["algorithms"]["actor_critic"]["rollout"] == 3
    status, out, err = burnish("classic", "--config", run / "config.yaml", "--out", again, "--quiet")
    assert (status, out, err) == (0, "", "")
    assert (run / "returns.parquet").read_bytes() == (again / "returns.parquet").read_bytes()


def test_a_wrapper_with_options_is_kept_with_the_run_and_its_policy(tmp_path: Path, burnish: Any) -> None:
    """Told pays 1, 2 and 4 to who goes right, and half at most in this wrapper. --resume needs it again."""
    run, wrapper = tmp_path / "run", "gymnasium.wrappers:ClipReward(min_reward=0, max_reward=0.5)"
    flags = ["--env", "recipes.classic_worlds:Told-v0", "--algorithms", "ppo", "--runs", 1, "--episodes", 3]
    flags += ["--processes", 1, "--hidden", 4, "--quiet", "--out", run]
    assert burnish("classic", *flags, "--wrapper", wrapper)[0] == 0
    kept = [{"gymnasium.wrappers:ClipReward": {"min_reward": 0, "max_reward": 0.5}}]
    assert yaml.safe_load((run / "config.yaml").read_text())["wrappers"] == kept
    (saved,) = run.glob("groups/*/policy.json")
    assert json.loads(saved.read_text())["environment"]["wrappers"] == kept
    assert burnish("classic", *flags, "--wrapper", wrapper, "--resume")[0] == 0
    status, _, err = burnish("classic", *flags, "--resume")
    assert (status, "was begun with another config" in err) == (2, True)
    status, out, _ = burnish("evaluate", run, "--episodes", 8)
    played = json.loads(out)["algorithms"]["ppo"]["runs"][0]
    assert status == 0
    assert {played[kind]["high"] <= 1.5 for kind in ("deterministic", "sampled")} == {True}
    assert played["sampled"]["mean"] > 0


def test_classic_tells_a_failed_run_in_a_sentence(
    tmp_path: Path, burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environments made first are looked at; the third is of run 0, the fourth, which is loose, of run 1."""
    monkeypatch.setattr("recipes.classic_worlds.Loose.made", 0)
    file, run = tmp_path / "c.yaml", tmp_path / "run"
    file.write_text("env: recipes.classic_worlds:Loose-v0\nenv_options: {loose: 3}\nalgorithms: reinforce\n")
    flags = ["--runs", 2, "--episodes", 4, "--processes", 1, "--hidden", 4, "--quiet"]
    status, out, err = burnish("classic", "--config", file, *flags, "--out", run)
    assert (status, out) == (2, "")
    told = r"reinforce, run 1: in episode 3, RuntimeError: the third stair is loose \(\S*classic_worlds.py, line \d+\)"
    assert re.fullmatch(f"burnish: {told}; the other runs' results are in {run}\n", err)
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("given", "names", "chosen"),
    [
        (None, "ppo", {"ppo": None}),
        ({"ppo": {"clip": 0.1}, "trpo": {}}, "trpo, ppo", {"trpo": {}, "ppo": {"clip": 0.1}}),
        ({"actor-critic": {"rollout": 3}}, "actor_critic", {"actor_critic": {"rollout": 3}}),
        ({"actor_critic": {"rollout": 3}}, "actor-critic,", {"actor_critic": {"rollout": 3}}),
        ("ppo,trpo", "reinforce", {"reinforce": None}),
    ],
)
def test_the_flag_chooses_among_the_files_algorithms(given: object, names: str, chosen: dict[str, object]) -> None:
    assert narrowed(given, names) == chosen


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("reward: labels", [], "reward must be one of environment, comparisons, not 'labels'"),
        ("labels: 100", [], "labels only applies to --reward comparisons: add that, or leave labels out"),
        ("", ["--labels", "100"], "labels only applies to --reward comparisons: add that, or leave labels out"),
        ("reward: comparisons\nlabels: none", [], "labels must be different comma-separated numbers above 0"),
        ("reward: comparisons\nenv: CartPole-v1", [], "learning from comparisons needs episodes of a fixed length"),
        ("env: 3", [], "env must be text, not 3"),
        ("algorithm: ppo", [], "unknown key 'algorithm' for classic: did you mean 'algorithms'?"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(
    text: str, flags: list[str], said: str, tmp_path: Path, burnish: Any
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text or "{}")
    status, out, err = burnish("classic", "--config", file, *flags, "--out", tmp_path / "run")
    assert (status, out) == (2, "")
    assert err.startswith(f"burnish: {said}")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_flag_for_the_reward_goes_before_the_file(tmp_path: Path, burnish: Any) -> None:
    """The file's own reward would be refused."""
    file = tmp_path / "c.yaml"
    file.write_text("reward: labels\nepisodes: 0\n")
    status, _, err = burnish("classic", "--config", file, "--reward", "environment")
    assert (status, err) == (2, "burnish: episodes must be at least 1, not 0\n")
