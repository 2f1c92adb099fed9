"""The page of a comparison, from invented numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading import Page

from burnish.report.language.compare import compare_page, sentences, side_by_side, statistics_rows

HEALTHY = {
    "texts": 4,
    "words": 15.04,
    "distinct_2": 0.95,
    "distinct_2_nearby": 0.98,
    "repetition": 0.0,
    "same": 0.0,
    "eos_rate": 0.96,
    "entropy": 3.7,
}
COLLAPSED = HEALTHY | {"same": 0.75, "entropy": None}


def found(**changes: Any) -> dict[str, Any]:
    """A comparison by a server of five pairs: three for A, one tie of two orders, one unjudged."""
    return {
        "names": ["dpo", "sft"],
        "models": ["runs/dpo", "runs/sft"],
        "data": "prompts.jsonl",
        "prompts": 5,
        "sampling": {"seed": 0, "temperature": 1.0, "max_new_tokens": 64},
        "statistics": [COLLAPSED, HEALTHY],
        "warnings": ["dpo may have collapsed: <b>75%</b>"],
        "judge": "ruler at http://127.0.0.1:1/v1",
        "verdicts": {"pairs": 5, "A": 3, "B": 0, "ties": 1, "unjudged": 1, "orders_disagree": 1},
        "win_rate": {"mean": 0.875, "low": 0.625, "high": 1.0},
        "position_bias": {"mean": 0.625, "low": 0.5, "high": 0.75},
        "same_text": 1,
        "command": "burnish compare runs/dpo runs/sft",
        "seconds": 3.2,
        "versions": {"burnish": "0.1.0"},
    } | changes


def row(prompt: str, winner: str | None, orders: list[str | None], **more: Any) -> dict[str, Any]:
    return {"row": 0, "prompt": prompt, "a": f"{prompt} by A", "b": f"{prompt} by B", "ended": [True, False]} | {
        "winner": winner,
        "orders": orders,
        **more,
    }


ROWS = [
    *(row(f"question {i}", "A", ["A", "A"]) for i in range(3)),
    row("<script>alert(1)</script>", "tie", ["A", "B"]),
    row("question 4", None, ["A", None], problem="no answer in 60 s"),
]


def test_the_page_shows_every_pair_and_escapes_it(tmp_path: Path) -> None:
    text = compare_page(found(), ROWS, tmp_path / "compare.html").read_text()
    for i in (0, 1, 2, 4):
        assert f"question {i} by A" in text
        assert f"question {i} by B" in text
    assert "<script>alert" not in text
    assert "dpo may have collapsed: &lt;b&gt;75%" in text
    assert "unjudged: no answer in 60 s" in text
    assert "tie: dpo won with dpo first, sft won with sft first" in text
    assert text.count('aria-label="won"') == 3


def test_the_page_loads_nothing_and_reads_without_a_judge(tmp_path: Path) -> None:
    bare = {k: v for k, v in found(judge=None).items() if k not in ("verdicts", "win_rate", "position_bias")}
    rows = [{k: v for k, v in one.items() if k not in ("winner", "orders", "problem")} for one in ROWS]
    text = compare_page(bare, rows, tmp_path / "compare.html").read_text()
    assert "There is no judge" in text
    assert "Which model writes better" not in text
    assert Page(tmp_path / "compare.html").loads == []


def test_what_is_claimed_follows_from_the_interval() -> None:
    assert sentences(found())[0] == (
        "dpo writes better than sft according to ruler at http://127.0.0.1:1/v1: dpo wins 87.5 % of 4 pairs, ties "
        "counting half (95 % interval 62.5 to 100.0 %)."
    )
    worse = sentences(found(win_rate={"mean": 0.2, "low": 0.1, "high": 0.3}))[0]
    assert worse.startswith("sft writes better than dpo according to ruler")
    assert "dpo wins 20.0 %" in worse
    even = sentences(found(win_rate={"mean": 0.6, "low": 0.5, "high": 0.7}))[0]
    assert even.startswith("dpo and sft cannot be told apart by ruler")
    assert sentences(found(win_rate=None))[0] == "ruler at http://127.0.0.1:1/v1 judged none of the 5 pairs."


def test_ties_and_the_unjudged_are_counted_in_words() -> None:
    assert sentences(found())[1] == (
        "dpo won 3, sft 0; ties: 1 (1 of them because the two orders disagree); unjudged and left out: 1; pairs of "
        "identical answers: 1."
    )


@pytest.mark.parametrize(("low", "said"), [(0.5, "no clear bias"), (0.51, "it is biased")])
def test_a_bias_is_reported_with_its_interval(low: float, said: str) -> None:
    told = sentences(found(position_bias={"mean": 0.625, "low": low, "high": 0.75}))[2]
    assert "62.5 % of its verdicts" in told
    assert told.endswith(f"{said}.")


def test_scores_are_reported_if_there_are_any(tmp_path: Path) -> None:
    scores = [{"mean": 1.0, "low": 0.5, "high": 1.5}, {"mean": -0.25, "low": -0.5, "high": 0.0}]
    scored = found(scores=scores, score_difference={"mean": 1.25, "low": 0.9, "high": 1.6})
    assert sentences(scored)[3] == "dpo scores 1.00 on average and sft −0.25, a difference of +1.25 (+0.90 to +1.60)."
    rows = [one | {"scores": [1.5, -0.5]} for one in ROWS]
    page = compare_page(scored, rows, tmp_path / "page.html").read_text()
    assert "+1.50" in page
    assert 'data-figure="scores"' in page


def test_statistics_as_text() -> None:
    rows = {label: values for label, *values in statistics_rows(found())}
    assert rows["words per answer"] == ["15.0", "15.0"]
    assert rows["nearly the same as many others"] == ["75 %", "0 %"]
    assert rows["entropy, nats per token"] == ["–", "3.70"]


def test_a_pair_says_whose_is_whose() -> None:
    pair = side_by_side(row("q", "B", ["B", "B"]), ["dpo", "sft"])
    assert [(side["name"], side["text"], side["won"], side["ended"]) for side in pair["sides"]] == [
        ("dpo", "q by A", False, True),
        ("sft", "q by B", True, False),
    ]
    assert pair["note"] == "sft won"


def test_the_figures_are_those_of_the_numbers(tmp_path: Path) -> None:
    text = compare_page(found(), ROWS, tmp_path / "compare.html").read_text()
    start = text.index('<script type="application/json" id="figures">') + len(
        '<script type="application/json" id="figures">'
    )
    specs = json.loads(text[start : text.index("</script>", start)])
    assert list(specs) == ["wins"]
    assert "88%" in specs["wins"]["description"] or "87%" in specs["wins"]["description"]
