"""The classical path as a command."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def test_classic_tells_a_failed_run_in_a_sentence(
    tmp_path: Path, burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment made first is looked at, the second is of run 0, the third, which is loose, of run 1."""
    monkeypatch.setattr("recipes.classic_worlds.Loose.made", 0)
    file, run = tmp_path / "c.yaml", tmp_path / "run"
    file.write_text("env: recipes.classic_worlds:Loose-v0\nenv_options: {loose: 2}\nalgorithms: reinforce\n")
    flags = ["--runs", 2, "--episodes", 4, "--processes", 1, "--hidden", 4, "--quiet"]
    status, out, err = burnish("classic", "--config", file, *flags, "--out", run)
    assert (status, out) == (2, "")
    told = "reinforce, run 1: in episode 3, RuntimeError: the third stair is loose"
    assert err == f"burnish: {told}; the other runs' results are in {run}\n"
    assert (run / "report.html").exists()
