"""The page of an invented study of AI feedback, read as a reader's browser would."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading import Page

from burnish.report.language.shares import result_sentences, shares_page
from burnish.run import UserError

from ..conftest import interval

LABELS = {0.0: (200, 0), 0.25: (193, 65), 0.5: (181, 182), 1.0: (0, 2000)}
DIFFERENCES = {0.25: 0.02, 0.5: -0.005, 1.0: -0.1}


def study(**changes: Any) -> dict[str, Any]:
    """A study as `burnish study shares` writes it: intervals of differences are ± 0.01."""
    rows = [
        {"share": share, "people": people, "judged": judged, "cost": people + judged / 10, "unread": 0, "seeds": 3}
        | {"accuracy": interval(0.7 - share / 10, 0.02), "alone": 0.6}
        | {"difference": interval(DIFFERENCES[share], 0.01) if share else None}
        for share, (people, judged) in LABELS.items()
    ]
    plan = {"members": 3, "price": 0.1, "budget": 200, "judge": "smollm2", "principle": "Which <b> is better?"}
    plan |= {"epochs": 3, "learning_rate": 3e-4, "model": "builtin"}
    judge = {"asked": 3900, "labelled": 3900, "agreement": interval(0.555, 0.015)}
    found: dict[str, Any] = {"plan": plan, "rows": rows, "judge": judge, "missing": [], "failures": {}}
    return found | {"ceiling": interval(0.909, 0.02), "command": "burnish study shares"} | changes


def written(folder: Path, found: dict[str, Any]) -> Page:
    (folder / "summary.json").write_text(json.dumps(found))
    return Page(shares_page(folder))


def test_the_page_has_every_number(tmp_path: Path) -> None:
    judge = {"asked": 3900, "labelled": 3890, "agreement": interval(0.555, 0.015)}
    failures = {"seed 2, 50% of the judge": "x"}
    page = written(tmp_path, study(judge=judge, missing=["seed 1, 0% of the judge"], failures=failures))
    for part in (
        "67.5",
        "65.5 to 69.5 %",
        "+2.0",
        "+1.0 to +3.0 %",
        "199.5",
        "Missing so far: seed 1, 0% of the judge.",
    ):
        assert part in page.text, part
    assert "Failed: seed 2, 50% of the judge (x)." in page.text
    assert "The judge could not label 10 of the 3,900 pairs." in page.text
    assert "Which <b> is better?" in page.text


def test_sentences_say_what_the_intervals_support() -> None:
    said = result_sentences(study())
    assert said[0] == (
        "Compared with labels of people alone at the same cost: more accurate with 25 % of the judge; less accurate "
        "with 100 % of the judge; undecided with 50 % of the judge."
    )
    assert "in 55.5 % of the 3,900 pairs that it labelled (54.0 to 57.0 %)" in said[1]
    assert "90.9 % of the held-out comparisons (88.9 to 92.9 %)" in said[2]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    bare = {"mean": 0.6, "low": None, "high": None}
    found = study(judge={"asked": 8, "labelled": 0, "agreement": None})
    found["rows"] = [row | {"accuracy": bare, "difference": bare if row["share"] else None} for row in found["rows"]]
    page = written(tmp_path, found)
    assert "Of fewer than two seeds there is no interval." in page.text
    assert "No share can be compared with labels of people alone yet." in page.text


def test_a_folder_without_a_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no summary\.json: give the folder of burnish study shares"):
        shares_page(tmp_path)
