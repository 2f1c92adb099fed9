"""Runs of a group in trackers: one each, with its own episodes, and what one that fails costs."""

from pathlib import Path
from typing import Any

import fake_wandb
import pytest

from burnish.recipes.control.classic import classic
from burnish.run import UserError, read_jsonl, read_mapping
from recipes.classic_worlds import HERE

STAIRS: dict[str, Any] = {
    "hidden": "8",
    "processes": 1,
    "env": f"{HERE}:Stairs-v0",
    "episodes": 4,
    "runs": 3,
    "group": 2,
}
PPO = {"ppo": {"copies": 2, "rollout": 6, "update_epochs": 10, "batch_size": 6}}


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return fake_wandb.installed(tmp_path / "library", monkeypatch)


def test_each_run_is_a_run_of_its_own(wandb: Any, tmp_path: Path) -> None:
    """Stairs: two copies end together after 6 and after 12 environment steps of the run, each with a return of 7.

    A rollout of 12 steps is 20 updates, the last of which is logged: at step 12, where the run is over.
    """
    run = classic(**STAIRS, algorithms=PPO, track="wandb", quiet=True, out=tmp_path / "run")
    assert {path.name for path in run.glob("groups/*/ppo-*")} == {"ppo-00", "ppo-01", "ppo-02"}
    for number, folder in enumerate(sorted(run.glob("groups/*/ppo-*"))):
        sent = read_jsonl(folder / "sent.jsonl")
        assert sent == read_jsonl(folder / "metrics.jsonl")
        assert [row["step"] for row in sent if "return" in row] == [6, 12]
        assert [row["episode"] for row in sent if "return" in row] == [2, 4]
        assert {(row["return"], row["length"]) for row in sent if "return" in row} == {(7.0, 3.0)}
        config = read_mapping(folder / "config.yaml")
        assert (config["run"], config["seed"], config["clip"]) == (number, 2 * 1_000_003 + number, 0.2)
        assert (folder / "finished").read_text() == "0"


def test_the_metrics_are_those_of_the_run(wandb: Any, tmp_path: Path) -> None:
    """The group's own record has their mean; those of one run are not those of another."""
    run = classic(
        **STAIRS | {"episodes": 8, "runs": 2}, algorithms=PPO, track="wandb", quiet=True, out=tmp_path / "run"
    )
    both = [
        [row for row in read_jsonl(p / "metrics.jsonl") if "loss" in row] for p in sorted(run.glob("groups/*/ppo-*"))
    ]
    group = read_jsonl(run / "groups" / "ppo-00-01" / "metrics.jsonl")[-1]
    first, second = (rows[-1] for rows in both)
    assert (group["step"], first["step"], second["step"]) == (20, 12, 12)
    for name in ("loss", "grad_norm", "val/ratio"):
        assert group[name] == pytest.approx((first[name] + second[name]) / 2)
    assert first["loss"] != second["loss"]


@pytest.mark.parametrize("where", ["init", 6, "finish"])
def test_a_tracker_that_fails_is_said_once_and_nothing_else_changes(
    where: Any, wandb: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be started is not tried again for the other runs of the group."""
    plain = classic(**STAIRS | {"runs": 2}, algorithms=PPO, quiet=True, out=tmp_path / "plain")
    begun: list[str] = []
    monkeypatch.setattr(wandb, "WHEN", where)
    monkeypatch.setattr(wandb, "KIND", "OSError")
    start = wandb.init
    monkeypatch.setattr(wandb, "init", lambda **options: [begun.append(options["name"]), start(**options)][1])
    run = classic(**STAIRS | {"runs": 2}, algorithms=PPO, track="wandb", out=tmp_path / "run")
    assert (run / "returns.parquet").read_bytes() == (plain / "returns.parquet").read_bytes()
    said = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 1
    assert "the tracker wandb failed (OSError: the server is gone)" in said[0]
    assert begun == (["ppo-00"] if where == "init" else ["ppo-00", "ppo-01"])


def test_trackers_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path, wandb: Any) -> None:
    out = tmp_path / "run"
    for options, said in (
        ({"track": "wandbb"}, "no such tracker 'wandbb': did you mean 'wandb'"),
        (
            {"track": "wandb", "runs": 101, "group": 101},
            "at most 100 runs that are computed together: set group to 100",
        ),
    ):
        with pytest.raises(UserError, match=said):
            classic(**STAIRS | options, out=out)
    assert not out.exists()
