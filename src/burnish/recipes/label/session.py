"""What a rater sees and what becomes of an answer: a view of the labels file, which holds all of the state.

`Session` keeps nothing that the file does not have, so that a restarted server goes on where the file ends.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from burnish.data.labels import BAD, SKIP, STRENGTHS, TIE, A, B, Vote, counted, pair_key
from burnish.options import is_number, quoted
from burnish.recipes.label.file import LabelFile
from burnish.recipes.label.pairs import Pair, blocks
from burnish.recipes.label.plan import Place, Plan, next_place
from burnish.recipes.web import RefusedError

LEFT, RIGHT = "left", "right"
SPOKEN = (LEFT, RIGHT, TIE, BAD, SKIP)
"""The verdicts of the page, which does not know which answer is a."""

LONGEST_NOTE = 10_000
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


@dataclass
class Session:
    """Pairs, who labels them, and the file with the answers; `strengths` asks how much better an answer is."""

    pairs: Sequence[Pair]
    plan: Plan
    file: LabelFile
    strengths: bool = False
    orders: dict[str, list[Place]] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = {pair.key: number for number, pair in enumerate(self.pairs)}
        self.deal()

    def deal(self) -> None:
        """Give each rater an order, by the votes in the file."""
        voted: dict[int, list[str]] = {}
        for vote in self.file.votes:
            if (number := self.numbers.get(vote.pair)) is not None:
                voted.setdefault(number, []).append(vote.rater)
        self.orders = {rater: self.plan.places(rater, len(self.pairs), voted) for rater in self.plan.raters}

    def answered(self, rater: str) -> dict[Place, Vote]:
        """The rater's votes that count, by place."""
        mine = [vote for vote in self.file.votes if vote.rater == rater and vote.pair in self.numbers]
        return {Place(self.numbers[vote.pair], vote.showing): vote for vote in counted(mine)}

    def finished(self, rater: str) -> bool:
        return next_place(self.orders[rater], self.answered(rater)) == len(self.orders[rater])

    def view(self, rater: str, place: int | None = None) -> dict[str, Any]:
        """What the page shows at a place, by default the first without an answer; later places are not shown."""
        order, votes = self.order(rater), self.answered(rater)
        first = next_place(order, votes)
        number = first if place is None else min(max(place, 0), first)
        seconds = [vote.seconds for vote in votes.values() if vote.seconds is not None]
        found: dict[str, Any] = {
            "rater": rater,
            "place": number,
            "places": len(order),
            "answered": sum(one in votes for one in order),
            "median_seconds": round(statistics.median(seconds), 1) if seconds else None,
        }
        if number == len(order):
            return found | {"finished": True}
        at = order[number]
        pair, left = self.pairs[at.pair], self.plan.left(rater, at)
        sides = (pair.a, pair.b) if left == A else (pair.b, pair.a)
        found |= {"finished": False, "pair": pair.key, "showing": at.showing, "prompt": blocks(pair.prompt)}
        found |= {"left": blocks(sides[0]), "right": blocks(sides[1]), "previous": None}
        found["standing"] = standing(pair, left)
        if at in votes:
            record = self.file.records[votes[at].row]
            spoken = {left: LEFT, (B if left == A else A): RIGHT}.get(record["verdict"], record["verdict"])
            found["previous"] = {"verdict": spoken} | {key: record.get(key) for key in ("id", "strength", "note")}
        return found

    def answer(self, body: Any) -> dict[str, Any]:
        """Write an answer, and return what the page shows next.

        An answer whose id is in the file is not written again. One to a comparison that was shown before the server was
        started again is written wherever that is in the rater's order now, also where it is not there any more: who
        votes on a pair first owns it. Raises RefusedError for an answer that is not valid or that is to a comparison
        with another answer than the page knew (status 409), and UserError if it cannot be written.
        """
        rater, number, at = self._addressed(body)
        known = self.file.ids.get(body["id"])
        record = self._record(body, rater, at)
        if known is not None:
            old = self.file.records[known]
            if any(old.get(key) != record[key] for key in ("rater", "row", "showing", "verdict", "strength")):
                raise RefusedError("another answer has this id", 409)
            return self.after(rater, number)
        votes = self.answered(rater)
        current = self.file.records[votes[at].row]["id"] if at in votes else None
        if body.get("revises") != current:
            raise RefusedError("this comparison was answered elsewhere, as in another window", 409)
        if number is None and at.showing and Place(at.pair) not in votes:
            raise RefusedError("this comparison was not shown", 409)
        self.file.append(record)
        if number is None:
            self.deal()
        return self.after(rater, number)

    def after(self, rater: str, number: int | None) -> dict[str, Any]:
        """What the page shows behind an answer at this place; None is a comparison without a place in the order."""
        return self.view(rater, None if number is None else number + 1)

    def order(self, rater: Any) -> list[Place]:
        if not isinstance(rater, str) or rater not in self.orders:
            raise RefusedError(f"there is no rater {quoted(rater)}: name one with --raters", 404)
        return self.orders[rater]

    def _addressed(self, body: Any) -> tuple[str, int | None, Place]:
        """The rater, the number of the place of an answer, None where it has none, and the place, once its fields are
        known to be valid."""
        if not isinstance(body, dict):
            raise RefusedError("the answer must be a JSON object")
        order = self.order(body.get("rater"))
        number: Any = body.get("place")
        verdict, strength = body.get("verdict"), body.get("strength")
        checks = {
            "id": isinstance(body.get("id"), str) and _ID.fullmatch(body["id"]) is not None,
            "place": type(number) is int and number >= 0,
            "showing": type(body.get("showing")) is int and body["showing"] in (0, 1),
            "verdict": isinstance(verdict, str) and verdict in SPOKEN,
            "strength": (type(strength) is int and strength in STRENGTHS)
            if self.strengths and verdict in (LEFT, RIGHT)
            else strength is None,
            "note": isinstance(body.get("note", ""), str) and len(body.get("note", "")) <= LONGEST_NOTE,
            "seconds": is_number(body.get("seconds")) and 0 <= body["seconds"] < 1e9,
            "revises": isinstance(body.get("revises"), str | None),
        }
        if wrong := [key for key, fine in checks.items() if not fine]:
            raise RefusedError(f"the answer's {wrong[0]} is not valid")
        pair = self.numbers.get(body["pair"]) if isinstance(body.get("pair"), str) else None
        if pair is None:
            raise RefusedError("this comparison is not among the pairs", 409)
        at = Place(pair, body["showing"])
        if number < len(order) and order[number] == at:
            return body["rater"], number, at
        return body["rater"], next((i for i, one in enumerate(order) if one == at), None), at

    def _record(self, body: Mapping[str, Any], rater: str, at: Place) -> dict[str, Any]:
        """The line of the file for an answer: with the pair itself, so that the file can be trained on as it is."""
        pair, left = self.pairs[at.pair], self.plan.left(rater, at)
        left = next((side for side in (A, B) if body.get("standing") == standing(pair, side)), left)
        verdict = {LEFT: left, RIGHT: B if left == A else A}.get(body["verdict"], body["verdict"])
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        record = {"id": body["id"], "data": self.file.data, "row": pair.row, "prompt": pair.prompt, "a": pair.a}
        record |= {"b": pair.b, "rater": rater, "showing": at.showing, "left": left, "verdict": verdict}
        record |= {"strength": body.get("strength"), "note": body.get("note", ""), "seconds": round(body["seconds"], 2)}
        return record | {"time": now, "revises": body.get("revises")} | dict(pair.options)


def standing(pair: Pair, left: str) -> str:
    """A checksum of the answer on the left: what was shown, whatever the seed is when the answer comes."""
    return pair_key(pair.prompt, pair.a if left == A else pair.b, None)
