"""People as judges: their votes as verdicts, and a comparison that goes on where it was broken off."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import labelling
import pytest
from labelling import reply

from burnish.config import Settings
from burnish.data.labels import Vote, tallies
from burnish.recipes.label import judge
from burnish.recipes.label.judge import PeopleJudge, check_people, verdict
from burnish.recipes.label.session import Session
from burnish.recipes.web import opened
from burnish.rewards.completed import Completed
from burnish.run import UserError

BASE = Settings(seed=3, quiet=True)


def completed(texts: list[str]) -> Completed:
    prompts = [f"p{i}" for i in range(len(texts))]
    return Completed(prompts, texts, texts, {}, list(range(len(texts))), None, [True] * len(texts))


def test_votes_are_verdicts() -> None:
    """The answer with more votes wins; bad ones alone are a tie, and without a vote there is no verdict."""

    def of(*verdicts: str) -> str | None:
        (one,) = tallies(Vote(0, "pair", f"rater {i}", 0, each) for i, each in enumerate(verdicts))
        return verdict(one).winner

    assert [of("a"), of("b", "b", "a"), of("a", "b"), of("tie"), of("bad"), of("a", "bad"), of("skip")] == [
        *("A", "B", "tie", "tie", "tie", "A", None)
    ]
    assert verdict(None).problem == "nobody compared it"


def test_people_are_asked_and_what_they_said_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three pairs are answered before the first end; the second start asks for the third alone.

    The pair of equal answers is not shown, and is a tie.
    """
    a, b = completed(["x0", "x1", "same", "x3"]), completed(["y0", "y1", "same", "y3"])
    asked: list[int] = []

    def answers(web: Any, session: Session, *_: Any) -> None:
        view = session.view("anna")
        for _ in range(2):
            if not view["finished"]:
                asked.append(session.pairs[session.orders["anna"][view["place"]].pair].row)
                side = "left" if view["left"][0]["text"].startswith("x") else "right"
                view = session.answer(reply(view, side, asked[-1]))

    monkeypatch.setattr(judge, "serve", answers)
    first = PeopleJudge(tmp_path / "labels.jsonl", ["anna"], 0, BASE)(a, b)
    assert [one.winner for one in first].count("A") == 2
    assert (first[2].winner, [one.winner for one in first].count(None)) == ("tie", 1)
    second = PeopleJudge(tmp_path / "labels.jsonl", ["anna"], 0, BASE)(a, b)
    assert [one.winner for one in second] == ["A", "A", "tie", "A"]
    assert sorted(asked) == [0, 1, 3]
    with pytest.raises(UserError, match="has labels of other data"):
        PeopleJudge(tmp_path / "labels.jsonl", ["anna"], 0, BASE)(b, a)
    same = completed(["s", "s"])
    assert [one.winner for one in PeopleJudge(tmp_path / "o.jsonl", ["anna"], 0, BASE)(same, same)] == ["tie", "tie"]


def test_it_serves_the_page_until_all_are_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP, as the page does it, from another thread."""
    monkeypatch.setenv("BURNISH_LABEL_TOKEN", labelling.TOKEN)
    people = PeopleJudge(tmp_path / "labels.jsonl", ["anna"], 0, BASE)
    server = labelling.Server(people.listening.getsockname()[1], None)  # type: ignore[arg-type]

    def label() -> None:
        view = server.ask("show?rater=anna")[1]
        while not view["finished"]:
            view = server.ask("answer", reply(view, "tie", view["place"]))[1]
        server.ask("finish", {"rater": "anna"})

    thread = threading.Thread(target=label, daemon=True)
    thread.start()
    began = time.monotonic()
    found = people(completed(["x", "x2"]), completed(["y", "y2"]))
    thread.join(20)
    assert [one.winner for one in found] == ["tie", "tie"]
    assert time.monotonic() - began < 60
    assert f"anna: 2 comparisons: http://127.0.0.1:{server.port}/sesame/" in capsys.readouterr().out
    assert len([json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]) == 2


def test_what_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--judge people needs --out"):
        check_people("people", None, (), None)
    with pytest.raises(UserError, match="--raters is for --judge people"):
        check_people("gold", tmp_path, ("anna",), None)
    with pytest.raises(UserError, match="--port is for --judge people"):
        check_people(None, tmp_path, (), 0)
    check_people("people", tmp_path, ("anna",), 0)
    with opened("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port} cannot be opened \(Address already in use\)"):
            PeopleJudge(tmp_path / "labels.jsonl", ["anna"], port, BASE)
    with pytest.raises(UserError, match="the rater's name 'a b' may have"):
        PeopleJudge(tmp_path / "labels.jsonl", ["a b"], 0, BASE)
