"""The calls of a judge: what is asked about a pair, and a file of all answers, so that nothing is asked twice."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from burnish.evaluation.option_judges import FAILED, READ, UNREAD, Reading
from burnish.options import is_number
from burnish.recipes.journal import Journal
from burnish.recipes.label.pairs import Pair, blocks
from burnish.run import UserError

BEFORE = "Consider the following conversation:\n\n{prompt}\n\n"
QUESTION = "{principle}\n\nOptions:\n\n(A) {first}\n\n(B) {second}"
ENDING = ".calls.jsonl"


@dataclass(frozen=True)
class Call:
    """One question about a pair: `order` is 0 where the answer a is option A, and 1 where the answer b is."""

    pair: Pair
    principle: str
    order: int
    judge: str

    @cached_property
    def question(self) -> str:
        first, second = (self.pair.a, self.pair.b) if self.order == 0 else (self.pair.b, self.pair.a)
        prompt = spoken(self.pair.prompt)
        asked = QUESTION.format(principle=self.principle, first=spoken(first), second=spoken(second))
        return BEFORE.format(prompt=prompt) + asked if prompt.strip() else asked

    @cached_property
    def key(self) -> str:
        """A checksum of the judge and the question: equal calls have equal answers."""
        text = json.dumps([self.judge, self.question], ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def spoken(value: Any) -> str:
    """A prompt or an answer as text; where it has several messages, a paragraph for each begins with the role."""
    return "\n\n".join(one["text"] if one["role"] is None else f"{one['role']}: {one['text']}" for one in blocks(value))


class CallFile(Journal):
    """The calls in a file, see `Journal`. Raises UserError also where one is about none of these `pairs`: then the file
    is that of another data set."""

    command, record, remedy = "burnish constitution", "a call", "make room there, and give the command again"

    def __init__(self, path: str | Path, pairs: Collection[str]) -> None:
        self.pairs = pairs
        self.readings: dict[str, Reading] = {}
        self.requests = 0
        """How often a judge was asked in all, failures included."""
        self.read = False
        """Whether a judge has given an answer that could be read."""
        super().__init__(path)

    def keep(self, record: dict[str, Any]) -> None:
        reading = self._reading(record, len(self.records) + 1)
        super().keep(record)
        self.requests += reading.requests
        self.read |= reading.kind == READ
        if not reading.failed:
            self.readings[str(record.get("key"))] = reading

    def check(self) -> None:
        others = {str(one.get("pair")) for one in self.records} - set(self.pairs)
        if others:
            raise UserError(
                f"{self.path} has calls about {len(others):,} pairs that are not in the data: choose another --out, or "
                "give the data that it was begun with"
            )

    def add(self, call: Call, reading: Reading) -> None:
        """Write what was read; when this returns, it is on disk."""
        found = {"key": call.key, "pair": call.pair.key, "row": call.pair.row, "order": call.order}
        found |= {"principle": call.principle, "judge": call.judge, "outcome": reading.kind}
        found |= {"logprobs": None if reading.logprobs is None else list(reading.logprobs)}
        found |= {"problem": reading.problem, "requests": reading.requests}
        self.append(found | {"time": datetime.now(UTC).isoformat(timespec="seconds")})

    def _reading(self, record: dict[str, Any], line: int) -> Reading:
        logprobs, outcome, requests = (record.get(key) for key in ("logprobs", "outcome", "requests"))
        numbers = logprobs if isinstance(logprobs, list) else []
        read = len(numbers) == 2 and all(is_number(one) for one in numbers)
        fine = read if outcome == READ else outcome in (UNREAD, FAILED) and logprobs is None
        if not fine or type(requests) is not int:
            raise UserError(f"{self.path}, call {line}: is not one: remove the line, or choose another --out")
        pair = (float(numbers[0]), float(numbers[1])) if read else None
        return Reading(pair, str(record.get("problem") or ""), requests, outcome == FAILED)
