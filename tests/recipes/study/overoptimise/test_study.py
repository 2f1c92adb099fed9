"""The study as a whole, very small: its files, going on, what is refused, and what is said of what is missing."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from burnish.recipes.study import pool
from burnish.recipes.study.cell import Found, known
from burnish.recipes.study.overoptimise.cells import Cell, Overoptimise
from burnish.recipes.study.overoptimise.plan import FIXED, Plan
from burnish.recipes.study.overoptimise.study import overoptimise_study
from burnish.run import UserError, read_jsonl
from burnish.training.loop import Interrupted

from ..worlds import cell, refuses_others
from .worlds import TINY

PLAN = TINY
STUDY = overoptimise_study

VOTES = [[[sign * (i % 3 + 1.0) * step for i in range(12)] for step in (1, 2, 3)] for sign in (1, -1)]
"""What two reward models say of the texts of three measurements."""

CELLS = ["best_of_n", "dpo-2", "dpo-4", "online_dpo-2", "online_dpo-4", "ppo-2", "ppo-4", "ppo_gold"]
CELLS += ["reward-2", "reward-4"]


def test_every_cell_has_its_file_and_nothing_else_is_left(done: Path) -> None:
    files = sorted(str(one.relative_to(done / "cells")) for one in done.rglob("cells/**/*.json"))
    assert files == [*(f"seed-0/{name}.json" for name in CELLS), "start.json"]
    assert not (done / "work").exists()
    assert (done / "rewards" / "seed-0-4" / "config.json").is_file()
    figures = [f"overoptimise_{method}.{kind}" for method in ("ppo", "best_of_n") for kind in ("png", "svg")]
    assert all((done / name).is_file() for name in ("report.html", "start/model/config.json", *figures))


def test_proxies_see_the_labels_alone_and_are_measured_elsewhere(done: Path) -> None:
    pairs, held = (read_jsonl(done / "start" / f"{name}.jsonl") for name in ("pairs", "held"))
    assert len(pairs) == cell(done, "start")["pairs"] >= 4
    assert {key for one in pairs for key in one} == {"prompt", "first", "second", "gap"}
    assert not {one["prompt"] for one in pairs} & {one["prompt"] for one in held}
    found = cell(done, "seed-0/reward-2")
    assert len(found["correct"]) == len(found["prefix"]) == len(held)
    assert 0 <= found["fitted"] <= 1


def test_points_begin_with_the_start_and_have_gold_proxy_and_kl(done: Path) -> None:
    ppo, best = cell(done, "seed-0/ppo-4"), cell(done, "seed-0/best_of_n")
    assert [one["step"] for one in ppo["points"]] == [0, 1, 2]
    assert ppo["points"][0]["kl"] == [0.0] * 12
    assert ppo["points"][2]["kl"] != [0.0] * 12
    assert [len(one["texts"]) for one in ppo["points"]] == [12, 12, 12]
    assert all(len(one["tokens"]) == 12 and len(one["margins"]) <= 4 for one in ppo["points"])
    assert set(ppo["points"][1]["parts"]) == {"own", "strange", "repeated"}
    assert [(one["labels"], one["step"]) for one in best["points"]] == [(n, k) for n in (2, 4) for k in (1, 2, 3)]
    for one in ppo["points"] + best["points"]:
        assert len(one["gold"]) == len(one["proxy"]) == len(one["kl"]) == 12
    claimed = [sum(one["proxy"]) for one in best["points"][:3]]
    assert claimed == sorted(claimed)  # what the proxy itself chooses it never likes less
    first = [one for one in best["points"] if one["step"] == 1]
    assert first[0]["gold"] == pytest.approx(first[1]["gold"], abs=2e-5)  # the best of one is the pool's mean


def test_one_seed_has_points_and_fits_and_no_interval(done: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Cell] = []
    monkeypatch.setattr(pool, "kept", lambda one, *_: asked.append(one))
    summary = overoptimise_study(done, plan, resume=True, quiet=True)
    assert asked == []
    assert summary["missing"] == []
    assert all(row["fall"]["low"] is None for row in summary["rows"])
    assert all(row["fit"]["alpha"]["low"] is None for row in summary["rows"] if row["fit"])
    assert len(summary["points"]) == 2 * (3 + 3)
    assert [len(one["texts"]) for one in summary["texts"]] == [plan.shown] * 2
    assert "Of fewer than two seeds there is no interval" in (done / "report.html").read_text()


def test_another_grid_other_constants_or_other_inputs_are_refused(done: Path, plan: Plan) -> None:
    with pytest.raises(UserError, match="exists and is not empty: use --resume"):
        overoptimise_study(done, plan, quiet=True)
    with pytest.raises(UserError, match=r"begun with another config, .*labels"):
        overoptimise_study(done, replace(plan, labels=(2, 3)), resume=True, quiet=True)
    refuses_others(lambda: overoptimise_study(done, plan, resume=True, quiet=True), done, FIXED)


def test_an_interrupted_study_says_what_is_missing_and_goes_on(
    done: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second seed finds what the first has found; Ctrl-C is pressed at its second PPO."""
    stop = [True]

    def kept(one: Cell, job: Overoptimise, out: Path) -> Found | None:
        if (one.method, one.labels) == ("ppo", 4) and stop[0]:
            raise KeyboardInterrupt
        found = known(replace(one, seed=0), job, out)
        if one.members is not None:
            found = asdict(one) | {"points": [], "scores": VOTES}
        file = out / "cells" / f"{one.name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps((found or {}) | {"seed": one.seed}))
        return found

    monkeypatch.setattr(pool, "kept", kept)
    with pytest.raises(Interrupted, match="keeps the finished cells"):
        overoptimise_study(done, replace(plan, seeds=2), jobs=1, resume=True, quiet=True)
    found = json.loads((done / "summary.json").read_text())
    judged = [f"seed {n}, PPO's texts by 2 reward models of {labels} labels" for n in (0, 1) for labels in (2, 4)]
    whose = ["PPO on the gold score", *(f"{one}, {n} labels" for one in ("Online DPO", "DPO") for n in (2, 4))]
    others = [f"seed 1, {one}" for one in whose]
    assert found["missing"][:7] == ["seed 1, PPO, 4 labels", *others, "seed 1, best of n"]
    assert [one for one in found["missing"] if "PPO's texts" in one] == judged
    seeds = {(row["method"], row["labels"]): row["seeds"] for row in found["rows"]}
    assert seeds == {("best_of_n", 2): 1, ("best_of_n", 4): 1, ("ppo", 2): 2, ("ppo", 4): 1}
    said = "Missing so far: seed 1, PPO, 4 labels, seed 1, PPO on the gold score, "
    assert said in (done / "report.html").read_text()
    stop[0] = False
    found = overoptimise_study(done, replace(plan, seeds=2), jobs=1, resume=True, quiet=True)
    assert found["missing"] == []
    assert [one["method"] for one in found["monitor"]["counts"]] == ["ppo", "online_dpo", "dpo"]
    assert [row["signal"] for row in found["monitor"]["rows"]][-3:] == ["disagreement", "own_gap", "any"]
    assert [one["runs"] for one in found["monitor"]["counts"]] == [6, 4, 4]
    assert "How often the monitor warns" in (done / "report.html").read_text()
    assert all(row["fall"]["low"] is not None for row in found["rows"])


