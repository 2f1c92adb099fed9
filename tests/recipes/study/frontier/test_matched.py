"""Reward at a KL divergence, by hand: interpolation, the choice between settings, and Pareto lines."""

import numpy as np
import pytest

from burnish.recipes.study.frontier.matched import Path, comparable, highest, matched, pareto


def path(*points: tuple[float, list[float]]) -> Path:
    return Path(np.array([kl for kl, _ in points]), np.array([gold for _, gold in points]))


LINE = path((0.0, [0.0, 0.0]), (1.0, [1.0, 3.0]), (4.0, [2.0, 4.0]), (2.0, [9.0, 9.0]))


def test_between_two_points_the_score_is_linear_in_the_root() -> None:
    """√0.25 is half way from 0 to 1, √2.25 half way from 1 to 2; the way back from 4 to 2 does not count."""
    for level, gold in ((0.25, [0.5, 1.5]), (1.0, [1.0, 3.0]), (2.25, [1.5, 3.5]), (4.0, [2.0, 4.0])):
        assert LINE.at(level) == pytest.approx(gold)
    assert LINE.at(4.1) is None
    assert LINE.at(0.0) == pytest.approx([0.0, 0.0])


def test_an_estimate_below_zero_counts_as_zero() -> None:
    assert path((0.0, [0.0]), (-0.1, [5.0]), (1.0, [7.0])).at(0.25) == pytest.approx([6.0])


def test_a_setting_is_chosen_on_the_other_half_of_the_prefixes() -> None:
    """On the odd prefixes A is the better one and B on the even ones: each half is scored with the other half's."""
    a = path((0.0, [0.0] * 4), (1.0, [0.0, 5.0, 1.0, 5.0]))
    b = path((0.0, [0.0] * 4), (1.0, [3.0, 2.0, 3.0, 2.0]))
    cells, picked = matched({"A": [a], "B": [b]}, 1.0) or (None, None)
    assert cells is not None
    assert cells.tolist() == [[0.0, 2.0, 1.0, 2.0]]
    assert picked == ["A", "B"]


def test_a_setting_counts_where_every_seed_reaches_the_level() -> None:
    near, away = path((0.0, [0.0]), (0.5, [9.0])), path((0.0, [0.0]), (1.0, [1.0]))
    found = matched({"A": [near, away], "B": [away, away]}, 1.0)
    assert found is not None
    assert (found[0].tolist(), found[1]) == ([[1.0], [1.0]], ["B"])
    assert matched({"A": [near, away]}, 1.0) is None


@pytest.mark.parametrize(
    ("lost", "kept", "seeds"),
    [
        ({0: [], 1: [], 2: []}, ["A", "B"], [0, 1, 2]),
        ({0: [], 1: ["B"], 2: []}, ["A", "B"], [0, 2]),  # the seed is left out
        ({0: ["B"], 1: ["B"], 2: ["B"]}, ["A"], [0, 1, 2]),  # the setting is
        (
            {0: ["B"], 1: ["A", "B"], 2: []},
            ["A"],
            [0, 2],
        ),  # first the setting that diverged with most seeds, then a seed
        ({0: [], 1: ["B"]}, ["A"], [0, 1]),  # of two seeds both are needed for an interval
        ({0: []}, ["A", "B"], [0]),  # where there is but one, one is enough
        ({0: ["A", "B"], 1: ["A", "B"]}, ["B"], []),
    ],
)
def test_settings_and_seeds_are_compared_of_which_no_training_diverged(
    lost: dict[int, list[str]], kept: list[str], seeds: list[int]
) -> None:
    assert comparable(["A", "B"], lost) == (kept, seeds)


def test_a_pareto_line_is_the_highest_score_within_a_limit() -> None:
    other = path((0.0, [0.0, 0.0]), (0.5, [3.0, 3.0]))
    assert highest([LINE, other], np.array([0.0, 0.4, 0.5, 1.9, 2.0])).tolist() == [0.0, 0.0, 3.0, 3.0, 9.0]


def test_a_band_is_over_seeds_and_ends_where_the_nearest_ends() -> None:
    """One seed goes to 1 nat, the other to 4: at the end, 1 nat, they have 1 and 2."""
    one, two = path((0.0, [0.0]), (1.0, [1.0])), path((0.0, [0.0]), (1.0, [2.0]), (4.0, [5.0]))
    line = pareto({"A": [one, two]}, points=3)
    assert [point["kl"] for point in line] == pytest.approx([0.0, 0.25, 1.0])
    assert [point["mean"] for point in line] == pytest.approx([0.0, 0.0, 1.5])
    assert (line[-1]["low"], line[-1]["high"]) == pytest.approx((1.0, 2.0))
    alone = pareto({"A": [one]}, points=3)[-1]
    assert (alone["mean"], alone["low"]) == (1.0, None)
