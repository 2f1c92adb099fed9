"""The study as a whole, very small: its files, going on, and what is refused."""

import json
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest

from burnish.evaluation.option_judges import PolicyOptions, Question
from burnish.policies.language.policy import load_policy
from burnish.recipes.study.shares.cells import asked, pool
from burnish.recipes.study.shares.plan import Plan
from burnish.recipes.study.shares.study import shares_study
from burnish.run import UserError

from ..worlds import cell, narrow
from .worlds import TINY

PLAN = TINY
STUDY = shares_study


@pytest.fixture(scope="module")
def plan(narrow_model: str, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """With models that are small enough, of which the judge reads whole questions."""
    return replace(PLAN, model=narrow_model, judge=narrow(tmp_path_factory.mktemp("judge") / "judge", 1024))


def test_every_cell_has_its_file_and_the_page_is_there(done: Path) -> None:
    assert {one.stem for one in (done / "cells" / "judge").iterdir()} == {"00000", "00005"}
    shares = {one.stem for one in (done / "cells" / "seed-0").iterdir()}
    assert shares == {"share-0", "share-0.25", "share-0.5", "share-1"}
    assert not (done / "work").exists()
    assert "Of fewer than two seeds there is no interval" in (done / "report.html").read_text()


def test_the_judge_is_asked_in_both_orders(done: Path, plan: Plan) -> None:
    """The pairs of the first file, whose questions are written out here."""
    policy = load_policy(plan.judge)
    expected = []
    for row in asked(plan)[: plan.chunk]:
        pair = pool()[row]
        told = f"Consider the following conversation:\n\n{pair.prompt}\n\n{plan.principle}\n\nOptions:\n\n"
        texts = [told + f"(A) {first}\n\n(B) {second}" for first, second in ((pair.a, pair.b), (pair.b, pair.a))]
        answers = [one.logprobs for _, one in PolicyOptions("judge", policy, "")([Question(text) for text in texts])]
        (a, b), (c, d) = [(exp(one[0]), exp(one[1])) for one in answers if one is not None]
        expected.append((a / (a + b) + d / (c + d)) / 2)
    assert cell(done, "judge/00000")["better"] == pytest.approx(expected, abs=1e-5)


def test_accuracies_are_of_the_held_out_pairs(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    assert summary["missing"] == []
    assert [(row["people"], row["judged"], row["unread"]) for row in summary["rows"]] == [
        (4, 0, 0),
        (3, 1, 0),
        (2, 3, 0),
        (0, 8, 0),
    ]
    right = cell(done, "seed-0/share-0.5")["right"]
    assert len(right) == 8
    assert summary["rows"][2]["accuracy"]["mean"] == pytest.approx(sum(right) / 8)
    assert (summary["judge"]["asked"], summary["judge"]["labelled"]) == (8, 8)


def test_only_what_is_not_finished_is_computed_and_again_the_same(done: Path, plan: Plan) -> None:
    lost = [done / "cells" / f"{name}.json" for name in ("judge/00005", "seed-0/share-1")]
    before = [json.loads(file.read_text()) for file in lost]
    kept = {file: file.stat().st_mtime_ns for file in (done / "cells").rglob("*.json") if file not in lost}
    for file in lost:
        file.unlink()
    shares_study(done, plan, jobs=1, resume=True, quiet=True)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    after = [json.loads(file.read_text()) for file in lost]
    assert [one | {"seconds": 0} for one in after] == [one | {"seconds": 0} for one in before]


def test_other_sizes_and_served_judges_are_refused(done: Path, plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists and is not empty: use --resume"):
        shares_study(done, plan, quiet=True)
    with pytest.raises(UserError, match=r"begun with another config, .*price"):
        shares_study(done, replace(plan, price=0.25), resume=True, quiet=True)
    with pytest.raises(UserError, match="--judge of this study is a language model in this process"):
        shares_study(tmp_path / "out", replace(plan, judge="http://127.0.0.1:1"), quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_judge_that_reads_no_question_labels_nothing(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A context of 32 tokens is too short for any question: people's labels are left, which is said."""
    given: Any = replace(plan, judge=narrow(tmp_path / "short", context=32), shares=(0.0, 1.0))
    with pytest.raises(UserError, match="seed 0, 100% of the judge: the judge has labelled none of its pairs"):
        shares_study(tmp_path / "out", given, jobs=1, quiet=True)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["judge"] == {"asked": 8, "labelled": 0, "agreement": None}
    assert "The judge could not label 8 of the 8 pairs." in (tmp_path / "out" / "report.html").read_text()
