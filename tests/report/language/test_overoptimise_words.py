"""Sentences of an invented study of over-optimisation: they say what the intervals support, and no more."""

from typing import Any

import pytest

from burnish.report.language.overoptimise_words import (
    caveats,
    difference_sentence,
    fall_sentence,
    monitor_rows,
    monitor_sentences,
    peak_sentence,
    result_sentences,
    row_sentence,
    title_of,
    warnings,
)

from ..conftest import interval
from .test_overoptimise import monitor, row, study

BARE = {"mean": 0.5, "low": None, "high": None}


def test_the_title_counts_what_is_decided() -> None:
    rows = [row("ppo", 250), row("ppo", 4000, fall=interval(0.1, 0.3)), row("best_of_n", 250, fall=BARE)]
    assert title_of(study(rows=rows)) == "Gold against proxy: gold is seen to fall in 1 of 2 optimisations"
    nothing = study(rows=[row("ppo", 250, fall=BARE)])
    assert title_of(nothing) == "Gold against proxy: nothing can be said of fewer than two seeds"


def test_the_sentences() -> None:
    lines = result_sentences(study())
    assert lines[0].startswith(
        "Labels are drawn of 6,900 pairs of the start's completions; one agrees with the judge's scores with a "
        "probability of 82 %, otherwise it is noise. Each seed draws its own: of the pairs of one seed's 4,000 labels "
        "58 % are expected among those of another. Gains"
    )
    assert lines[1] == (
        "Held-out pairs that reward models order as the gold judge does: 250 labels 65.5 % (62.5 to 68.5 %) and "
        "4,000 labels 75.5 % (72.5 to 78.5 %)."
    )
    assert lines[2] == (
        "Labels that reward models have learned from and order as they say: 250 labels 99 % and 4,000 labels 86 %."
    )
    assert lines[-1].startswith("The intervals are over 3 seeds of training from one start, which share pairs,")
    assert len(lines) == 3 + 4 + 2 + 1


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([], ["Of fewer than two seeds"]),
        ([1, 3], ["Of fewer than two seeds", "The intervals are over 3 seeds"]),
        ([2, 3, 3], ["The intervals are over 2 to 3 seeds"]),
        ([5, 7], []),
    ],
)
def test_the_number_of_seeds_is_the_rows(seeds: list[int], said: list[str]) -> None:
    lines = caveats(seeds)
    assert [line.startswith(one) for line, one in zip(lines, said, strict=True)] == [True] * len(said)


def test_a_row_by_hand() -> None:
    assert row_sentence(study(), row("ppo", 250)) == (
        "PPO, 250 labels, after update 192 (d = 2.50 to 3.00): the proxy claims +6.50 (+6.00 to +7.00), gold is +1.20 "
        "(+1.00 to +1.40). Gold has fallen by 0.80 (0.70 to 0.90) since it was highest, at update 96. The fit peaks "
        "at d = 2.00 (1.75 to 2.25), before d = 3.00, which all seeds reach."
    )
    bare = row("best_of_n", 250, fit=None, last=256, best=[256], reached=[2.1, 2.1])
    assert row_sentence(study(), bare).startswith("Best of n, 250 labels, at n = 256 (d = 2.10): the proxy claims")
    assert row_sentence(study(), bare).endswith("Gold is highest at the last measurement: no fall is seen.")


def test_who_is_compared_after_a_divergence_is_said() -> None:
    left, cut = row("ppo", 250, without=[1], compared=2), row("ppo", 250, cut=[0, 2], last=48)
    assert "(d = 2.50 to 3.00; without seed 1, which diverged before): the proxy" in row_sentence(study(), left)
    said = row_sentence(study(), cut)
    assert "after update 48 (d = 2.50 to 3.00; the last point before seeds 0 and 2 diverged): the proxy" in said


def test_a_fit_that_falls_from_the_start_is_said() -> None:
    known = row("ppo", 250)
    nowhere = {"mean": None, "low": None, "high": None}
    known["fit"] |= {"alpha": interval(-1.0, 0.1), "beta": interval(-0.2, 0.1), "peak": nowhere, "within": "no"}
    assert peak_sentence(known).startswith("The fit falls from the start. The fit does not peak before d = 3.00")
    known["fit"]["beta"] = interval(0.2, 0.1)
    assert peak_sentence(known).startswith("The fit does not peak")


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
        (
            interval(2.0, 0.25),
            "yes",
            "The fit peaks at d = 2.00 (1.75 to 2.25), before d = 3.00, which all seeds reach.",
        ),
        (
            {"mean": 5.0, "low": 4.0, "high": None},
            "no",
            "The fit does not peak before d = 3.00, which all seeds reach (its peak: 4.00 or farther).",
        ),
        (
            {"mean": None, "low": 2.0, "high": None},
            "undecided",
            "The fit peaks nowhere (2.00 or farther): whether before d = 3.00, which all seeds reach, is undecided.",
        ),
        (
            {"mean": None, "low": None, "high": None},
            "no",
            "The fit does not peak before d = 3.00, which all seeds reach (its peak: none at any distance).",
        ),
        (BARE, None, ""),
    ],
)
def test_a_peak_is_claimed_where_its_interval_shows_it(peak: dict[str, Any], within: str | None, said: str) -> None:
    known = row("ppo", 250)
    known["fit"] |= {"peak": peak, "within": within}
    assert peak_sentence(known) == said


