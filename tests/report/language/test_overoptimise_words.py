"""Sentences of an invented study of over-optimisation: they say what the intervals support, and no more."""

from typing import Any

import pytest

from burnish.report.language.overoptimise_words import (
    difference_sentence,
    fall_sentence,
    peak_sentence,
    result_sentences,
    row_sentence,
    title_of,
    warnings,
)

from ..conftest import interval
from .test_overoptimise import row, study

BARE = {"mean": 0.5, "low": None, "high": None}


def test_the_title_counts_what_is_decided() -> None:
    rows = [row("ppo", 250), row("ppo", 4000, fall=interval(0.1, 0.3)), row("best_of_n", 250, fall=BARE)]
    assert title_of(study(rows=rows)) == "Gold against proxy: gold is seen to fall in 1 of 2 optimisations"
    nothing = study(rows=[row("ppo", 250, fall=BARE)])
    assert title_of(nothing) == "Gold against proxy: nothing can be said of fewer than two seeds"


def test_the_sentences() -> None:
    lines = result_sentences(study())
    assert lines[0].startswith("6,900 pairs of the start's completions were labelled; 82 % of the labels agree")
    assert lines[1] == (
        "Held-out pairs that reward models order as the gold judge does: 250 labels 65.5 % (62.5 to 68.5 %) and "
        "4,000 labels 75.5 % (72.5 to 78.5 %)."
    )
    assert lines[-1].startswith("The intervals are over 3 seeds")
    assert len(lines) == 2 + 4 + 2 + 1


def test_a_row_by_hand() -> None:
    assert row_sentence(study(), row("ppo", 250)) == (
        "PPO, 250 labels, as far as update 192: the proxy claims +6.50 (+6.00 to +7.00), gold is +1.20 (+1.00 to "
        "+1.40). Gold has fallen by 0.80 (0.70 to 0.90) since it was highest, at update 96. The fit peaks at d = "
        "2.00 (1.75 to 2.25), before the end, d = 3.00."
    )
    bare = row("best_of_n", 250, fit=None, last=256, best=[256])
    assert row_sentence(study(), bare).endswith("Gold is highest at the last measurement: no fall is seen.")


@pytest.mark.parametrize(
    ("fall", "said"),
    [
        ((0.8, 0.1), "Gold has fallen by 0.80"),
        ((0.1, 0.3), "Whether gold has fallen since update 96 is undecided: by +0.10 (−0.20 to +0.40)."),
        ((-0.4, 0.1), "No fall is seen: the last measurement is above that of update 96."),
    ],
)
def test_a_fall_is_claimed_where_its_interval_shows_it(fall: tuple[float, float], said: str) -> None:
    assert fall_sentence(row("ppo", 250, fall=interval(*fall))).startswith(said)


@pytest.mark.parametrize(
    ("peak", "within", "said"),
    [
        (interval(2.0, 0.25), "yes", "The fit peaks at d = 2.00 (1.75 to 2.25), before the end, d = 3.00."),
        (
            {"mean": 5.0, "low": 4.0, "high": None},
            "no",
            "The fit does not peak before the end, d = 3.00 (its peak: 4.00 or farther).",
        ),
        (
            {"mean": None, "low": 2.0, "high": None},
            "undecided",
            "The fit peaks nowhere (2.00 or farther): whether before the end, d = 3.00, is undecided.",
        ),
        (
            {"mean": None, "low": None, "high": None},
            "no",
            "The fit does not peak before the end, d = 3.00 (its peak: none at any distance).",
        ),
        (BARE, None, ""),
    ],
)
def test_a_peak_is_claimed_where_its_interval_shows_it(peak: dict[str, Any], within: str | None, said: str) -> None:
    known = row("ppo", 250)
    known["fit"] |= {"peak": peak, "within": within}
    assert peak_sentence(known) == said


@pytest.mark.parametrize(
    ("beta", "said"),
    [
        (interval(-0.3, 0.1), "β −0.30 (−0.40 to −0.20), lower. The last agrees with Gao et al."),
        (interval(0.3, 0.1), "β +0.30 (+0.20 to +0.40), higher. The last disagrees with Gao et al."),
        (interval(0.05, 0.1), "β +0.05 (−0.05 to +0.15), undecided, the interval contains zero."),
        (None, "gold at the end +0.50 (+0.30 to +0.70), higher."),
    ],
)
def test_what_more_labels_change(beta: dict[str, Any] | None, said: str) -> None:
    found = study()
    line = difference_sentence(found, found["differences"][1] | {"beta": beta})
    assert line.startswith("PPO, 4,000 labels minus 250: gold at the end +0.50 (+0.30 to +0.70), higher")
    assert said in line
    assert ("Gao" in line) == (beta is not None and beta["low"] * beta["high"] > 0)


def test_one_seed_claims_nothing() -> None:
    known = [row("ppo", 250, seeds=1, fall=BARE, end=BARE, claimed=BARE)]
    lines = result_sentences(study(rows=known, differences=[], rewards=[{"labels": 250, "correct": BARE}]))
    assert not any("fallen" in line or "peaks" in line for line in lines)
    assert lines[1] == "Held-out pairs that reward models order as the gold judge does: 250 labels 50.0 %."
    assert lines[-1].startswith("Of fewer than two seeds there is no interval")


def test_what_is_missing_failed_or_diverged_is_said() -> None:
    found = study(
        missing=[f"seed {i}, best of n" for i in range(8)],
        failures={"seed 0, PPO, 250 labels": "no"},
        diverged=[{"label": "seed 1, PPO, 250 labels", "step": 17}],
    )
    first, second, third = warnings(found)
    assert "and 2 more. The same command with --resume" in first
    assert second == "seed 0, PPO, 250 labels failed: no"
    assert third == "seed 1, PPO, 250 labels, diverged at step 17: what was measured before is shown."
    assert warnings(study()) == []
