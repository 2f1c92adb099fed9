"""Results of an invented study in docs/study_shares.md, and the page's numbers beside the plan's."""

import importlib
import json
import sys
from pathlib import Path

from report.language.test_shares import study

from burnish.recipes.study.shares.plan import FULL

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
docs = importlib.import_module("study_shares")
PAGE = (ROOT / "docs" / "study_shares.md").read_text(encoding="utf-8")


def test_results_replace_what_stood_between_the_comments(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "study_shares.md"
    run.mkdir()
    (run / "summary.json").write_text(json.dumps(study()))
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for _ in range(2):  # the second time replaces what the first has written
        docs.put(run, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n<!-- results -->\n`burnish study shares`\n")
        assert text.endswith("\n<!-- /results -->\nafter\n")
        assert "\nold\n" not in text
        assert "| 25 % | 193 | 65 | 199.5 | 67.5 [65.5, 69.5] | +2.0 [+1.0, +3.0] | 60.0 | 3 |" in text
        assert "| 0 % | 200 | 0 | 200.0 | 70.0 [68.0, 72.0] |  | 60.0 | 3 |" in text


def test_the_page_has_the_plans_numbers() -> None:
    assert (
        f"{len(FULL.shares)} shares, {FULL.seeds} seeds, labels of the cost of {FULL.budget} labels of people" in PAGE
    )
    assert f"costs {FULL.price} labels of people" in PAGE
    assert f"a file for every {FULL.chunk} pairs" in PAGE
    for share in FULL.shares:
        people, judged = FULL.labels(share)
        parts = [f"{people:,} labels of people"] if not judged else [f"{people:,} of people"] if people else []
        parts += [f"{judged:,} of the judge"] if judged else []
        assert f"| {100 * share:.0f} % | {' and '.join(parts)} |" in PAGE
    assert f"`{FULL.judge}`, by the principle *{FULL.principle}*" in PAGE
    assert f"{FULL.members} members" in PAGE
    assert f"{FULL.epochs} passes over the labels in batches of {FULL.batch_size}, learning rate 3e-4" in PAGE
    assert FULL.learning_rate == 3e-4
