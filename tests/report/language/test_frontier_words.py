"""Sentences of an invented study of the frontier: they say what the intervals support, and no more."""

from typing import Any

import pytest

from burnish.report.language.frontier_words import (
    displaced,
    fewer,
    judged,
    literature,
    result_sentences,
    title_of,
    warnings,
)

from ..conftest import interval
from .test_frontier import rivalled, study


def differing(*values: tuple[float, float] | None) -> dict[str, Any]:
    """A study in which PPO differs from DPO by these means and half widths, level by level."""
    levels = []
    for level, one in zip((0.5, 1.5, 3.0), values, strict=False):
        rows = [
            {"name": "dpo", "gold": interval(1.0, 0.1), "difference": None, "rival": None, "settings": ["0.1"]},
            {
                "name": "ppo",
                "gold": None,
                "difference": one and interval(*one),
                "paired": 3,
                "rival": None,
                "settings": [],
            },
        ]
        levels.append({"level": level, "rows": rows})
    return study(levels=levels)


def test_the_title_is_of_the_level_with_most_comparisons() -> None:
    assert title_of(study()) == "Reward against KL: at 1.5 nats 1 of 2 methods are above DPO"
    assert title_of(differing(None, None)) == "Reward against KL: no method can be compared with DPO yet"


def test_the_sentences() -> None:
    lines = result_sentences(study())
    assert "3,000 pairs" in lines[0]
    assert "82 % of the labels agree" in lines[0]
    assert (
        "Compared with DPO at 0.5 nats: higher than DPO for PPO (+0.40, +0.30 to +0.50); the interval contains zero "
        "for Best of n (−0.05, −0.15 to +0.05)." in lines
    )
    assert any("over 3 seeds" in line for line in lines)
    assert any(line.startswith("4 differences are tested") for line in lines)


def test_methods_on_the_same_reward_model_are_compared_with_ppo() -> None:
    lines = result_sentences(rivalled())
    assert [line for line in lines if line.startswith("On the same reward model")] == [
        "On the same reward model, compared with PPO at 0.5 nats: the interval contains zero for RLOO (−0.30, −0.70 to "
        "+0.10).",
        "On the same reward model, compared with PPO at 1.5 nats: lower than PPO for RLOO (−0.30, −0.40 to −0.20).",
    ]
    assert any(line.startswith("8 differences are tested") for line in lines)
    assert "a paired bootstrap test at 5 %, two-sided" in lines[0]


def test_one_seed_claims_nothing() -> None:
    bare = {"mean": 0.4, "low": None, "high": None}
    rows = [{"name": "ppo", "gold": bare, "difference": bare, "paired": 1, "rival": None, "settings": ["3"]}]
    found = study(seeds={"dpo": 1, "ppo": 1, "best_of_n": 0}, levels=[{"level": 0.5, "rows": rows}])
    lines = result_sentences(found)
    assert not any("Compared with" in line or "minus DPO" in line for line in lines)
    assert any(line.startswith("Of fewer than two seeds there is no interval") for line in lines)
    assert not any(line.startswith("The intervals") for line in lines)


def test_of_how_many_seeds_is_said() -> None:
    """PPO's differences are of 2 of 3 seeds."""
    found = study(seeds={"dpo": 3, "ppo": 2, "best_of_n": 3})
    for level in found["levels"]:
        level["rows"] = [one | {"paired": 2} if one["name"] == "ppo" else one for one in level["rows"]]
    assert fewer(found) == ["PPO, 2 of 3 seeds"]
    lines = result_sentences(found)
    assert any("higher than DPO for PPO (+0.40, +0.30 to +0.50; 2 of 3 seeds);" in line for line in lines)
    assert any(line.startswith("The intervals are over 2 to 3 of 3 seeds") for line in lines)
    assert fewer(study()) == []


def test_who_is_left_out_because_trainings_diverged_is_said() -> None:
    without = {
        "ppo": {"seeds": [0], "settings": ["9", "12"]},
        "dpo": {"seeds": [], "settings": ["5"]},
        "best_of_n": {"seeds": [0, 1, 2], "settings": []},
    }
    said = warnings(study(seeds={"ppo": 2, "dpo": 3, "best_of_n": 0}, without=without))
    assert said == [
        "PPO: its line and its rows at the same KL are of 2 of 3 seeds, without seed 0 and without the settings 9 and "
        "12, of which trainings diverged.",
        "DPO: its line and its rows at the same KL are of 3 of 3 seeds, without the setting 5, of which trainings "
        "diverged.",
        "Best of n has no line and no rows: with every seed that is there a training diverged.",
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (((-0.4, 0.1), (-0.3, 0.1)), "This agrees with Rafailov"),
        (((0.4, 0.1), (0.3, 0.1)), "This disagrees with Rafailov"),
        (((0.4, 0.1), (-0.3, 0.1)), "depends on the KL divergence"),
        (((-0.4, 0.1), (0.1, 0.2)), "Where it is decided it agrees"),
        (((0.4, 0.1), (0.1, 0.2)), "Where it is decided it disagrees"),
        (((0.1, 0.2), (-0.1, 0.2)), "this decides neither"),
    ],
)
def test_the_literature(values: tuple[tuple[float, float], ...], said: str) -> None:
    (line,) = literature(differing(*values))
    assert line.startswith("PPO on the reward model minus DPO: ")
    assert said in line
    assert literature(study(reference="kto")) == []


def test_no_verdict_is_left_without_a_sentence() -> None:
    sides = ("better", "worse", "undecided")
    for number in range(1, 8):
        assert judged({side for i, side in enumerate(sides) if number >> i & 1})


def test_what_is_missing_failed_or_diverged_is_said() -> None:
    found = study(
        stopped=["seed 1, PPO", "seed 1, RLOO"],
        missing=[f"seed {i}, KTO" for i in range(8)],
        failures={"seed 0, PPO": "no"},
        diverged=[{"setting": "SimPO, β 10", "seed": 1, "step": 17}],
    )
    first, second, third, fourth = warnings(found)
    assert fourth == "Not computed, because their reward model diverged: seed 1, PPO; seed 1, RLOO."
    assert first.startswith("Missing so far: seed 0, KTO, ")
    assert "and 2 more. The same command with --resume" in first
    assert second == "seed 0, PPO failed: no"
    assert third == "SimPO, β 10, seed 1, diverged at step 17: what was measured before is shown."
    assert warnings(study()) == []


def test_likelihood_displacement_is_both_falling_by_more_than_seeds_differ() -> None:
    assert displaced(study()) == (
        "At the end both log-probabilities are below the start's, each with a 95 % interval over seeds below 0, for "
        "DPO, β 0.1: likelihood displacement (Razin et al. 2024)."
    )
    unsure = {"setting": "IPO", "chosen_moved": interval(-1.0, 2.0), "rejected_moved": interval(-2.0, 1.0)}
    bare = {"mean": -1.0, "low": None, "high": None}
    alone = {"setting": "KTO", "chosen_moved": bare, "rejected_moved": bare}
    assert displaced(study(ends=[unsure, alone])) == (
        "For IPO and KTO both means are below the start's, and whether by more than seeds differ is undecided."
    )
    rising = [{"setting": "PPO", "chosen_moved": interval(1.0, 0.1), "rejected_moved": interval(-2.0, 0.1)}]
    assert displaced(study(ends=rising)) == "No setting ends with both log-probabilities below the start's."
    assert displaced(study(ends=[{"setting": "B", "chosen_moved": None, "rejected_moved": None}])) is None
