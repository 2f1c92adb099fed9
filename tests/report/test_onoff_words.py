"""Sentences about an invented study: what its intervals support, and no more."""

from typing import Any

import pytest

from burnish.report.onoff_words import half, missing, reason, result_sentences, title_of, warnings

from .conftest import interval
from .test_onoff import study

BARE = {"mean": 0.5, "low": None, "high": None}


def test_what_the_intervals_say() -> None:
    said = result_sentences(study())
    for sentence in (
        "CartPole, mean return beside PPO's: DQN's over the first 50,000 steps is higher (+40.0, +35.0 to +45.0); "
        "DQN's over the first 12.5 CPU seconds is undecided (−3.0, −8.0 to +2.0).",
        "CartPole, episodes of 180 actions on average: 8 turns later, the weights of up to 200 actions leave an "
        "effective sample of 20 % (15 to 25 %) of 256 episodes, that of the first action 100 %. Less than half of it "
        "is left.",
        "CartPole, 8 turns late, compared with fresh data: lower than fresh data for no correction (−1.5, −1.7 to "
        "−1.3); the interval contains zero for their products (−0.1, −0.3 to +0.1).",
        "Language, 8 turns late, compared with no correction: higher than without a correction for their products "
        "(+1.00, +0.80 to +1.20).",
        "8 differences are tested: one in twenty would be found where there is none.",
    ):
        assert sentence in said, sentence
    assert title_of(study()) == (
        "Late data: 8 turns later, weights leave an effective sample of 20 % in CartPole and 90 % in Language"
    )


@pytest.mark.parametrize(("left", "word"), [(0.9, "is not supported"), (0.1, "is supported"), (0.5, "is undecided")])
def test_the_reason_given_for_on_policy_rlhf(left: float, word: str) -> None:
    """Whichever way it comes out, by the language model's interval, which is ± 0.05."""
    found = study()
    found["weights"] = [
        row | {"ess": interval(left, 0.05)} if row["task"] == "language" else row for row in found["weights"]
    ]
    (line,) = reason(found)
    assert f"this {word} here" in line
    assert "data 8 turns late give a score that is lower than fresh data's" in line
    undecided = [row | {"difference": row["difference"] and interval(0.1, 0.2)} for row in found["late"]]
    (line,) = reason(found | {"late": undecided})
    assert "neither higher nor lower beyond its interval" in line


def test_of_one_run_nothing_is_said() -> None:
    found = study()
    found["weights"] = [row | {"ess": BARE, "runs": 1} for row in found["weights"]]
    found["late"] = [
        row | {"difference": row["difference"] and BARE, "gain": row["gain"] and BARE} for row in found["late"]
    ]
    found["efficiency"][0]["differences"] = [
        one | {"difference": BARE} for one in found["efficiency"][0]["differences"]
    ]
    assert result_sentences(found) == [
        "Of fewer than two runs there is no interval: what there is is shown, and nothing is said of it."
    ]
    assert title_of(found) == "On- and off-policy learning: nothing can be said of weights yet"
    nothing: dict[str, Any] = study(efficiency=[], weights=[], late=[])
    assert len(result_sentences(nothing)) == 1


def test_few_runs_are_said_to_be_few() -> None:
    found = study()
    found["late"] = [row | {"runs": 3} for row in found["late"]]
    assert "Intervals over fewer than 5 runs are rather too narrow." in result_sentences(found)
    assert "Intervals over fewer than 5 runs are rather too narrow." not in result_sentences(study())


def test_half_of_a_sample() -> None:
    assert half(interval(0.3, 0.1)) == "Less than half of it is left."
    assert half(interval(0.7, 0.1)) == "More than half of it is left."
    assert half(interval(0.45, 0.1)) == "Whether half of it is left is undecided."


def test_what_is_missing_and_what_failed() -> None:
    assert missing(study()) is None
    assert warnings(study()) == []
    found = study(missing=[f"run {i}" for i in range(9)], failures={"run 9": "no memory"})
    assert missing(found) == "Missing so far: run 0; run 1; run 2; run 3; run 4; run 5; 3 more."
    assert warnings(found) == [
        "Missing so far: run 0; run 1; run 2; run 3; run 4; run 5; 3 more. The same command with --resume computes "
        "them.",
        "run 9 failed: no memory",
    ]
