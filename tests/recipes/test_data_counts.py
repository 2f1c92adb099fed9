"""Counts of a data set, by hand."""

from collections import Counter

from burnish.data.fit import Fitted
from burnish.data.formats import Example
from burnish.data.tokenised import Response
from burnish.recipes.data_counts import Seen, names, summary


def pair(row: int, prompt: list[int], *responses: list[int], dropped: str = "") -> Fitted:
    """A row with these ids, of which nothing is cut."""
    whole = [Response(ids, [True] * len(ids)) for ids in responses]
    both = [Response(prompt + ids, [False] * len(prompt) + [True] * len(ids)) for ids in responses]
    example = Example(row, "p", tuple("r" for _ in responses))
    return Fitted(example, prompt, whole, len(prompt), [] if dropped else both, dropped)


def test_what_was_seen_of_three_pairs() -> None:
    """Lengths of chosen 1, 2, 1 and of rejected 1, 1, 1; the third repeats the first."""
    seen = Seen(Counter(rows=0))
    for found in (pair(0, [1], [2], [3]), pair(1, [1, 1], [2, 2], [3]), pair(2, [1], [2], [3])):
        seen.add(found, 9)
    assert (seen.counts["rows"], seen.counts["duplicates"], seen.counts["longer"], seen.counts["as long"]) == (
        3,
        1,
        1,
        2,
    )
    page = list(summary(seen, Counter(ties=4), "preferences"))
    assert page[:2] == ["3 of 3 rows used", "0 dropped because no response token is left"]
    assert "4 prompts skipped because their ratings are equal" in page
    assert "chosen is longer than rejected in 33% of rows, as long in 67%" in page
    assert page[-2].split() == ["chosen", "1", "1", "1", "2", "2", "2"]


def test_a_row_without_a_trained_turn_has_no_lengths() -> None:
    seen = Seen(Counter(rows=0))
    seen.add(Fitted(Example(0, [], ([], [])), [], [], 0, [], "untrained"), 9)
    assert seen.counts["untrained"] == 1
    assert seen.lengths == {}


def test_names() -> None:
    assert names(Example(0, "p", ())) == ("prompt",)
    assert names(Example(0, "p", ("a",))) == ("prompt", "response")
    assert names(Example(0, "p", ("a", "b"))) == ("prompt", "chosen", "rejected")
    assert names(Example(0, "p", ("a", "b", "c")))[3] == "response 3"
