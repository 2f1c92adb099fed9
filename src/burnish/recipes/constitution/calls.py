"""The calls of a model: what is asked, and a file of all answers, so that nothing is asked twice."""

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from burnish.evaluation.readings import FAILED, READ, UNREAD, Reading, not_logprobs, number_of
from burnish.options import is_number
from burnish.recipes.journal import Journal
from burnish.recipes.label.pairs import blocks
from burnish.run import UserError

ENDING = ".calls.jsonl"
FEEDBACK, SUPERVISED = "feedback", "supervised"
ABOUT = {FEEDBACK: "pair", SUPERVISED: "prompt"}
"""The parts of the command, and what each call of theirs is about."""
OPTIONS, TEXT = "options", "text"
"""What an answer is: log-probabilities of two option tokens, or a text."""


class Call(Protocol):
    """Protocol of one question to a model."""

    @property
    def wants(self) -> str:
        """OPTIONS or TEXT."""
        ...

    @property
    def asked(self) -> Any:
        """The question, as who answers it takes it."""
        ...

    @property
    def key(self) -> str:
        """A checksum of who answers and what is asked: equal calls have equal answers."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says about the call, beside the answer: `judge` or `model` is the identity of who answers."""
        ...


def key_of(*content: Any) -> str:
    """The key of a call with this content."""
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:32]


def spoken(value: Any) -> str:
    """A prompt or an answer as text; where it has several messages, a paragraph for each begins with the role."""
    return "\n\n".join(one["text"] if one["role"] is None else f"{one['role']}: {one['text']}" for one in blocks(value))


class CallFile(Journal):
    """The calls of a `part` in a file, see `Journal`; each has the key of the pair or prompt that it is about. Raises
    UserError also where one is of the other part, or about none of the `known` keys: then the file is that of another
    data set."""

    command, record, remedy = "burnish constitution", "a call", "make room there, and give the command again"

    def __init__(self, path: str | Path, known: Collection[str], part: str = FEEDBACK) -> None:
        self.known, self.part, self.about = known, part, ABOUT[part]
        self.readings: dict[str, Reading] = {}
        self.requests = 0
        """How often a model was asked in all, failures included."""
        self.tokens = 0
        """How many tokens servers say that this took."""
        self.read: set[tuple[str, str]] = set()
        """Which of OPTIONS and TEXT the model of an identity has given at least once."""
        super().__init__(path)

    def keep(self, record: dict[str, Any]) -> None:
        reading = self._reading(record, len(self.records) + 1)
        super().keep(record)
        self.requests += reading.requests
        self.tokens += reading.tokens or 0
        if reading.kind == READ:
            who = str(record.get("judge", record.get("model")))
            self.read.add((TEXT if reading.logprobs is None else OPTIONS, who))
        if not reading.failed:
            self.readings[str(record.get("key"))] = reading

    def check(self) -> None:
        for part, about in ABOUT.items():
            if part != self.part and any(about in one for one in self.records):
                raise UserError(f"{self.path} has calls of --part {part}: choose another --out, or give that part")
        others = {str(one.get(self.about)) for one in self.records} - set(self.known)
        if others:
            raise UserError(
                f"{self.path} has calls about {len(others):,} {self.about}s that are not in the data: choose another "
                "--out, or give the data that it was begun with"
            )

    def add(self, call: Call, reading: Reading) -> None:
        """Write what was read; when this returns, it is on disk."""
        found: dict[str, Any] = {"key": call.key} | call.facts | {"outcome": reading.kind}
        if call.wants == OPTIONS:
            found["logprobs"] = None if reading.logprobs is None else list(reading.logprobs)
        else:
            found["text"] = reading.text
        found |= {"problem": reading.problem, "requests": reading.requests, "tokens": reading.tokens}
        self.append(found | {"time": datetime.now(UTC).isoformat(timespec="seconds")})

    def _reading(self, record: dict[str, Any], line: int) -> Reading:
        logprobs, text, outcome, requests = (record.get(key) for key in ("logprobs", "text", "outcome", "requests"))
        numbers = logprobs if isinstance(logprobs, list) else []
        pair = len(numbers) == 2 and all(is_number(one) for one in numbers)
        has_text, problem = isinstance(text, str), str(record.get("problem") or "")
        if outcome == READ:
            fine = pair != has_text and not problem
        else:
            fine = outcome in (UNREAD, FAILED) and logprobs is None and (text is None or has_text)
        tokens = record.get("tokens")
        if not fine or type(requests) is not int or (tokens is not None and (type(tokens) is not int or tokens < 0)):
            raise UserError(f"{self.path}, call {line}: is not one: remove the line, or choose another --out")
        both = (number_of(numbers[0]), number_of(numbers[1])) if pair else None
        if both is not None and (problem := not_logprobs(*both)):
            both = None
        return Reading(both, problem, requests, outcome == FAILED, text=text, tokens=tokens)