def test_a_failed_reward_model_leaves_out_what_needs_it(
    done: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def kept(one: Cell, job: Overoptimise, out: Path) -> Found:
        asked.append(one.name)
        if one.method is None and one.labels == 2:
            raise UserError("no")
        return cell(done, one.name)

    monkeypatch.setattr(pool, "kept", kept)
    with pytest.raises(UserError, match="seed 0, reward model, 2 labels: no; the other results are in"):
        overoptimise_study(tmp_path / "out", plan, jobs=1, quiet=True)
    others = ["ppo_gold", "online_dpo-4", "dpo-4"]
    assert asked == ["start", *(f"seed-0/{one}" for one in ("reward-2", "reward-4", "ppo-4", *others))]
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    lost = ["PPO", "Online DPO", "DPO"]
    assert found["missing"] == [*(f"seed 0, {one}, 2 labels" for one in lost), "seed 0, best of n"]
    assert found["failures"] == {"seed 0, reward model, 2 labels": "no"}


def test_a_reward_model_that_diverged_leaves_out_its_ppo_alone(
    done: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def kept(one: Cell, job: Overoptimise, out: Path) -> Found:
        asked.append(one.name)
        found = cell(done, one.name)
        if one.method is None and one.labels == 2:
            return {"points": [], "diverged": 1}
        return found | {"points": found["points"][-3:]} if one.method == "best_of_n" else found

    monkeypatch.setattr(pool, "kept", kept)
    found = overoptimise_study(tmp_path / "out", plan, jobs=1, quiet=True)
    whole = ["ppo-4", "ppo_gold", "online_dpo-4", "dpo-4", "best_of_n"]
    assert asked == ["start", *(f"seed-0/{name}" for name in ["reward-2", "reward-4", *whole])]
    stopped = [f"seed 0, {name}, 2 labels" for name in ("PPO", "Online DPO", "DPO")]
    assert (found["missing"], found["stopped"]) == ([], stopped)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "seed 0, reward model, 2 labels, diverged at step 1" in page
    assert f"because their reward model diverged: {'; '.join(stopped)}." in page
