"""The page of `burnish agreement`, of an invented result."""

from pathlib import Path
from typing import Any

from reading import Page

from burnish.report.language.agreement import agreement_page, drawn, rater_rows, sentences

from ..conftest import interval

VERDICTS = {"a": 5, "b": 3, "tie": 1, "bad": 1, "skip": 0}


def rater(**changes: Any) -> dict[str, Any]:
    found = {"votes": 10, "verdicts": VERDICTS, "left": interval(0.5, 0.2), "self": None}
    return found | {"seconds": {"low": 2.0, "median": 4.5, "high": 9.0}} | changes


def result(**changes: Any) -> dict[str, Any]:
    twice = {"pairs": 4, "raw": interval(0.75, 0.2), "kappa": None}
    between = {"raters": ["anna", "<ben>"], "pairs": 8, "raw": interval(0.6, 0.2), "kappa": interval(0.3, 0.25)}
    row = {"row": 7, "prompt": "<b>why</b>", "a": "yes", "b": "no", "unequal": 1.0}
    row["votes"] = [
        {"rater": "anna", "verdict": "a", "showing": 0, "note": "<i>"},
        {"rater": "<ben>", "verdict": "bad", "showing": 1, "note": ""},
    ]
    return {
        "labels": "labels.jsonl",
        "answers": 21,
        "pairs": 12,
        "votes": 20,
        "raters": {"anna": rater(self=twice), "<ben>": rater(left=None, seconds=None)},
        "all": rater(votes=20, left=interval(0.7, 0.1)),
        "between": [between],
        "alpha": {"pairs": 8, "value": interval(0.31, 0.2)},
        "ceiling": {"by": "raters", "pairs": 8, "agreement": interval(0.7, 0.1), "upper": interval(0.8, 0.05)},
        "disputed": 3,
        "rows": [row],
    } | changes


def test_the_page_says_it_all_and_escapes_it(tmp_path: Path) -> None:
    page = Page(agreement_page(result(), tmp_path / "page.html"))
    for sentence in sentences(result()):
        assert sentence in page.text
    assert "anna: a is better, “<i>”; <ben> (second showing): both bad." in page.text
    assert "The first 1 of 3" in page.text
    assert "<b>why</b>" in page.text


def test_sentences() -> None:
    assert sentences(result()) == [
        "2 raters compared 12 pairs, with 20 votes.",
        "Krippendorff\u2019s α is 0.31 (95 % interval 0.11 to 0.51) on 8 pairs with two or more raters.",
        "anna and <ben> agree on 60 % of 8 pairs (40 to 80 %); κ is 0.30 (0.05 to 0.55).",
        "The answer on the left is preferred in 70.0 % of decisions (60.0 to 80.0 %): a position bias.",
        "On decided pairs two raters agree in 70.0 % (8 pairs, 60.0 to 80.0 %): no reward model can be expected to "
        "predict one rater in more than 80.0 % (75.0 to 85.0 %).",
    ]
    alone = result(raters={"anna": rater()}, between=[], alpha={"pairs": 0, "value": None}, ceiling=None)
    found = sentences(alone | {"all": rater(left=interval(0.5, 0.1))})
    assert found[0] == "1 rater compared 12 pairs, with 20 votes."
    assert "no clear position bias" in found[1]
    assert found[2].startswith("No pair has two votes")


def test_rows_and_figure() -> None:
    anna, ben, everybody = rater_rows(result())
    assert anna == ("anna", "10", "5", "3", "1", "1", "0", "50 % (30 to 70 %)", "4.5 (2.0 to 9.0)", "75 % of 4", "–")
    assert ben[7:] == ("–", "–", "–", "–")
    assert everybody[:2] == ("all", "20")
    assert len(rater_rows(result(raters={"anna": rater()}))) == 1
    (figure,) = drawn(result())
    assert figure.description == "Share of equal verdicts: anna and <ben> 60%, anna, twice 75%."
    assert drawn(result(between=[], raters={"anna": rater()})) == []
