"""Sessions: what is shown, what becomes of an answer, and that the file is all of the state."""

from pathlib import Path
from typing import Any

import labelling
import pytest
from labelling import reply, rows

from burnish.recipes.label.plan import Place
from burnish.recipes.web import RefusedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


def test_a_whole_session_in_the_order_of_the_plan(path: Path) -> None:
    """Always the left one: the verdicts are the sides of the plan, in its order."""
    one = labelling.session(path)
    view, shown = one.view("anna"), []
    while not view["finished"]:
        shown.append(view)
        view = one.answer(reply(view, "left", len(shown)))
    order = one.orders["anna"]
    assert [int(view["prompt"][0]["text"].split()[1]) for view in shown] == [place.pair for place in order]
    assert [view["left"][0]["text"][0].lower() for view in shown] == [one.plan.left("anna", at) for at in order]
    assert [{view[side][0]["text"][0] for side in ("left", "right")} for view in shown] == [{"A", "B"}] * 6
    assert [(row["row"], row["verdict"], row["left"]) for row in rows(path)] == [
        (at.pair, one.plan.left("anna", at), one.plan.left("anna", at)) for at in order
    ]
    assert (view["place"], view["answered"], view["median_seconds"], one.finished("anna")) == (6, 6, 1.2, True)
    one.file.close()


def test_nothing_that_is_shown_says_which_model_wrote_it(path: Path) -> None:
    one = labelling.session(path)
    assert one.view("anna").keys() == {
        *(
            "rater",
            "place",
            "places",
            "answered",
            "median_seconds",
            "finished",
            "pair",
            "showing",
            "prompt",
            "standing",
        ),
        *("left", "right", "previous"),
    }
    one.file.close()


def test_a_restart_after_any_answer_goes_on_as_if_there_had_been_none(path: Path, tmp_path: Path) -> None:
    whole = labelling.session(tmp_path / "whole.jsonl", raters=("anna", "ben"), shared=0.5, repeat=0.5)
    for rater in ("anna", "ben", "anna", "anna", "ben", "anna", "ben", "anna"):
        one = labelling.session(path, raters=("anna", "ben"), shared=0.5, repeat=0.5)
        view = one.view(rater)
        assert view == whole.view(rater)
        body = reply(view, "right", len(one.file.records) + 1)
        assert one.answer(body) == whole.answer(body)
        one.file.close()
    whole.file.close()
    without = [[{**row, "time": ""} for row in rows(at)] for at in (path, tmp_path / "whole.jsonl")]
    assert without[0] == without[1]


def test_an_answer_that_is_sent_again_is_recognised(path: Path) -> None:
    one = labelling.session(path)
    first = one.view("anna")
    body = reply(first, "tie", 1)
    second = one.answer(body)
    assert one.answer(body) == second
    one.file.close()
    one = labelling.session(path)  # also by a new server
    assert one.answer(body) == second
    assert len(rows(path)) == 1
    with pytest.raises(RefusedError, match="another answer has this id") as caught:
        one.answer(body | {"verdict": "bad"})
    assert caught.value.status == 409
    one.file.close()


def test_back_shows_the_answer_and_a_new_one_replaces_it(path: Path) -> None:
    one = labelling.session(path)
    first = one.view("anna")
    one.answer(reply(first, "left", 1, note="why"))
    back = one.view("anna", 0)
    assert back["previous"] == {"verdict": "left", "id": f"{1:032x}", "strength": None, "note": "why"}
    assert {key: back[key] for key in ("prompt", "left", "right")} == {
        key: first[key] for key in ("prompt", "left", "right")
    }
    view = one.answer(reply(back, "bad", 2))
    assert (view["place"], view["answered"]) == (1, 1)
    assert [row["verdict"] for row in rows(path)] == [one.plan.left("anna", one.orders["anna"][0]), "bad"]
    assert one.answered("anna")[one.orders["anna"][0]].verdict == "bad"
    assert one.view("anna", 0)["previous"]["verdict"] == "bad"
    assert one.view("anna", 5)["place"] == 1  # no further than the first without an answer
    one.file.close()


def test_two_windows_of_one_rater_do_not_double_an_answer(path: Path) -> None:
    one = labelling.session(path)
    view = one.view("anna")
    one.answer(reply(view, "left", 1))
    with pytest.raises(RefusedError, match="answered elsewhere") as caught:
        one.answer(reply(view, "right", 2))
    assert (caught.value.status, len(rows(path))) == (409, 1)
    back = one.view("anna", 0)
    one.answer(reply(back, "right", 3))
    with pytest.raises(RefusedError, match="answered elsewhere"):
        one.answer(reply(back, "bad", 4))
    assert len(rows(path)) == 2
    one.file.close()


def test_strengths(path: Path) -> None:
    one = labelling.session(path, strengths=True)
    view = one.answer(reply(one.view("anna"), "left", 1, strength=3))
    view = one.answer(reply(view, "tie", 2))
    assert [row["strength"] for row in rows(path)] == [3, None]
    for verdict, strength in (("left", None), ("left", 4), ("left", True), ("tie", 1), ("bad", 2)):
        with pytest.raises(RefusedError, match="strength is not valid"):
            one.answer(reply(view, verdict, 3, strength=strength))
    one.file.close()


