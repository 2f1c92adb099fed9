"""What is said of PPO's climb, from records whose changes are worked by hand."""

import math

import pytest

from burnish.report import theme
from burnish.report.language.climb import change, climb_figures, climb_sentences, thirds

from ..conftest import interval


def record(step: int, proxy: float, gold: float, half: float = 0.1, run: str = "seed-0") -> dict:
    return {
        "run": run,
        "step": step,
        "proxy": interval(proxy, half),
        "gold": interval(gold, half),
        "kl": interval(step / 10, 0.1),
    }


def climbed(*pairs: tuple[float, float]) -> list[dict]:
    return [record(4 * i, proxy, gold) for i, (proxy, gold) in enumerate(pairs)]


def test_a_change_with_its_interval() -> None:
    """Means 1 (of 0.5 and 1.5) and 3 (of 3 alone): 2. Squares of half intervals: (0.3² + 0.4²) / 4 + 0.6² = 0.4225,
    whose root is 0.65."""
    early = [record(0, 0.5, 0, 0.3), record(4, 1.5, 0, 0.4)]
    found = change(early, [record(8, 3.0, 0, 0.6)], "proxy")
    assert found == pytest.approx({"mean": 2.0, "low": 1.35, "high": 2.65})


def test_thirds_are_of_updates_and_over_runs() -> None:
    """Seven updates: 2, 3 and 2 of them, in both runs."""
    records = [record(4 * i, 0, 0, run=run) for run in ("seed-0", "seed-1") for i in range(7)]
    parts = thirds(records)
    assert [sorted({r["step"] for r in part}) for part in parts] == [[0, 4], [8, 12, 16], [20, 24]]
    assert [len(part) for part in parts] == [4, 6, 4]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([(0, 0), (1, 1), (2, 2)], "rise together"),
        ([(0, 0), (1, -1), (2, -2)], "They diverge: the policy found"),
        ([(0, 0), (1, 0), (2, 0.01)], "does not confirm"),
        ([(0, 0), (1, 2), (2, 1)], "the judge’s score fell while the reward model’s still rose"),
        ([(0, 0), (1, 2), (2, 2.01)], "no longer rose clearly"),
        ([(0, 0), (2, 2), (2.01, 1)], "rise together"),
        ([(0, 0), (0, 1), (0.01, 2)], "The reward model’s score did not clearly rise"),
        ([(0, 0), (-1, 1), (-2, 2)], "The reward model’s score did not clearly rise"),
    ],
)
def test_what_the_curves_mean(pairs: list[tuple[float, float]], said: str) -> None:
    """Half intervals of 0.1: a difference of two rollouts is clear from 0.1·√2 = 0.14 on."""
    assert said in climb_sentences(climbed(*pairs), "PPO")


def test_the_sentences_have_the_numbers() -> None:
    """0.5 and −0.25, each ± 0.14."""
    said = climb_sentences(climbed((0, 0), (0.2, 0), (0.5, -0.25)), "PPO")
    half = 0.1 * math.sqrt(2)
    assert f"rose by 0.50 (95 % interval +{0.5 - half:.2f} to +{0.5 + half:.2f})" in said
    assert "fell by 0.25 (95 % interval −0.39 to −0.11)" in said


def test_two_rollouts_say_nothing() -> None:
    assert climb_sentences(climbed((0, 0), (1, 1)), "PPO") == ""
    assert climb_sentences([], "PPO") == ""


def test_a_chart_for_each_score_and_the_distance() -> None:
    found = climb_figures(climbed((0, 0), (1, 1), (2, 1.5)), theme.series_colours(["SFT", "PPO"]), "PPO", "SFT")
    assert [one.key for one in found] == ["climb-proxy", "climb-gold", "climb-kl"]
    (rows,) = found[1].spec["datasets"].values()
    assert [(row["step"], row["mean"], row["low"]) for row in rows] == [(0, 0, -0.1), (4, 1, 0.9), (8, 1.5, 1.4)]
    assert found[2].spec["title"] == "KL to SFT (nats)"
    assert "from 0.00 to 1.50" in found[1].description


def test_what_was_not_measured_is_not_drawn() -> None:
    records = [one | {"gold": None} for one in climbed((0, 0), (1, 1), (2, 2))]
    found = climb_figures(records, theme.series_colours(["PPO"]), "PPO", "SFT")
    assert [one.key for one in found] == ["climb-proxy", "climb-kl"]
    assert climb_sentences(records, "PPO") == ""
