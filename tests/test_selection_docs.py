"""Results of an invented study in docs/study_selection.md, and the page's numbers beside the plan's."""

import importlib
import json
import sys
from pathlib import Path

from report.language.test_selection import study

from burnish.recipes.study.selection.plan import FULL, ORDERS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
docs = importlib.import_module("study_selection")
PAGE = (ROOT / "docs" / "study_selection.md").read_text(encoding="utf-8")


def test_results_replace_what_stood_between_the_comments(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "study_selection.md"
    run.mkdir()
    (run / "selection.svg").write_text("<svg/>")
    (run / "summary.json").write_text(json.dumps(study()))
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for _ in range(2):  # the second time replaces what the first has written
        docs.put(run, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n<!-- results -->\n`burnish study selection`\n")
        assert text.endswith("\n<!-- /results -->\nafter\n")
        assert "\nold\n" not in text
        assert "| Disagreement | 256 | 62.6 [60.6, 64.6] | −3.0 [−4.0, −2.0] | 60.0 | 5 |" in text
        assert "| Random | 128 | 61.3 [59.3, 63.3] |  | 60.0 | 5 |" in text
    assert (tmp_path / "study_selection.svg").read_text() == "<svg/>"


def test_the_page_has_the_plans_numbers() -> None:
    assert f"{len(ORDERS)} orders, up to {max(FULL.labels):,} labels, {FULL.seeds} seeds" in PAGE
    assert f"| {FULL.first} random ones" in PAGE
    assert "then " + "{:,}, {:,} and {:,}".format(*FULL.labels) + " in each order" in PAGE
    assert f"a random share of {FULL.random_share}" in PAGE
    assert f"{FULL.members} members" in PAGE
    assert f"{FULL.epochs} passes over the labels in batches of {FULL.batch_size}, learning rate 3e-4" in PAGE
    assert FULL.learning_rate == 3e-4
