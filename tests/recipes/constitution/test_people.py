"""People's labels in a share of a judge's, counted by hand."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from burnish.recipes.constitution.people import mixing, sentence, sizes, unordered
from burnish.recipes.label.pairs import Pair
from burnish.run import UserError

PAIRS = [Pair(i, f"p{i}", "x", f"y{i}") for i in range(40)]


def labelled(folder: Path, rows: list[dict[str, Any]]) -> str:
    return str(tiny.write_rows(folder / "people.jsonl", rows))


def comparison(number: int, **others: Any) -> dict[str, Any]:
    """People prefer the answer b."""
    return {"prompt": f"p{number}", "chosen": f"y{number}", "rejected": "x", **others}


def judged(pairs: list[Pair]) -> list[dict[str, Any]]:
    """The judge prefers the answer a."""
    return [
        {"prompt": one.prompt, "chosen": one.a, "rejected": one.b, "confidence": 0.7, "source": "q"} for one in pairs
    ]


@pytest.mark.parametrize(
    ("own", "people", "share", "found"),
    [
        (10, 10, 0.5, (10, 10)),
        (10, 30, 0.5, (10, 10)),
        (10, 30, 0.25, (10, 30)),
        (10, 30, 1.0, (10, 0)),
        (10, 30, 0.0, (0, 30)),
        (0, 30, 0.25, (0, 0)),
        (10, 21, 0.3, (9, 21)),
        (7, 5, 0.3, (2, 5)),
    ],
)
def test_as_many_rows_as_have_the_share(own: int, people: int, share: float, found: tuple[int, int]) -> None:
    """With 5 of people 0.3 of the rows are 5 · 3/7 = 2.1; two of the judge need 2 · 7/3 = 4.7."""
    assert sizes(own, people, share) == found


def test_pairs_that_both_could_label_are_dealt_in_the_share(tmp_path: Path) -> None:
    """All 40: ten belong to the judge, and nobody's pair is the other's."""
    mix = mixing(labelled(tmp_path, [comparison(i) for i in range(40)]), 0.25, 0)
    assert mix is not None
    asked = mix.to_ask(PAIRS)
    assert len(asked) == 10
    assert [one.row for one in asked] == sorted(one.row for one in asked)
    rows = mix.mixed(PAIRS, judged(asked))
    assert len(rows) == 40
    assert {row["prompt"] for row in rows if row["by"] == "judge"} == {one.prompt for one in asked}
    assert len({row["prompt"] for row in rows}) == 40
    assert mix.facts(rows)["rows"] == {"judge": 10, "people": 30}
    assert [row["by"] for row in rows] != sorted(row["by"] for row in rows)  # in random order
    more = mixing(labelled(tmp_path, [comparison(i) for i in range(40)]), 0.5, 0)
    assert more is not None
    assert {one.row for one in asked} < {one.row for one in more.to_ask(PAIRS)}
    other = mixing(labelled(tmp_path, [comparison(i) for i in range(40)]), 0.25, 1)
    assert other is not None
    assert other.to_ask(PAIRS) != asked


def test_no_more_is_asked_than_the_share_needs(tmp_path: Path) -> None:
    """People labelled six other pairs: as many of the judge's make a half, and eighteen three quarters. Of 0.3 they are
    6 · 3/7 = 2.6: two, beside 2 · 7/3 = 4.7 of people."""
    path = labelled(tmp_path, [comparison(i) for i in range(100, 106)])
    for share, asked, rows in ((0.5, 6, 12), (0.75, 18, 24), (0.3, 2, 7), (1.0, 40, 40), (0.0, 0, 6)):
        mix = mixing(path, share, 0)
        assert mix is not None
        found = mix.to_ask(PAIRS)
        assert len(found) == asked
        assert len(mix.mixed(PAIRS, judged(found))) == rows


@pytest.mark.parametrize(
    ("labels", "pairs", "share", "judge", "people"),
    [
        (range(9), 9, 0.95, 9, 0),  # round(8.55) are dealt to the judge
        (range(3), 3, 0.9, 3, 0),
        (range(100, 150), 40, 0.01, 40, 50),  # 50 of people have half a row of the judge's beside them
    ],
)
def test_a_share_that_gives_no_row_is_refused_before_anything_is_asked(
    tmp_path: Path, labels: range, pairs: int, share: float, judge: int, people: int
) -> None:
    mix = mixing(labelled(tmp_path, [comparison(i) for i in labels]), share, 0)
    assert mix is not None
    said = f"^--ai-share {share} of {judge} labels of the judge and {people} of people gives no row: give more of both"
    with pytest.raises(UserError, match=said):
        mix.to_ask(PAIRS[:pairs])


def test_a_judge_without_an_answer_gives_no_row(tmp_path: Path) -> None:
    mix = mixing(labelled(tmp_path, [comparison(i) for i in range(40)]), 0.5, 0)
    assert mix is not None
    with pytest.raises(UserError, match=r"^--ai-share 0\.5 of 0 labels of the judge and 20 of people gives no row"):
        mix.mixed(PAIRS, [])


def test_a_larger_share_keeps_the_judges_pairs_also_where_it_needs_fewer(tmp_path: Path) -> None:
    """Of 10 pairs that both could label, 0.7 deals 7 to the judge, which 3 of people need; 0.75 deals 8, and 2 of
    people need 6."""
    asked = []
    for share in (0.7, 0.75):
        mix = mixing(labelled(tmp_path, [comparison(i) for i in range(10)]), share, 0)
        assert mix is not None
        asked.append({one.row for one in mix.to_ask(PAIRS[:10])})
    assert [len(one) for one in asked] == [7, 8]
    assert asked[0] < asked[1]


def test_what_the_judge_did_not_answer_shrinks_both_sides(tmp_path: Path) -> None:
    mix = mixing(labelled(tmp_path, [comparison(i) for i in range(40)]), 0.5, 0)
    assert mix is not None
    rows = mix.mixed(PAIRS, judged(mix.to_ask(PAIRS)[:5]))
    assert [sum(row["by"] == who for row in rows) for who in ("judge", "people")] == [5, 5]


def test_rows_say_whose_they_are_and_keep_certainty(tmp_path: Path) -> None:
    path = labelled(tmp_path, [comparison(0, confidence=0.8, margin=2.0, tools='[{"a": 1}]'), comparison(1)])
    with pytest.raises(UserError, match="margin"):
        mixing(path, 0.5, 0)
    path = labelled(tmp_path, [comparison(0, confidence=0.8, margin=2.0), comparison(1, margin=0)])
    mix = mixing(path, 0.5, 0)
    assert mix is not None
    rows = {row["prompt"]: row for row in mix.mixed(PAIRS[5:9], judged(PAIRS[5:9]))}
    people = {"by": "people", "source": path, "row": 0}
    texts = {"prompt": "p0", "chosen": "y0", "rejected": "x"}
    assert rows["p0"] == texts | {"confidence": 0.8, "margin": 2.0} | people
    assert rows["p1"]["confidence"] == 1.0
    own = next(row for row in rows.values() if row["by"] == "judge")
    assert (own["margin"], own["confidence"], own["source"]) == (0.0, 0.7, "q")


def test_votes_of_burnish_label_are_counted(tmp_path: Path) -> None:
    """Two of three raters prefer b: 2/3. A tie and a skipped pair are left out."""
    base = {"prompt": "p0", "a": "x", "b": "y0"}
    votes = [base | {"rater": rater, "verdict": verdict} for rater, verdict in (("u", "a"), ("v", "b"), ("w", "b"))]
    votes += [{"prompt": "p1", "a": "x", "b": "y1", "rater": "u", "verdict": "tie"}]
    votes += [{"prompt": "p2", "a": "x", "b": "y2", "rater": "u", "verdict": "skip"}]
    mix = mixing(labelled(tmp_path, votes), 0.0, 0)
    assert mix is not None
    (row,) = mix.mixed(PAIRS, [])
    assert (row["chosen"], row["confidence"]) == ("y0", pytest.approx(2 / 3))
    assert sentence(mix.facts([row])) == (
        "1 rows are written: 0 of the judge and 1 of the 1 of people (1 even, 1 skipped are left out)"
    )


def test_a_pair_has_one_key_whichever_answer_is_first() -> None:
    assert unordered("p", "x", "y") == unordered("p", "y", "x")
    talk = [{"role": "assistant", "content": "x"}]
    assert len({unordered("p", "x", "y"), unordered("q", "x", "y"), unordered("p", talk, "y")}) == 3


@pytest.mark.parametrize(
    ("rows", "share", "said"),
    [
        (None, 0.5, "--ai-share 0.5 is for --people"),
        ([comparison(0)], None, r"--people needs an --ai-share in \[0, 1\], .* none is given"),
        ([comparison(0)], 1.5, "not 1.5"),
        ([{"prompt": "p", "text": "t"}], 0.5, "comparisons|chosen"),
        (
            [{"prompt": "p", "responses": ["x", "y"]}, {"prompt": "q", "responses": ["x", "y", "z"]}],
            0.5,
            r"people\.jsonl, row 1: the prompt has 3 ranked responses, and --people takes comparisons of two: write",
        ),
        ([comparison(0) | {"chosen": "x"}], 0.5, "has no comparison that can be mixed in"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, rows: Any, share: float | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        mixing(None if rows is None else labelled(tmp_path, rows), share, 0)
    assert mixing(None, None, 0) is None
