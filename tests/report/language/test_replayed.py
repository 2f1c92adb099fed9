"""The sentences that all studies of people's comparisons share, whole."""

from typing import Any

from burnish.report.language.replayed import ceiling, unfinished, unmeasured

from ..conftest import interval


def found(**changes: Any) -> dict[str, Any]:
    return {"missing": [], "failures": {}, "rows": [], "ceiling": interval(0.909, 0.02)} | changes


def test_how_far_people_agree() -> None:
    assert ceiling(found()) == (
        "One rater per text agrees with the means of the others on 90.9 % of the held-out comparisons "
        "(88.9 to 92.9 %): the labels that accuracy is measured with are such raters' own."
    )


def test_what_is_missing_and_what_failed() -> None:
    assert unfinished(found()) == []
    lines = unfinished(found(missing=["seed 1, random", "seed 2, random"], failures={"seed 0, margin": "a NaN loss"}))
    assert lines == ["Missing so far: seed 1, random and seed 2, random.", "Failed: seed 0, margin (a NaN loss)."]


def test_one_seed_has_no_interval() -> None:
    alone = {"mean": 0.7, "low": None, "high": None}
    assert unmeasured(found(rows=[{"accuracy": interval(0.7, 0.02)}])) == []
    assert unmeasured(found(rows=[{"accuracy": interval(0.7, 0.02)}, {"accuracy": alone}])) == [
        "Of fewer than two seeds there is no interval."
    ]
