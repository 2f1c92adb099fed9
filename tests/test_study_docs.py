"""Results of an invented study in docs/study_checked.md, between the page's two comments."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from report.language.test_checked import study

from burnish.recipes.study.checked.plan import FULL, METHODS, TASKS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
docs = importlib.import_module("study_checked")
PAGE = (ROOT / "docs" / "study_checked.md").read_text(encoding="utf-8")


def test_results_replace_what_stood_between_the_comments(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "study_checked.md"
    run.mkdir()
    for name in docs.FIGURES:
        (run / name).write_text("<svg/>")
    (run / "summary.json").write_text(json.dumps(study()))
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for _ in range(2):  # the second time replaces what the first has written
        docs.put(run, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n<!-- results -->\n`burnish study checked --seeds 5`\n")
        assert text.endswith("\n<!-- /results -->\nafter\n")
        assert "old" not in text
        row = "| GRPO | 60.0 | +30.0 [+25.0, +35.0] | 92.0 | +2.0 [−3.0, +7.0] | 8.0 | 0.40 | 25 to 50 "
        row += "| 12,346 | 79 | 0.0001 |"
        assert text.count(row) == 2
        assert text.count(row.replace(" 0.0001 |", "  |")) == 1  # the mean of both tasks
        assert "| before | 30.0 |  | 90.0 |  | 8.0 | 0.40 |  |  |  |  |" in text
        assert "| 8.0 | 0.40 |  | 12,346 |" in text  # PPO has no groups
        assert text.count("](study_checked_curves.svg)") == 1
    assert (tmp_path / "study_checked_pass_n.svg").read_text() == "<svg/>"


def test_figures_that_a_run_lacks_are_made(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "summary.json").write_text(json.dumps(study()))
    (tmp_path / docs.PAGE).write_text("<!-- results -->\n<!-- /results -->\n")
    docs.put(run, tmp_path)
    for name in docs.FIGURES.values():
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text.startswith("<svg")
        assert len(text.encode()) < 60_000
    curves = (tmp_path / "study_checked_curves.svg").read_text(encoding="utf-8")
    assert all(label in curves for label in ("GRPO", "PPO", "More SFT", "sampled tokens", "CPU seconds"))


@pytest.mark.parametrize("name", TASKS)
def test_the_page_names_every_task(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_page_has_the_plans_numbers() -> None:
    assert f"{len(TASKS)} tasks × {FULL.seeds} seeds × {len(METHODS)} methods" in PAGE
    assert f"{FULL.rollouts} rollouts of {FULL.completions} completions" in PAGE
    assert f"after {FULL.search_rollouts} rollouts" in PAGE
    assert re.search(rf"held-out prompts \| {FULL.prompts}, ", PAGE)
    assert "3e-5, 1e-4 and 3e-4 (more SFT: 3e-4, 1e-3 and 3e-3)" in PAGE
    others = {method.rates for name, method in METHODS.items() if name != "sft"}
    assert (others, METHODS["sft"].rates) == ({(3e-5, 1e-4, 3e-4)}, (3e-4, 1e-3, 3e-3))
    assert {one.demonstrations for name, one in TASKS.items() if name != "chain_sum"} == {300}
    assert TASKS["chain_sum"].demonstrations == 1000
