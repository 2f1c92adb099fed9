"""A tokenised data set: ids and masks in an Arrow table, batches as padded tensors."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint

from burnish.batches import Demonstrations, Feedback, Preferences
from burnish.data.walk import Plan

T = TypeVar("T")
CHUNK = 1000  # rows that are tokenised and stored at once
KINDS = {"demonstrations": b"demonstrations", "preferences": b"comparisons", "feedback": b"feedback"}
"""The kinds of data, with their names in fingerprints."""

NUMBERS = {"margin": pa.float64(), "confidence": pa.float64(), "desirable": pa.bool_()}
"""The optional columns, which a data set has if its rows have a value for them."""

LEFT_OUT = {
    "dropped": "dropped because no response token is left",
    "formatting_only": "dropped because only formatting tokens are left",
    "untrained": "dropped because none of their turns is to be trained",
    "unpaired": "dropped because no other row is there to pair with",
    "ties": "prompts skipped because their ratings are equal",
    "alone": "prompts skipped because they have one response",
    "between": "responses skipped that are neither best nor worst",
    "even": "pairs skipped because their votes are even",
    "bad": "pairs skipped because both answers are bad",
    "skipped": "pairs skipped by everybody",
    "empty": "skipped because an answer is empty",
    "unclear": "responses skipped because their votes are even, or none calls them good or bad",
    "held_out": "rows held out",
    "truncated_prompts": "prompts cut on the left",
    "truncated_responses": "responses cut on the right",
    "long_prompts": "with a prompt longer than the limit",
    "equal": "with equal responses",
    "no_thought": "answers without a thought, trained behind an empty one, because the generation prompt opens it",
}
"""The counts in words, for messages."""


@dataclass(frozen=True)
class Response:
    """One response as the model sees it: the ids of prompt and response, with `mask` True on trained ids."""

    tokens: list[int]
    mask: list[bool]


@dataclass(frozen=True)
class Row:
    """One row: its position in the user's data, its responses, best first, and their labels.

    The first `start` ids of every response are the prompt's, of which `cut` are left out at the beginning.
    """

    row: int
    responses: list[Response]
    margin: float | None = None
    confidence: float | None = None
    desirable: bool | None = None
    start: int = 0
    cut: int = 0


@dataclass(frozen=True)
class Tokenised:
    """A tokenised data set, from which batches are taken.

    `dataset` has the columns `tokens` (a list of ids, or a list of such lists, best response first), `mask` (the same
    shape, True on trained ids) and `row` (the position in the user's data), and optionally `margin`, `confidence` and
    `desirable`; feedback has `start`, the length of the row's prompt, and `cut`, how much of it is left out. `kind` is
    demonstrations, preferences or feedback. `counts` has the numbers of rows used, truncated and dropped; `fingerprint`
    is the SHA-256 of all ids, masks, lengths and numbers in order. `unread` are the columns of the user's data that
    nothing reads. A mixture has a plan of its parts (`mixed`) and a summary of its own. `format` names how the
    rows were read, and a row of the user's data is `per_row` rows here.
    """

    dataset: Dataset
    counts: dict[str, int]
    fingerprint: str
    name: str
    columns: tuple[str, ...]
    kind: str
    unread: tuple[str, ...] = ()
    mixed: Plan | None = None
    summary: str | None = None
    format: str = ""
    per_row: int = 1

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def plan(self) -> Plan:
        """The rows of an epoch: all of them, unless a mixture has weights."""
        return self.mixed or Plan((len(self),))

    def by_length(self, batch_size: int) -> "Tokenised":
        """The same rows, walked in batches whose longest texts have about the same number of tokens."""
        texts = self.dataset.with_format("arrow")[:]["tokens"].combine_chunks()
        if self.kind == "demonstrations":
            lengths = texts.value_lengths().to_numpy()
        else:
            each, starts = texts.flatten().value_lengths().to_numpy(), texts.value_lengths().to_numpy().cumsum()
            lengths = np.maximum.reduceat(each, np.concatenate([[0], starts[:-1]]))
        return replace(self, mixed=replace(self.plan, lengths=tuple(lengths.tolist()), batch_size=batch_size))

    @property
    def largest_group(self) -> int:
        """The largest number of responses in a row."""
        return self.counts["largest_group"]

    @property
    def largest_token(self) -> tuple[int, int]:
        """The largest id, and the position in the user's data of the first row with it."""
        table = self.dataset.with_format("arrow")[:]
        ids, ends = table["tokens"].combine_chunks(), []
        while pa.types.is_list(ids.type):  # a row of texts, or of responses with their texts
            ends.append(ids.value_lengths().to_numpy().cumsum())
            ids = ids.flatten()
        place = ids.to_numpy().argmax()
        largest = int(ids[place].as_py())
        for inner in reversed(ends):
            place = inner.searchsorted(place, side="right")
        return largest, table["row"][int(place)].as_py()

    def batch(self, indices: Sequence[int] | torch.Tensor) -> Demonstrations | Preferences | Feedback:
        """The rows at `indices`, padded on the right with id 0 and mask False to the longest of them.

        Rows with fewer responses than others are filled with empty responses, of length 0, at the end.
        """
        chosen = indices.tolist() if isinstance(indices, torch.Tensor) else list(indices)
        if not chosen:
            raise ValueError("a batch needs at least one row")
        table = self.dataset.with_format("arrow")[chosen]
        texts, trained = table["tokens"].combine_chunks(), table["mask"].combine_chunks()
        there = np.ones(len(chosen), dtype=bool)
        if self.kind != "demonstrations":
            groups = texts.value_lengths().to_numpy()
            there = np.arange(groups.max()) < groups[:, None]
            texts, trained = texts.flatten(), trained.flatten()
        sizes = np.zeros(there.shape, dtype=np.int64)
        sizes[there] = texts.value_lengths().to_numpy()
        real = np.arange(sizes.max()) < sizes[..., None]
        ids, masked = np.zeros(real.shape, dtype=np.int64), np.zeros(real.shape, dtype=bool)
        ids[real] = texts.flatten().to_numpy()
        masked[real] = trained.flatten().to_numpy(zero_copy_only=False)
        tokens, mask, lengths = (torch.from_numpy(array) for array in (ids, masked, sizes))
        rows = torch.from_numpy(table["row"].to_numpy().astype(np.int64))
        labels = {
            name: torch.tensor(table[name].to_pylist(), dtype=torch.bool if name == "desirable" else torch.float32)
            for name in NUMBERS
            if name in table.column_names
        }
        if self.kind == "demonstrations":
            return Demonstrations(tokens, mask, lengths, rows)
        if self.kind == "feedback":
            return Feedback(tokens, mask, lengths, rows, labels["desirable"])
        return Preferences(tokens, mask, lengths, rows, labels.get("margin"), labels.get("confidence"))

    def describe(self) -> str:
        """A line for the terminal: name, rows used, rows truncated and dropped, and tokens.

        A mixture has one line per part.
        """
        if self.summary is not None:
            return self.summary
        counts = self.counts
        parts = [f"{counts['used']:,} of {counts['rows']:,} rows used"]
        parts += [f"{counts[key]:,} {words}" for key, words in LEFT_OUT.items() if counts.get(key)]
        parts += rewritten(counts)
        parts.append(f"{counts['tokens']:,} tokens, {counts['trained_tokens']:,} of them trained")
        if self.unread:
            parts.append(f"not read: {', '.join(f'`{column}`' for column in self.unread)}")
        return f"{self.name} ({' + '.join(self.columns)}): {', '.join(parts)}"


def rewritten(counts: Mapping[str, int]) -> list[str]:
    """What a chat template did with conversations, in words: rows per answer, and messages that it leaves out."""
    parts = []
    if several := counts.get("rewritten"):
        parts.append(
            f"{several:,} conversations as {counts['answers']:,} rows, one per answer, because the chat template "
            "rewrites earlier turns"
        )
    roles = [(key.removeprefix("without_"), number) for key, number in counts.items() if key.startswith("without_")]
    parts += [f"{number:,} with a {role} message that the chat template leaves out" for role, number in sorted(roles)]
    return parts


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of at most `CHUNK`, read lazily."""
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


class _Fingerprint:
    """SHA-256 of ids, masks and lengths, each in its own stream, so that the batch size does not matter."""

    def __init__(self) -> None:
        self._streams = [hashlib.sha256() for _ in range(3)]

    def update(self, ids: np.ndarray, mask: np.ndarray, lengths: np.ndarray) -> None:
        for stream, values, kind in zip(self._streams, (ids, mask, lengths), ("<i4", "u1", "<i8"), strict=True):
            stream.update(values.astype(kind).tobytes())

    def hexdigest(self, kind: str, numbers: dict[str, np.ndarray]) -> str:
        digest = hashlib.sha256(KINDS[kind] + b"".join(stream.digest() for stream in self._streams))
        for name, values in numbers.items():
            digest.update(name.encode() + hashlib.sha256(values.tobytes()).digest())
        return digest.hexdigest()


def collect(batches: Iterable[list[Row]], kind: str) -> tuple[Dataset, dict[str, int], str]:
    """Store rows in a data set in memory; also returns the numbers of tokens and the fingerprint."""
    fingerprint = _Fingerprint()
    counts = {"tokens": 0, "trained_tokens": 0}
    tables, labels, sizes = [], [], [0]
    for batch in chain(batches, [[]]):  # the empty batch gives the columns their types if there are no rows
        responses = [response for row in batch for response in row.responses]
        ids = np.fromiter(chain.from_iterable(r.tokens for r in responses), dtype=np.int32)
        mask = np.fromiter(chain.from_iterable(r.mask for r in responses), dtype=bool)
        lengths = np.array([len(r.tokens) for r in responses], dtype=np.int64)
        fingerprint.update(ids, mask, lengths)
        counts["tokens"] += ids.size
        counts["trained_tokens"] += int(mask.sum())
        columns = [_lists(pa.array(values), lengths) for values in (ids, mask)]
        if kind != "demonstrations":
            groups = np.array([len(row.responses) for row in batch], dtype=np.int64)
            columns = [_lists(column, groups) for column in columns]
            sizes += groups.tolist()
        named = dict(zip(("tokens", "mask"), columns, strict=True))
        named["row"] = pa.array([row.row for row in batch], type=pa.int64())
        if kind == "feedback":
            named["start"] = pa.array([row.start for row in batch], type=pa.int64())
            named["cut"] = pa.array([row.cut for row in batch], type=pa.int64())
        tables.append(pa.table(named))
        labels += [(row.margin, row.confidence, row.desirable) for row in batch]
    table = pa.concat_tables(tables)
    numbers: dict[str, np.ndarray] = {}
    for (name, type_), values in zip(NUMBERS.items(), zip(*labels, strict=True), strict=False):
        if any(value is not None for value in values):
            numbers[name] = np.array(values, dtype=bool if name == "desirable" else "<f8")
            table = table.append_column(name, pa.array(values, type=type_))
    if set(sizes[1:]) - {2}:  # the lengths of responses do not say where rows end
        numbers["groups"] = np.array(sizes[1:], dtype="<i8")
    dataset = Dataset(table, fingerprint=generate_random_fingerprint())  # its own would hash all rows once more
    return dataset, counts | {"largest_group": max(sizes)}, fingerprint.hexdigest(kind, numbers)


def _lists(values: pa.Array, lengths: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], lengths.cumsum()]).astype(np.int32)), values)
