"""Who sees which pair, when, and on which side: counted and enumerated."""

from collections import Counter
from dataclasses import replace

import pytest

from burnish.recipes.label.plan import Place, Plan, Selection, next_place, rater_names, shuffled
from burnish.run import UserError

RATERS = ("anna", "ben", "cem")


def test_shared_pairs_are_everybodys_and_the_others_are_dealt_evenly() -> None:
    """30 pairs, 20 % shared: 6 for all three, and 8 of the 24 others for each."""
    plan = Plan(RATERS, seed=3, shared=0.2, repeat=0.0)
    orders = {rater: [place.pair for place in plan.places(rater, 30, {})] for rater in RATERS}
    seen = Counter(pair for order in orders.values() for pair in order)
    assert Counter(seen.values()) == {3: 6, 1: 24}
    assert [len(order) for order in orders.values()] == [14, 14, 14]
    shared = [pair for pair in seen if seen[pair] == 3]
    assert len({tuple(p for p in orders[rater] if p in shared) for rater in RATERS}) == 3  # each in an own order
    assert plan.places("anna", 30, {}) == Plan(RATERS, 3, 0.2, 0.0).places("anna", 30, {})
    assert plan.places("anna", 30, {}) != Plan(RATERS, 4, 0.2, 0.0).places("anna", 30, {})


def test_a_pair_is_shown_again_when_half_of_the_others_were() -> None:
    """Of 20 pairs a tenth is 2: the first two, each right behind the pair that is ten places later."""
    plan = Plan(("anna",), repeat=0.1)
    order = shuffled(20, 0, "anna")
    places = plan.places("anna", 20, {})
    expected = [Place(pair) for pair in order[:11]] + [Place(order[0], 1), Place(order[11]), Place(order[1], 1)]
    assert places == expected + [Place(pair) for pair in order[12:]]
    assert len(Plan(("anna",), repeat=0.5).places("anna", 21, {})) == 21 + 10
    assert Plan(("anna",), repeat=0.5).places("anna", 1, {}) == [Place(0)]


def test_a_selection_comes_first_but_for_the_share_that_is_random() -> None:
    """Of ten places at a share of 0.4 the 3rd, 5th, 8th and 10th are random: there ⌊0.4 · n⌋ grows."""
    best = Selection(tuple(range(10)), 0.4)
    assert best.mixed([9, 0, 8, 1, 7, 2, 6, 3, 5, 4]) == [0, 1, 9, 2, 8, 3, 4, 7, 5, 6]
    assert replace(best, share=0.0).mixed(shuffled(10, 1)) == list(range(10))
    assert replace(best, share=1.0).mixed(shuffled(10, 1)) == shuffled(10, 1)
    for share in (0.1, 0.29, 0.5, 0.99):
        assert sorted(replace(best, share=share).mixed(shuffled(10, 1))) == list(range(10))


def test_each_rater_has_the_selection_of_their_own_pairs() -> None:
    """The order of a pair before another does not depend on who the other raters are, so that a restart keeps it."""
    selection = Selection(tuple(reversed(range(30))), 0.0)
    plan = Plan(RATERS, seed=3, repeat=0.0, selection=selection)
    orders = {rater: [place.pair for place in plan.places(rater, 30, {})] for rater in RATERS}
    assert all(order == sorted(order, reverse=True) for order in orders.values())
    assert [len(order) for order in orders.values()] == [14, 14, 14]
    some = replace(plan, selection=replace(selection, share=0.3))
    more = replace(some, raters=("anna", "ben"))
    before, after = ([place.pair for place in one.places("anna", 30, {})] for one in (some, more))
    both = {*before} & {*after}
    assert [pair for pair in before if pair in both] == [pair for pair in after if pair in both]
    assert before != orders["anna"]


def test_a_pair_stays_with_who_has_voted_on_it_first() -> None:
    """Ben takes all that cem has not begun when cem leaves, and gives none back when cem returns."""
    before = Plan(("ben", "cem"), shared=0.0, repeat=0.0).owners(10, {})
    assert Counter(before.values()) == {"ben": 5, "cem": 5}
    begun = next(pair for pair, owner in before.items() if owner == "cem")
    alone = Plan(("ben",), shared=0.0, repeat=0.0).owners(10, {begun: ["cem"]})
    assert [pair for pair, owner in alone.items() if owner != "ben"] == [begun]
    voted = {pair: ["ben"] for pair in range(10) if pair != begun} | {begun: ["cem", "ben"]}
    assert Counter(Plan(("ben", "cem"), shared=0.0).owners(10, voted).values()) == {"ben": 9, "cem": 1}


def test_sides_are_tossed_for_each_rater_and_showing() -> None:
    """2,000 tosses: the number of heads lies within 4 standard deviations, 1000 ± 90, of one half."""
    plan = Plan(("anna", "ben"), seed=1)
    tosses = {rater: [plan.left(rater, Place(pair)) for pair in range(2000)] for rater in plan.raters}
    assert all(910 < sides.count("a") < 1090 for sides in tosses.values())
    again = [plan.left("anna", Place(pair, 1)) for pair in range(2000)]
    for other in (tosses["ben"], again):
        assert 910 < sum(x == y for x, y in zip(tosses["anna"], other, strict=True)) < 1090
    assert tosses["anna"] == [Plan(("anna",), seed=1).left("anna", Place(pair)) for pair in range(2000)]


def test_the_next_place_is_the_first_without_an_answer() -> None:
    places = [Place(2), Place(0), Place(2, 1)]
    assert next_place(places, []) == 0
    assert next_place(places, [Place(2), Place(2, 1)]) == 1
    assert next_place(places, {Place(2): 1, Place(0): 1}) == 2
    assert next_place(places, places) == 3


def test_names() -> None:
    assert rater_names(["anna", " Zoë ", "b.c-d_2"]) == ("anna", "Zoë", "b.c-d_2")
    assert rater_names(["Zoe\u0308"]) == ("Zo\u00eb",)  # composed


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a b"], "the rater's name 'a b' may have letters, digits"),
        (["<b>"], "'<b>' may have"),
        (["a/b"], "'a/b' may have"),
        ([""], "'' may have"),
        ([".."], "'..' may have"),
        (["a\u202eb"], "may have letters"),
        (["a" * 41], "has more than 40 characters"),
        (["Zo\u00eb", "Zoe\u0308"], "the rater's name 'Zoë' is given twice"),
    ],
)
def test_an_odd_name_is_refused(names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        rater_names(names)
