"""The study as a whole, very small: its files, going on, and what is refused."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from burnish.recipes.study import pool
from burnish.recipes.study.cell import Found
from burnish.recipes.study.onoff import study
from burnish.recipes.study.onoff.cells import Cell, OnOff, every_cell
from burnish.recipes.study.onoff.plan import CARTPOLE, Plan
from burnish.recipes.study.onoff.study import config_of, onoff_study
from burnish.run import UserError

from ..worlds import cell
from .worlds import TINY

PLAN = TINY
STUDY = partial(onoff_study, command="burnish study onoff")

LOST = ("late-CartPole-v1-1-product/run-0", "late-language-0-none/run-0", "weights-language/run-0")


def test_every_cell_has_its_file_and_the_page_is_there(done: Path, plan: Plan) -> None:
    names = {f"{one.parent.name}/{one.stem}" for one in (done / "cells").glob("*/*.json")}
    assert names == {one.name for one in every_cell(plan)}
    assert not (done / "work").exists()
    figures = [f"{name}.{kind}" for name in ("efficiency", "weights", "late") for kind in ("png", "svg")]
    assert all((done / name).stat().st_size > 1000 for name in ("report.html", *figures))
    summary = json.loads((done / "summary.json").read_text())
    assert (summary["missing"], summary["failures"], summary["broken"]) == ([], {}, [])
    assert "Of fewer than two runs there is no interval" in (done / "report.html").read_text()


def test_without_a_lag_all_weights_are_one(done: Path) -> None:
    """The same policy weighs its own episodes: exactly, in both worlds."""
    for task in (CARTPOLE, "language"):
        rows = cell(done, f"weights-{task}/run-0")["rows"]
        fresh = [row for row in rows if row["lag"] == 0]
        assert fresh
        assert all((row["ess"], row["log_largest"], row["log_variance"]) == (1.0, 0.0, 0.0) for row in fresh)
        late = [row for row in rows if row["lag"] == 1]
        assert len(late) == len(fresh)
        assert all(row["ess"] < 1 for row in late)


def test_late_data_give_other_trainings(done: Path) -> None:
    values = {name: cell(done, f"late-CartPole-v1-{name}/run-0")["value"] for name in ("0-none", "1-none", "1-product")}
    assert len({*values.values()}) == 3


def test_only_what_is_not_finished_is_computed_and_again_the_same(done: Path, plan: Plan) -> None:
    lost = [done / "cells" / f"{name}.json" for name in LOST]
    before = [json.loads(file.read_text()) for file in lost]
    kept = {file: file.stat().st_mtime_ns for file in (done / "cells").glob("*/*.json") if file not in lost}
    for file in lost:
        file.unlink()
    onoff_study(done, plan, jobs=1, resume=True, quiet=True)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    after = [json.loads(file.read_text()) for file in lost]
    assert [one | {"seconds": 0} for one in after] == [one | {"seconds": 0} for one in before]


def test_other_sizes_and_hyperparameters_are_refused(done: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="exists and is not empty: use --resume"):
        onoff_study(done, plan, quiet=True)
    with pytest.raises(UserError, match=r"begun with another config, .*late_steps"):
        onoff_study(done, replace(plan, late_steps=5), resume=True, quiet=True)
    changed = config_of(plan)
    changed["methods"]["CartPole-v1/ppo"]["clip"] = 0.5
    monkeypatch.setattr(study, "config_of", lambda plan: changed)
    with pytest.raises(UserError, match=r"begun with another config, .*methods"):
        onoff_study(done, plan, resume=True, quiet=True)


def test_what_fails_is_named_and_the_page_is_of_the_others(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything but DQN fails; its cell is invented."""

    def kept(one: Cell, job: OnOff, out: Path) -> Found:
        if one.what != "dqn":
            raise UserError("no")
        return {"value": 9.0, "failed": None, "seconds": 1.0, "ends": [9], "returns": [9.0], "clock": [[10, 1.0, 1.0]]}

    monkeypatch.setattr(pool, "kept", kept)
    with pytest.raises(UserError, match=r"PPO on CartPole, run 0: no; .*the other results are in"):
        onoff_study(tmp_path / "out", plan, jobs=1, quiet=True)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "weights in Language, run 0 failed: no" in page


def test_where_everything_fails_there_is_no_page(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(one: Cell, job: OnOff, out: Path) -> Found:
        raise UserError("no")

    monkeypatch.setattr(pool, "kept", kept)
    with pytest.raises(UserError, match="nothing was computed: PPO on CartPole, run 0: no"):
        onoff_study(tmp_path / "none", plan, jobs=1, quiet=True)
