"""Pairs of answers to label: read from a data file, with a checksum that says whether labels are of these pairs."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.data.beside import KEYS, MEANS
from burnish.data.labels import VOTES, pair_key
from burnish.options import is_number
from burnish.run import UserError, without_keys

BUILTIN = "builtin"
"""The name of the built-in comparisons, the held-out ones."""

SIDES = (("a", "b"), ("response_a", "response_b"), ("answer_a", "answer_b"))
"""Names of the columns with the two answers, beside those of comparisons."""

LISTS = (("responses",), ("completions",))
"""Names of a column with both answers as a list."""


@dataclass(frozen=True)
class Pair:
    """A prompt with two answers, text or lists of messages, from a row of the data set `source`; `options` are the
    row's keywords for the chat template.

    `votes` are those of each rater who compared the answers: 1 for a, 0 for b, ½ for a tie, or the mean of several.
    Comparisons have one, for the chosen answer, which is a. `gap` is how far apart the means of all raters are and
    `strength` by how much one answer is better, the mean of what raters say, from 0 to 3, if the data tell them.
    """

    row: int
    prompt: Any
    a: Any
    b: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    votes: tuple[float, ...] = ()
    gap: float | None = None
    strength: float | None = None

    @property
    def key(self) -> str:
        return pair_key(self.prompt, self.a, self.b)


def checksum(pairs: Sequence[Pair]) -> str:
    """SHA-256 of all pairs in their order."""
    return hashlib.sha256("".join(pair.key for pair in pairs).encode()).hexdigest()


def different(pairs: Iterable[Pair], key: Callable[[Pair], str] = lambda pair: pair.key) -> list[Pair]:
    """The pairs whose answers differ, each once: of those with the same `key` the first."""
    found: dict[str, Pair] = {}
    for pair in pairs:
        if pair.a != pair.b:
            found.setdefault(key(pair), pair)
    return list(found.values())


def pairs_in(data: Any, limit: int | None = None, left_out: Counter[str] | None = None) -> list[Pair]:
    """The pairs of a data set that has the answers: in columns of their own, as a list of two, or as comparisons in any
    format that training reads, where `left_out` counts by reason what is none; "builtin" are the held-out ones. Labels
    of `burnish label` give each pair once. Raises UserError, naming the row, for a prompt without two answers; labels
    of an empty one are left out where it is counted."""
    from burnish.data import builtin, sources

    if isinstance(data, str) and data == BUILTIN:
        parts = [(BUILTIN, sources.load(builtin.comparisons("held_out"), row_limit=limit))]
    else:
        parts = sources.load_parts(data, limit)
    return [pair for name, dataset in parts for pair in _pairs(dataset, name, left_out)]


def _pairs(dataset: Any, name: str, left_out: Counter[str] | None) -> Iterator[Pair]:
    from burnish.data import adapters, cells

    names = set(dataset.column_names)
    columns = next((one for one in (*SIDES, *LISTS) if {"prompt", *one} <= names), None)
    beside = tuple(key for key in KEYS if key in names)
    if set(VOTES) <= names:
        yield from _voted(dataset, name, beside, left_out)
        return
    if columns is not None:
        for number, row in cells.rows(dataset, ("prompt", *columns, *beside)):
            yield _pair_of(row, columns, number, name, keywords(row, beside))
        return
    if not adapters.are_comparisons(dataset):
        lacking = "has prompts without answers" if "prompt" in names else "has no pairs of answers"
        raise UserError(
            f"{name} {lacking} (its columns are {', '.join(sorted(names))}): give the columns `prompt`, `a` and `b`, "
            "or models that write the answers, burnish label A B --data PROMPTS"
        )
    means = MEANS if set(MEANS) <= names else ()
    rows = dict(cells.rows(dataset, (*beside, *means))) if beside or means else {}
    reading = adapters.preferences(dataset, name, chat=True)
    for one in reading.examples:
        a, b = one.responses
        row = rows.get(one.row, {})
        gap = gap_of([row[m] for m in means])
        yield Pair(one.row, one.prompt, a, b, keywords(row, beside), without_keys(name), (1.0,), gap)
    if left_out is not None:
        left_out.update(reading.left_out)


def _voted(dataset: Any, name: str, beside: Sequence[str], left_out: Counter[str] | None) -> Iterator[Pair]:
    """The pairs of labels, in the order of their first votes."""
    from burnish.data import labels
    from burnish.data.dialogues import Source

    source = Source(dataset, name)
    rows, found = labels.read(source, beside)
    strengths = labels.have_strengths(source, found)
    for one in found:
        row = rows[one.row]
        if left_out is not None and not (row["a"] and row["b"]):
            left_out["empty"] += 1
            continue
        strength = abs(one.margin) if strengths and one.margin is not None else None
        pair = _pair_of(row, ("a", "b"), one.row, name, keywords(row, beside))
        yield replace(pair, votes=tuple(labels.by_rater(one.votes)), strength=strength)


def gap_of(means: Sequence[Any]) -> float | None:
    """How far apart two means are; None where there are none."""
    numbers = [float(one) for one in means if is_number(one) and math.isfinite(one)]
    return abs(numbers[0] - numbers[1]) if len(numbers) == 2 else None


def keywords(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What a row has in these columns."""
    return {name: row[name] for name in names if row.get(name) not in (None, "", [])}


def _pair_of(
    row: Mapping[str, Any], columns: Sequence[str], number: int, name: str, options: Mapping[str, Any]
) -> Pair:
    """The pair of a row with its answers in these columns, or as a list in the only one."""
    from burnish.data import cells, formats

    where = f"{name}, row {number}"
    given = row[columns[0]] if len(columns) == 1 else [row[column] for column in columns]
    answers = given if isinstance(given, list) else []
    has = sum(one not in (None, "", []) for one in answers)
    if len(answers) != 2 or has != 2:
        count = {0: "no answer", 1: "one answer"}.get(has, f"{has} answers")
        raise UserError(f"{where}: the prompt has {count}, and two are needed; add them, or remove the row.")
    places = [f"{where}: column `{columns[min(i, len(columns) - 1)]}`" for i in range(2)]
    prompt = cells.value(row["prompt"], f"{where}: column `prompt`", may_be_empty=True)
    read = [cells.value(one, at) for one, at in zip(answers, places, strict=True)]
    made = formats.explicit(number, prompt, read, places)
    a, b = made.responses
    return Pair(number, made.prompt, a, b, options, without_keys(name))


def blocks(value: Any) -> list[dict[str, Any]]:
    """A text or a conversation as what the page shows: texts, each with its role, or None where there is only one."""
    if isinstance(value, str):
        return [{"role": None, "text": value}]
    found = [one for message in value for one in parts(message)]
    alone = len(found) == 1 and found[0]["role"] == "assistant"
    return [one | {"role": None} for one in found] if alone else found


def parts(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The texts of one message: its thought, its content, and calls of tools as JSON."""
    role = str(message["role"])
    if thought := message.get("reasoning_content"):
        yield {"role": f"{role}, thinking", "text": str(thought)}
    content = message.get("content")
    calls = [message[key] for key in ("tool_calls", "function_call") if message.get(key)]
    if content or not calls:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
        yield {"role": role, "text": text, "code": not isinstance(content, str)}
    for call in calls:
        yield {"role": f"{role}, calls a tool", "text": json.dumps(call, ensure_ascii=False, indent=2), "code": True}
