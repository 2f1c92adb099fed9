"""Labels and totals, worked by hand."""

from math import log

import pytest

from burnish.evaluation.readings import Reading
from burnish.recipes.constitution.comparing import Comparison
from burnish.recipes.constitution.labels import judged, row, sentences, summary
from burnish.recipes.label.pairs import Pair


def asked(number: int) -> Comparison:
    pair = Pair(number, f"p{number}", "x", "y", {"tools": ["t"]} if number == 1 else {}, "f.jsonl")
    return Comparison.of(pair, "Be kind.", "j")


def readings(number: int, *options: tuple[float, float] | None) -> dict[str, Reading]:
    """Probabilities of A and B among all tokens, when a is option A and when it is option B."""
    found = {}
    for call, one in zip(asked(number).choices, options, strict=False):
        found[call.key] = Reading(None, "no B") if one is None else Reading((log(one[0]), log(one[1])))
    return found


def test_both_orders_are_averaged_and_the_likelier_answer_is_chosen() -> None:
    """a has 0.3/0.4 = 0.75 as option A and 0.4/0.8 = 0.5 as option B: 0.625 in the mean. The option tokens have 0.4 and
    0.8 of all tokens. In the mean of both orders the first option has (0.75 + 0.5) / 2."""
    one = judged(asked(0), readings(0, (0.3, 0.1), (0.4, 0.4)))
    assert one is not None
    assert one.shares == pytest.approx((0.75, 0.5))
    assert (one.better, one.first, one.mass, one.turns) == (
        pytest.approx(0.625),
        pytest.approx(0.625),
        pytest.approx(0.6),
        False,
    )
    label = row(one, "judge j")
    assert label == {
        "prompt": "p0",
        "chosen": "x",
        "rejected": "y",
        "confidence": pytest.approx(0.625),
        "principle": "Be kind.",
        "probabilities": pytest.approx([0.75, 0.5]),
        "judge": "judge j",
        "source": "f.jsonl",
        "row": 0,
    }


def test_where_b_is_better_it_is_chosen_with_its_own_probabilities() -> None:
    """a has 0.6 as option A and 0.1 as option B, so b has 0.9 as option A and 0.4 as option B: 0.65 in the mean."""
    one = judged(asked(1), readings(1, (0.6, 0.4), (0.9, 0.1)))
    assert one is not None
    label = row(one, "j")
    assert (label["chosen"], label["rejected"], label["tools"]) == ("y", "x", ["t"])
    assert label["probabilities"] == pytest.approx([0.9, 0.4])
    assert label["confidence"] == pytest.approx(0.65)
    assert one.turns


def test_a_judge_that_always_prefers_the_first_option_decides_nothing() -> None:
    one = judged(asked(0), readings(0, (0.9, 0.1), (0.9, 0.1)))
    assert one is not None
    assert row(one, "j")["confidence"] == pytest.approx(0.5)
    assert one.first == pytest.approx(0.9)


def test_what_was_not_read_has_no_label_and_is_counted() -> None:
    found = readings(0, (0.3, 0.1), (0.4, 0.4)) | readings(1, (0.5, 0.5), None) | readings(2, (0.5, 0.5))
    every = [asked(number) for number in range(4)]
    made = [judged(one, found) for one in every]
    assert [one is None for one in made] == [False, True, True, True]
    totals = summary(every, [one for one in made if one], found, 9)
    assert [totals[key] for key in ("pairs", "labels", "unread", "not_asked")] == [4, 1, 1, 2]
    assert [totals[key] for key in ("calls", "unread_calls", "requests")] == [5, 1, 9]
    assert totals["problems"] == {"no B": 1}
    assert totals["position_bias"]["mean"] == pytest.approx(0.625)
    assert totals["principles"] == {"Be kind.": 1}
    assert sentences(totals)[:3] == [
        "1 of 4 pairs are labelled (9 requests)",
        "1 pairs have an answer that cannot be read, and no label; the first is f.jsonl, row 1: no B",
        "2 pairs are not asked about yet: raise the budget to go on",
    ]
    assert summary(every, [], {}, 0)["not_asked"] == 4


@pytest.mark.parametrize(
    ("first", "second", "confidence", "bounds", "label"),
    [
        (0.9, 0.8, 0.85, (0.4, 0.6), 0.6),
        (0.9, 0.8, 0.85, (0.1, 0.9), 0.85),
        (1.0, 0.1, 0.55, (0.4, 0.6), 0.55),  # the mean is clamped, not each order
    ],
)
def test_a_label_lies_within_its_bounds(
    first: float, second: float, confidence: float, bounds: tuple[float, float], label: float
) -> None:
    """The probabilities of a as option A and as option B are given; as option B it is 1 minus that of option A."""
    found = readings(0, (first - 1e-12, 1 - first + 1e-12), (1 - second, second))
    one = judged(asked(0), found)
    assert one is not None
    assert one.better == pytest.approx(confidence)
    made = row(one, "j", bounds)
    assert made["confidence"] == pytest.approx(label)
    assert made["probabilities"] == pytest.approx([first, second])
    totals = summary([asked(0)], [one], found, 2, bounds)
    assert (totals["confidence"], totals["clamped"]) == (pytest.approx(label), int(label != confidence))
    assert ("(1 labels are clamped)" in sentences(totals)[-1]) == (label != confidence)


def test_the_other_answer_is_clamped_too() -> None:
    one = judged(asked(0), readings(0, (0.1, 0.9), (0.9, 0.1)))
    assert one is not None
    assert (row(one, "j", (0.4, 0.6))["chosen"], row(one, "j", (0.4, 0.6))["confidence"]) == ("y", 0.6)


@pytest.mark.parametrize(
    ("mass", "disagree", "told"),
    [
        (0.5, 2, None),
        (0.49, 2, "A and B have less than half of the judge's next token"),
        (0.9, 3, "the two orders prefer different answers in more than half of the pairs"),
    ],
)
def test_a_judge_whose_labels_mean_little_is_warned_of(mass: float, disagree: int, told: str | None) -> None:
    found = {"labels": 4, "pairs": 4, "requests": 8, "unread": 0, "not_asked": 0, "orders_disagree": disagree}
    found |= {"position_bias": {"mean": 0.5, "low": 0.4, "high": 0.6}, "confidence": 0.7, "clamped": 0}
    lines = [one for one in sentences(found | {"option_mass": mass}) if one.startswith("warning:")]
    assert lines == ([f"warning: these labels mean little: {told}"] if told else [])
    assert not any("mean little" in one for one in sentences({**found, "labels": 0}))
