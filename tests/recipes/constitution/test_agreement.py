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
    pairs = [Pair(i, "p", "x", "y", source="f.jsonl", preferred=i < 3) for i in range(4)]
    found = [judged(pair, better) for pair, better in zip(pairs, (0.9, 0.2, 0.5, 0.1), strict=True)]
    told = agreement(found)
    assert told is not None
    assert (set(told), told["judge"]["mean"], told["judge"]["n"]) == ({"judge"}, 0.5, 3)
    assert agreement(found[3:]) is None
    (line,) = sentences(told)
    assert line.startswith("the judge prefers the answer that the data prefer in 50.0% [")


def test_the_gap_between_means_has_bins_of_its_own() -> None:
    """60 pairs make two bins of 30: of the close ones the judge is right in every third, of the others in all."""
    pairs = [Pair(i, "p", "x", f"y{i}", source="f.jsonl", preferred=True, gap=i / 10) for i in range(60)]
    pairs.append(Pair(60, "p", "x", "y60", source="f.jsonl", preferred=True))
    told = agreement([judged(one, 0.6 if one.row >= 30 or one.row % 3 == 0 else 0.4) for one in pairs])
    assert told is not None
    assert told["judge"]["mean"] == pytest.approx(41 / 61)
    near, far = told["judge_by_gap"]
    assert (near["low"], near["high"], near["count"], near["agreement"]["mean"]) == (0.0, 2.9, 30, pytest.approx(1 / 3))
    assert (far["low"], far["high"], far["count"], far["agreement"]["mean"]) == (3.0, 5.9, 30, 1.0)
    assert "people" not in told
    assert sentences(told)[1].startswith("where the raters' means are 0.00 to 2.90 apart (30 pairs): the judge 33.3% [")


def test_people_stand_beside_the_judge_on_builtin_data() -> None:
    """The oracle goes through the ratings of each bin's pairs, without those of the two raters who were drawn."""
    rows = builtin.comparisons("held_out").select(range(100))
    known = {snippet.id: snippet for snippet in builtin.split("film", "held_out")}
    pairs, agreed = [], []
    for number, row in enumerate(rows):
        gap = abs(row["chosen_mean"] - row["rejected_mean"])
        one = Pair(number, "", row["chosen"], row["rejected"], source="builtin", preferred=True, gap=gap)
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