@pytest.mark.parametrize(
    ("change", "said", "status"),
    [
        ({"rater": "nobody"}, "there is no rater 'nobody'", 404),
        ({"rater": None}, "there is no rater None", 404),
        ({"id": "short"}, "id is not valid", 400),
        ({"id": "x" * 30 + "\n"}, "id is not valid", 400),
        ({"place": -1}, "place is not valid", 400),
        ({"place": True}, "place is not valid", 400),
        ({"showing": 2}, "showing is not valid", 400),
        ({"showing": True}, "showing is not valid", 400),
        ({"verdict": "a"}, "verdict is not valid", 400),
        ({"verdict": ["left"]}, "verdict is not valid", 400),
        ({"strength": 1}, "strength is not valid", 400),
        ({"note": "x" * 10_001}, "note is not valid", 400),
        ({"note": None}, "note is not valid", 400),
        ({"seconds": float("nan")}, "seconds is not valid", 400),
        ({"seconds": -1}, "seconds is not valid", 400),
        ({"revises": 1}, "revises is not valid", 400),
        ({"pair": "other"}, "this comparison is not among the pairs", 409),
        ({"pair": ["other"]}, "this comparison is not among the pairs", 409),
        ({"showing": 1}, "this comparison was not shown", 409),
    ],
)
def test_what_is_not_valid_is_refused_and_not_written(
    path: Path, change: dict[str, Any], said: str, status: int
) -> None:
    one = labelling.session(path)
    with pytest.raises(RefusedError, match=said) as caught:
        one.answer(reply(one.view("anna"), "left", 1) | change)
    assert caught.value.status == status
    with pytest.raises(RefusedError, match="JSON object"):
        one.answer([])
    assert rows(path) == []
    assert one.answered("anna") == {}
    one.file.close()


def test_the_second_showing_is_an_answer_of_its_own(path: Path) -> None:
    one = labelling.session(path, count=2, repeat=0.5)
    assert [place.showing for place in one.orders["anna"]] == [0, 0, 1]
    view = one.view("anna")
    for number in range(3):
        view = one.answer(reply(view, "tie", number))
    twice = one.orders["anna"][0].pair
    assert [(row["row"], row["showing"]) for row in rows(path)] == [(twice, 0), (1 - twice, 0), (twice, 1)]
    assert set(one.answered("anna")) == {Place(0), Place(1), Place(twice, 1)}
    one.file.close()


def test_an_answer_in_flight_is_written_where_its_comparison_is_after_a_restart(path: Path) -> None:
    """Each rater has a comparison on the page when the server is started again with other raters. Whatever becomes of
    the order, each answer is to the comparison that was shown, and is written once."""
    knobs = {"count": 12, "shared": 0.0, "repeat": 0.5}
    one = labelling.session(path, raters=("anna", "ben"), **knobs)
    for number in range(4):
        one.answer(reply(one.view("anna"), "left", number))
    one.file.close()
    for again, raters in enumerate([("anna", "ben", "cem"), ("anna", "dan"), ("anna", "ben", "cem", "dan")]):
        one = labelling.session(path, raters=("anna", "ben") if not again else raters, **knobs)
        view = one.view("anna")
        body = reply(view, "right", 100 + again)
        left = one.plan.left("anna", one.orders["anna"][view["place"]])
        one.file.close()
        one = labelling.session(path, raters=raters, **knobs)
        after = one.answer(body)
        assert one.answer(body) == after
        assert not after["finished"]
        last = rows(path)[-1]
        assert (last["rater"], last["left"], last["verdict"]) == ("anna", left, "b" if left == "a" else "a")
        assert one.pairs[last["row"]].key == view["pair"]
        one.file.close()
    assert len({row["id"] for row in rows(path)}) == len(rows(path)) == 7


def test_a_pair_that_was_dealt_to_somebody_else_belongs_to_who_votes_first(path: Path) -> None:
    one = labelling.session(path, raters=("anna",), shared=0.0)
    pending = reply(one.view("anna"), "left", 1)
    one.file.close()
    dealt = labelling.session(path, raters=("ben", "anna"), shared=0.0)
    mine = {dealt.pairs[at.pair].key for at in dealt.orders["anna"]}
    dealt.file.close()
    pair = pending["pair"]
    raters = ("anna", "ben") if pair in mine else ("ben", "anna")  # either order deals the pair to another one
    one = labelling.session(path, raters=raters, shared=0.0)
    assert pair not in {one.pairs[at.pair].key for at in one.orders["anna"]}
    his = next(i for i, at in enumerate(one.orders["ben"]) if one.pairs[at.pair].key == pair)
    shown = {"rater": "ben", "place": his, "pair": pair, "showing": 0, "standing": None, "previous": None}
    bens = reply(shown, "tie", 2)
    view = one.answer(pending)
    assert (view["answered"], view["places"]) == (1, 4)  # three of six, and this one
    assert pair not in {one.pairs[at.pair].key for at in one.orders["ben"]}
    one.answer(bens)  # was on Ben's page at that time: it is kept, and the pair stays Anna's
    assert [(row["rater"], row["verdict"]) for row in rows(path)][1:] == [("ben", "tie")]
    assert [len(one.orders[rater]) for rater in ("anna", "ben")] == [4, 2]
    assert one.answer(pending)["answered"] == 1
    assert len(rows(path)) == 2
    one.file.close()


def test_what_stood_on_the_left_counts_also_after_a_restart_with_another_seed(path: Path) -> None:
    one = labelling.session(path, count=8)
    body = reply(one.view("anna"), "left", 1)
    first = one.pairs[one.numbers[body["pair"]]]
    shown = "a" if one.view("anna")["left"][0]["text"][0] == "A" else "b"
    one.file.close()
    for seed in range(1, 6):
        one = labelling.session(path, count=8, seed=seed)
        view = one.answer(body | {"id": f"{seed:032x}", "revises": rows(path)[-1]["id"] if rows(path) else None})
        assert not view["finished"]
        assert (rows(path)[-1]["row"], rows(path)[-1]["verdict"]) == (first.row, shown)
        one.file.close()
