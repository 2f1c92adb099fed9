"""The page of an invented study of selections, read as a reader's browser would."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading import Page

from burnish.report.language.selection import result_sentences, selection_page
from burnish.run import UserError

from ..conftest import interval

LABELS = {"random": "Random", "disagreement": "Disagreement", "renewed": "Disagreement, renewed"}
DIFFERENCES = {("disagreement", 256): -0.03, ("disagreement", 512): 0.005, ("renewed", 256): 0.04}


def study(**changes: Any) -> dict[str, Any]:
    """A study as `burnish study selection` writes it: intervals of differences are ± 0.01."""
    rows = [
        {"order": order, "labels": labels, "seeds": 5, "accuracy": interval(0.6 + labels / 10_000, 0.02), "alone": 0.6}
        | {"difference": interval(one, 0.01) if (one := DIFFERENCES.get((order, labels))) else None}
        for order in LABELS
        for labels in (128, 256, 512)
    ]
    plan = {"members": 3, "first": 128, "random_share": 0.2, "epochs": 3, "learning_rate": 3e-4, "model": "builtin"}
    found: dict[str, Any] = {"plan": plan, "labels": LABELS, "rows": rows, "missing": [], "failures": {}}
    return found | {"ceiling": interval(0.909, 0.02), "command": "burnish study selection"} | changes


def written(folder: Path, found: dict[str, Any]) -> Page:
    (folder / "summary.json").write_text(json.dumps(found))
    return Page(selection_page(folder))


def test_the_page_has_every_number_and_figure(tmp_path: Path) -> None:
    page = written(
        tmp_path, study(missing=["seed 2, random, 512 labels"], failures={"seed 3, random, 256 labels": "x"})
    )
    for part in ("65.1", "63.1 to 67.1 %", "−3.0", "−4.0 to −2.0 %", "Missing so far: seed 2, random, 512 labels."):
        assert part in page.text, part
    assert "Failed: seed 3, random, 256 labels (x)." in page.text
    assert "burnish study selection" in page.text
    assert all((tmp_path / f"selection.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))


def test_sentences_say_what_the_intervals_support() -> None:
    assert result_sentences(study())[:2] == [
        "Disagreement, compared with random: less accurate at 256 labels; undecided at 512 labels.",
        "Disagreement, renewed, compared with random: more accurate at 256 labels.",
    ]
    assert "90.9 % of the held-out comparisons (88.9 to 92.9 %)" in result_sentences(study())[2]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    bare = {"mean": 0.6, "low": None, "high": None}
    found = study()
    found["rows"] = [row | {"accuracy": bare, "difference": None} for row in found["rows"]]
    page = written(tmp_path, found)
    assert "Of fewer than two seeds there is no interval." in page.text
    assert "No order can be compared with the random one yet." in page.text


def test_a_folder_without_a_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no summary\.json: give the folder of burnish study selection"):
        selection_page(tmp_path)
