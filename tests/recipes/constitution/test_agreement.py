"""A judge's agreement with the labels of the data, counted pair by pair."""

import pytest

from burnish.data import builtin
from burnish.recipes.constitution.agreement import agreement, sentences
from burnish.recipes.constitution.comparing import Choice
from burnish.recipes.constitution.labels import Judged
from burnish.recipes.label.pairs import Pair


def judged(pair: Pair, better: float) -> Judged:
    return Judged((Choice(pair, "r", 0, "j"), Choice(pair, "r", 1, "j")), (better, better), 1.0)


def test_only_pairs_with_a_label_count_and_an_even_one_half() -> None:
    """Right, wrong and undecided; the last pair has no label."""
    pairs = [Pair(i, "p", "x", "y", source="f.jsonl", votes=(1.0,) * (i < 3)) for i in range(4)]
    found = [judged(pair, better) for pair, better in zip(pairs, (0.9, 0.2, 0.5, 0.1), strict=True)]
    told = agreement(found)
    assert told is not None
    assert (set(told), told["judge"]["mean"], told["judge"]["n"]) == ({"judge"}, 0.5, 3)
    assert agreement(found[3:]) is None
    (line,) = sentences(told)
    assert line.startswith("the judge prefers the answer that the data prefer in 50.0% [")


def test_the_gap_between_means_has_bins_of_its_own() -> None:
    """60 pairs make two bins of 30: of the close ones the judge is right in every third, of the others in all."""
    pairs = [Pair(i, "p", "x", f"y{i}", source="f.jsonl", votes=(1.0,), gap=i / 10) for i in range(60)]
    pairs.append(Pair(60, "p", "x", "y60", source="f.jsonl", votes=(1.0,)))
    told = agreement([judged(one, 0.6 if one.row >= 30 or one.row % 3 == 0 else 0.4) for one in pairs])
    assert told is not None
    assert told["judge"]["mean"] == pytest.approx(41 / 61)
    near, far = told["judge_by_gap"]
    assert (near["low"], near["high"], near["count"], near["agreement"]["mean"]) == (0.0, 2.9, 30, pytest.approx(1 / 3))
    assert (far["low"], far["high"], far["count"], far["agreement"]["mean"]) == (3.0, 5.9, 30, 1.0)
    assert "people" not in told
    assert sentences(told)[1].startswith("where the raters' means are 0.00 to 2.90 apart (30 pairs): the judge 33.3% [")


def test_a_pair_counts_as_much_as_the_judge_agrees_with_its_raters() -> None:
    """The judge prefers a, b and neither: it agrees with 2 of 3, with one and half a tie, and with half of one; the
    last pair has no vote. Any two of the first three raters agree once in three, the two of the tie by half."""
    votes: list[tuple[float, ...]] = [(1.0, 1.0, 0.0), (0.0, 0.5), (1.0,), ()]
    pairs = [Pair(i, "p", "x", "y", source="f.jsonl", votes=one) for i, one in enumerate(votes)]
    told = agreement([judged(pair, better) for pair, better in zip(pairs, (0.9, 0.2, 0.5, 0.9), strict=True)])
    assert told is not None
    assert (told["judge"]["mean"], told["judge"]["n"]) == (pytest.approx((2 / 3 + 3 / 4 + 1 / 2) / 3), 3)
    assert (told["people"]["mean"], told["people"]["n"]) == (pytest.approx((1 / 3 + 1 / 2) / 2), 2)
    assert set(told) == {"judge", "people"}
    (line,) = sentences(told)
    assert line.startswith("the judge agrees with a rater on 63.9% [")
    assert " of the pairs; two raters agree on 41.7% [" in line


def test_strengths_have_bins_about_each_word() -> None:
    """Slightly: an even pair and one whose two raters agree, for which the judge is right; much: one rater, wrong."""
    given: list[tuple[tuple[float, ...], float, float]] = [
        *(((1.0, 0.0), 0.5, 0.9), ((1.0, 1.0), 1.0, 0.9), ((0.0,), 3.0, 0.9)),
    ]
    found = [
        judged(Pair(i, "p", "x", "y", source="f.jsonl", votes=votes, strength=strength), better)
        for i, (votes, strength, better) in enumerate(given)
    ]
    told = agreement(found)
    assert told is not None
    slightly, much = told["judge_by_strength"]
    assert (slightly["low"], slightly["high"], slightly["count"], slightly["agreement"]["mean"]) == (0.5, 1.0, 2, 0.75)
    assert (much["low"], much["high"], much["count"], much["agreement"]["mean"]) == (3.0, 3.0, 1, 0.0)
    (people,) = told["people_by_strength"]
    assert (people["low"], people["high"], people["count"], people["agreement"]["mean"]) == (0.5, 1.0, 2, 0.5)
    _, first, second = sentences(told)
    assert first.startswith("where people find an answer better by 0.50 to 1.00 of 3 (2 pairs): the judge 75.0% [")
    assert "; two raters 50.0% [" in first
    assert "; two raters" not in second


def test_people_stand_beside_the_judge_on_builtin_data() -> None:
    """The oracle goes through the ratings of each bin's pairs, without those of the two raters who were drawn."""
    rows = builtin.comparisons("held_out").select(range(100))
    known = {snippet.id: snippet for snippet in builtin.split("film", "held_out")}
    pairs, agreed = [], []
    for number, row in enumerate(rows):
        gap = abs(row["chosen_mean"] - row["rejected_mean"])
        one = Pair(number, "", row["chosen"], row["rejected"], source="builtin", votes=(1.0,), gap=gap)
        pairs.append(one)
        rest = []
        for mine, other in (("chosen_id", "rejected_id"), ("rejected_id", "chosen_id")):
            ratings = list(known[row[mine]].ratings)
            del ratings[builtin.draw_rater(known[row[mine]], known[row[other]])]
            rest.append(sum(ratings) / len(ratings))
        agreed.append(None if abs(rest[0] - rest[1]) < 1e-9 else rest[0] > rest[1])
    told = agreement([judged(pair, 0.7) for pair in pairs])
    assert told is not None
    assert (told["judge"]["mean"], len(told["judge_by_gap"])) == (1.0, 4)
    everything = [one for one in agreed if one is not None]
    assert told["people"]["mean"] == pytest.approx(sum(everything) / len(everything))
    for mine, people in zip(told["judge_by_gap"], told["people_by_gap"], strict=True):
        inside = [
            one
            for pair, one in zip(pairs, agreed, strict=True)
            if one is not None and mine["low"] <= (pair.gap or 0.0) <= mine["high"]
        ]
        assert (people["count"], people["agreement"]["mean"]) == (len(inside), pytest.approx(sum(inside) / len(inside)))
        assert (people["low"], people["high"]) == (mine["low"], mine["high"])
    assert "; one rater agrees with the others on " in sentences(told)[0]
    assert all("; one rater " in line for line in sentences(told)[1:])
