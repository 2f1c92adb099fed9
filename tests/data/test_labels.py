"""Labels of people as comparisons and feedback: tallies worked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from burnish.data import adapters, sources
from burnish.data.labels import BESIDE, VOTES, counted, pair_key, tallies, votes_of
from burnish.data.names import single
from burnish.data.streamed import Stream
from burnish.data.streams import large, stream
from burnish.data.tokenised import LEFT_OUT
from burnish.run import UserError

TEXTS = {
    1: ("Is it good?", " Yes.", " No."),
    2: ("And?", " Fine.", " Bad."),
    3: ("A film?", " The dull one.", " A great one."),
    4: ("A plot?", " Dull.", " Great."),
}


def vote(pair: int, rater: str, verdict: str, strength: int | None = None, showing: int = 0) -> dict[str, Any]:
    prompt, a, b = TEXTS[pair]
    row = {"id": f"{pair}-{rater}-{showing}-{verdict}", "data": "0" * 64, "row": pair, "prompt": prompt, "a": a, "b": b}
    row |= {"rater": rater, "showing": showing, "left": "b", "verdict": verdict, "strength": strength, "note": ""}
    return row | {"seconds": 1.5, "time": "2026-01-01T00:00:00Z", "revises": None}


def written(folder: Path, rows: list[dict[str, Any]]) -> Dataset:
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return sources.load(str(path))


def test_the_last_vote_on_a_showing_counts_and_a_rater_counts_once() -> None:
    """Anna first said b and then a on showing 0, and b on showing 1: a mean of ½. Ben said a: 1. Together ¾."""
    rows = [
        vote(1, "anna", "b", 3),
        vote(2, "anna", "tie"),
        vote(1, "anna", "a", 1),
        vote(1, "ben", "a", 2),
        vote(1, "anna", "b", 2, showing=1),
    ]
    votes = list(votes_of(enumerate(rows), "x"))
    assert [(one.rater, one.showing, one.verdict) for one in counted(votes)] == [
        *(("anna", 0, "a"), ("anna", 0, "tie"), ("ben", 0, "a"), ("anna", 1, "b"))
    ]
    first, second = tallies(votes)
    assert (first.row, first.share, second.row, second.share) == (0, 0.75, 1, 0.5)
    assert first.margin == ((1 - 2) / 2 + 2) / 2
    assert first.good == (0.75, 0.25)
    assert (second.margin, second.good) == (0.0, (None, None))
    assert votes[0].pair == pair_key(*TEXTS[1]) != votes[1].pair


def test_the_seconds_of_a_showing_are_those_of_all_its_votes() -> None:
    """30 s of reading and then 0.5 s to go back and confirm are 30.5 s; a vote without a time adds none."""
    rows = [vote(1, "anna", "a"), vote(1, "ben", "a"), vote(1, "anna", "a"), vote(1, "anna", "b", showing=1)]
    rows += [vote(2, "anna", "a"), vote(2, "anna", "a")]
    for row, seconds in zip(rows, (30.0, 4.0, 0.5, 7.0, None, None), strict=True):
        row["seconds"] = seconds
    found = {
        (one.rater, one.pair, one.showing): (one.row, one.seconds) for one in counted(votes_of(enumerate(rows), "x"))
    }
    assert sorted(found.values(), key=str) == [(1, 4.0), (2, 30.5), (3, 7.0), (5, None)]


def test_both_bad_is_a_vote_against_both_and_a_skip_is_none() -> None:
    """Pair 1: bad and a give answer a one good of two, answer b none; the comparison is a's alone."""
    rows = [vote(1, "anna", "bad"), vote(1, "ben", "a"), vote(1, "cem", "skip"), vote(2, "anna", "skip")]
    first, second = tallies(votes_of(enumerate(rows), "x"))
    assert (first.share, first.good) == (1.0, (0.5, 0.0))
    assert (second.share, second.margin, second.good) == (None, None, (None, None))


def test_comparisons(tmp_path: Path) -> None:
    """Two of three for a is confidence ⅔; even votes, bad ones and skips are left out and counted."""
    rows = [vote(1, rater, verdict) for rater, verdict in (("anna", "a"), ("ben", "b"), ("cem", "a"))]
    rows += [vote(2, "anna", "b"), vote(3, "anna", "a"), vote(3, "ben", "b"), vote(4, "anna", "bad")]
    found = adapters.preferences(written(tmp_path, rows), "x")
    examples = list(found.examples)
    assert (found.format, found.columns, found.beside) == ("labels of burnish label", VOTES, BESIDE)
    assert [(one.row, one.prompt, one.responses, one.margin) for one in examples] == [
        (0, "Is it good?", (" Yes.", " No."), None),
        (3, "And?", (" Bad.", " Fine."), None),
    ]
    assert [one.confidence for one in examples] == [pytest.approx(2 / 3), 1.0]
    assert dict(found.left_out) == {"even": 1, "bad": 1}
    assert found.left_out.keys() < LEFT_OUT.keys()