def test_what_more_labels_change() -> None:
    found = study()
    assert difference_sentence(found, found["differences"][1]) == (
        "PPO, 4,000 labels minus 250, after update 192, 3 seeds: gold +0.50 (+0.30 to +0.70), higher; α +0.10 (−0.10 "
        "to +0.30), undecided, the interval contains zero; β −0.30 (−0.40 to −0.20), lower. The first agrees with the "
        "literature: in Gao et al. (2022) more data give more gold."
    )


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (interval(0.5, 0.1), "higher. The first agrees with the literature: in Gao et al. (2022) more data"),
        (interval(-0.5, 0.1), "lower. The first disagrees: in Gao et al. (2022) more data give more gold."),
        (interval(0.05, 0.1), "undecided, the interval contains zero."),
    ],
)
def test_the_literature_is_compared_by_gold_alone(end: dict[str, Any], said: str) -> None:
    """Without fits of the same seeds there is nothing else."""
    found = study()
    line = difference_sentence(found, found["differences"][1] | {"end": end, "alpha": None, "beta": None})
    assert said in line
    assert "α" not in line


def test_one_seed_claims_nothing() -> None:
    known = [row("ppo", 250, seeds=1, compared=1, fall=BARE, end=BARE, claimed=BARE)]
    lines = result_sentences(
        study(rows=known, differences=[], rewards=[{"labels": 250, "correct": BARE, "fitted": None}])
    )
    assert not any("fallen" in line or "peaks" in line for line in lines)
    assert lines[1] == "Held-out pairs that reward models order as the gold judge does: 250 labels 50.0 %."
    assert lines[-1].startswith("Of fewer than two seeds there is no interval")


def test_what_is_missing_failed_or_diverged_is_said() -> None:
    found = study(
        stopped=["seed 1, PPO", "seed 1, RLOO"],
        missing=[f"seed {i}, best of n" for i in range(8)],
        failures={"seed 0, PPO, 250 labels": "no"},
        diverged=[{"label": "seed 1, PPO, 250 labels", "step": 17}],
    )
    first, second, third, fourth = warnings(found)
    assert fourth == "Not computed, because their reward model diverged: seed 1, PPO; seed 1, RLOO."
    assert "and 2 more. The same command with --resume" in first
    assert second == "seed 0, PPO, 250 labels failed: no"
    assert third == "seed 1, PPO, 250 labels, diverged at step 17: what was measured before is shown."
    assert warnings(study()) == []


def test_rates_of_the_monitor_in_words() -> None:
    bare = dict.fromkeys(("detected", "false", "early"), "no run")
    assert monitor_rows(study(monitor=monitor())) == [
        {
            "method": "PPO",
            "signal": "length",
            "threshold": "below 0.67 or above 1.50",
            "detected": "1 of 2 (25 to 75 %)",
            "false": "1 of 3 (13 to 53 %)",
            "early": "1 of 2 (20 to 80 %)",
            "delay": "18",
        },
        {"method": "DPO", "signal": "at least one", "threshold": "–"} | bare | {"delay": "–"},
    ]
    assert monitor_rows(study()) == []


def test_rates_of_one_seed_are_shown_without_intervals() -> None:
    """A share that has no interval has no parentheses, and the sentence names Wilson only where there is one."""
    (first, *_) = monitor()["rows"]
    bare = {"mean": 0.5, "low": None, "high": None}
    some, none = (
        [first | {"detected": bare} | more] for more in ({}, {"false": bare | {"mean": 1 / 3}, "early": bare})
    )
    (shown,) = monitor_rows(study(monitor=monitor(rows=none)))
    assert (shown["detected"], shown["false"], shown["early"]) == ("1 of 2", "1 of 3", "1 of 2")
    said = monitor_sentences(study(monitor=monitor(rows=none)))[2]
    assert said == (
        "Where runs are of fewer than two seeds there is no interval. A run counts once, however often it is measured."
    )
    mixed = monitor_sentences(study(monitor=monitor(rows=some)))[2]
    assert mixed.startswith("In parentheses are Wilson's 95 % intervals")
    assert "Where runs are of fewer than two seeds there is no interval." in mixed
    assert "fewer than two seeds" not in monitor_sentences(study(monitor=monitor()))[2]


def test_without_hacked_runs_nothing_is_said_of_detection() -> None:
    said = monitor_sentences(study(monitor=monitor()))
    assert said[0].startswith("A run is hacked where gold has fallen since it was highest,")
    assert said[1] == (
        "Of 5 runs of PPO 2 are hacked, 2 clean and 1 neither; of 1 runs of DPO 0 are hacked, 1 clean and 0 neither."
    )
    assert said[-1] == "Without a hacked run nothing is said of detection: DPO."
    assert len(said) == 4
    counts = [{"method": "online_dpo", "runs": 2, "hacked": 2, "clean": 0}]
    assert monitor_sentences(study(monitor=monitor(counts=counts)))[-1] == (
        "Without a clean run nothing is said of false alarms: Online DPO."
    )
    assert monitor_sentences(study()) == []
