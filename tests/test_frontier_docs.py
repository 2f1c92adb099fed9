"""Results of an invented study in docs/study_frontier.md, and the page's numbers beside the plan's."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from report.language.test_frontier import rivalled, study

from burnish.recipes.study.frontier.plan import FULL, METHODS, QUICK, REDUCED
from burnish.recipes.study.judge import MOST, REPEATED, SLOPE, USUAL

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
docs = importlib.import_module("study_frontier")
PAGE = (ROOT / "docs" / "study_frontier.md").read_text(encoding="utf-8")


def test_results_replace_what_stood_between_the_comments(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "study_frontier.md"
    run.mkdir()
    for name in docs.FIGURES:
        (run / name).write_text("<svg/>")
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for seeds in (0, 3):  # the second time replaces what the first has written
        found = study(seeds={"dpo": 3, "ppo": seeds, "best_of_n": 3})
        found["levels"][1]["rows"] = [
            one | {"gold": one["gold"] if seeds else None} for one in found["levels"][1]["rows"]
        ]
        (run / "summary.json").write_text(json.dumps(found))
        docs.put(run, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n<!-- results -->\n`burnish study frontier --seeds 3`\n")
        assert text.endswith("\n<!-- /results -->\nafter\n")
        assert "\nold\n" not in text
        assert f"| PPO | 0.90 [0.80, 1.00] | +0.40 [+0.30, +0.50] | 3 | {seeds} of 3 seeds |" in text
        assert ("not finished" in text) == (not seeds)
        assert (
            "| DPO, β 0.1 | 1.00 | 1.90 | 3.20 | 14.0 | 0.90 | −5.5 [−7.0, −4.0] | −9.5 [−10.0, −9.0] | 3 of 3 seeds |"
            in text
        )
        assert "| DPO | 99 | 123 | 0 | 234,568 | 6 |" in text
    assert (tmp_path / "study_frontier.svg").read_text() == "<svg/>"


def test_the_table_has_the_differences_from_ppo() -> None:
    rows = docs.at_level(found := rivalled(), found["levels"][1])
    assert rows[0] == "| | gold | minus DPO | minus PPO | settings | seeds |"
    assert (
        rows[-1] == "| RLOO | 0.60 [0.50, 0.70] | +0.10 [−0.10, +0.30] | −0.30 [−0.40, −0.20] | 0.05 | 3 of 3 seeds |"
    )
    assert docs.at_level(study(), study()["levels"][0])[0] == "| | gold | minus DPO | settings | seeds |"


@pytest.mark.parametrize("name", METHODS)
def test_the_page_names_every_method_with_its_grids(name: str) -> None:
    full = ", ".join(f"{one:g}" for one in FULL.grid[name])
    reduced = ", ".join(f"{one:g}" for one in REDUCED.grid.get(name, ()))
    assert f"| {METHODS[name].label} |" in PAGE
    assert f"| {full} | {reduced} |" in PAGE


def test_the_page_has_the_plans_numbers() -> None:
    assert f"{REDUCED.steps} updates of {REDUCED.texts} texts (`--full`: {FULL.steps})" in PAGE
    assert f"{FULL.prefixes} prefixes" in PAGE
    assert f"{FULL.held_out} held-out prefixes" in PAGE
    assert f"scale {FULL.scale:g}" in PAGE
    assert f"the reduced grid: {len(REDUCED.grid)} methods, {REDUCED.seeds} seeds" in PAGE
    assert f"every setting of {len(FULL.grid)} methods" in PAGE
    assert f"{REDUCED.seeds} trainings of {REDUCED.steps} updates" in PAGE
    assert QUICK.seeds == 2
    assert (SLOPE, MOST, REPEATED, USUAL) == (2, 4, 8, 0.9)
    assert "min(4, 2 · max(0, nats − usual)) − 8 · repetition" in PAGE