def test_votes_that_agree_have_no_confidence_and_strengths_are_margins(tmp_path: Path) -> None:
    rows = [vote(1, "anna", "a", 3), vote(1, "ben", "a", 2), vote(2, "anna", "b", 1), vote(3, "anna", "skip")]
    found = adapters.preferences(written(tmp_path, rows), "x")
    assert [(one.confidence, one.margin) for one in found.examples] == [(None, 2.5), (None, 1.0)]
    assert dict(found.left_out) == {"skipped": 1}


def test_a_strong_minority_makes_a_margin_of_zero(tmp_path: Path) -> None:
    """(1 + 1 − 3) / 3 is below 0: the majority's answer is chosen, by nothing."""
    rows = [vote(1, "anna", "a", 1), vote(1, "ben", "a", 1), vote(1, "cem", "b", 3)]
    (one,) = adapters.preferences(written(tmp_path, rows), "x").examples
    assert (one.responses, one.margin) == ((" Yes.", " No."), 0.0)


def test_feedback(tmp_path: Path) -> None:
    """The better answer is good and the other is not; of a pair of bad ones neither is."""
    rows = [vote(1, "anna", "b"), vote(2, "anna", "bad"), vote(3, "anna", "tie"), vote(4, "anna", "a")]
    rows += [vote(4, "ben", "bad")]
    found = adapters.feedback(written(tmp_path, rows), "x")
    assert [(one.row, one.prompt, one.responses, one.desirable) for one in found.examples] == [
        (0, "Is it good?", (" Yes.",), False),
        (1, "Is it good?", (" No.",), True),
        (2, "And?", (" Fine.",), False),
        (3, "And?", (" Bad.",), False),
        (7, "A plot?", (" Great.",), False),
    ]
    assert (found.per_row, dict(found.left_out)) == (2, {"unclear": 3})


def test_messages_and_empty_answers(tmp_path: Path) -> None:
    talk = {"prompt": [{"role": "user", "content": "Hi"}], "a": "Hello", "b": [{"role": "assistant", "content": "Ho"}]}
    rows = [vote(1, "anna", "b") | talk, vote(2, "anna", "a") | {"b": ""}]
    found = adapters.preferences(written(tmp_path, rows), "x")
    (one,) = found.examples
    assert one.prompt == talk["prompt"]
    assert one.responses == (talk["b"], [{"role": "assistant", "content": "Hello"}])
    assert dict(found.left_out) == {"empty": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "left"}, "x, row 1: column `verdict` is 'left', not one of a, b, tie, bad, skip"),
        ({"strength": 4}, "x, row 1: column `strength` is 4 beside b"),
        ({"verdict": "tie", "strength": 1}, "`strength` is 1 beside tie"),
        ({"left": "c"}, "x, row 1: column `left` is 'c'"),
        ({"rater": " "}, "x, row 1: column `rater` is empty"),
        ({"showing": "first"}, "x, row 1: column `showing` is 'first', not a finite number"),
        ({"seconds": "long"}, "x, row 1: column `seconds` is 'long', not a finite number"),
        ({"strength": 2}, "x, row 0: has no `strength`, which other rows have"),
    ],
)
def test_a_wrong_cell_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    rows = [vote(1, "anna", "a"), vote(2, "anna", "b") | change]
    with pytest.raises(UserError, match=said):
        list(adapters.preferences(written(tmp_path, rows), "x").examples)


def test_labels_are_not_streamed(tmp_path: Path) -> None:
    """The votes on a pair may lie anywhere."""
    written(tmp_path, [vote(1, "anna", "a"), vote(2, "anna", "b")])
    part = single(str(tmp_path / "labels.jsonl"))
    assert not large([part], 10)

    class Columns:
        columns = VOTES

    with pytest.raises(UserError, match="the votes on a pair may lie anywhere"):
        Stream("x", stream(part), lambda rows, known: Columns())  # type: ignore[arg-type, return-value]
