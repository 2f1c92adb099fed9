"""Streamed data sets: read and tokenised in blocks while a run goes on, so that only one block is in memory.

The rows of a block are shuffled within windows of `shuffle_buffer` rows. After its last row a data set begins again,
in another order. A batch depends on the seed and on the position that the batch before it left, nothing else.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from datasets import Dataset

from burnish.data.labels import VOTES
from burnish.data.mixture import joined_rows
from burnish.data.sources import rows_to_dataset
from burnish.data.streams import Table
from burnish.data.tokenised import CHUNK, Tokenised
from burnish.data.walk import Plan, ReadError
from burnish.run import UserError

Tokenise = Callable[[Dataset, str | None], Tokenised]
"""Tokenises a block in the format of the first block of its data set; that block itself is given None and decides."""


@dataclass(frozen=True)
class Block:
    """Tokenised rows, the first of which is row `first` of the data."""

    rows: Tokenised
    first: int
    size: int


@dataclass
class Stream:
    """One streamed data set; `start` is its first block, which decides its columns and format."""

    name: str
    table: Table
    tokenise: Tokenise
    size: int = CHUNK
    start: Block = field(init=False)
    keys: list[str] = field(init=False)

    def __post_init__(self) -> None:
        rows = list(islice(self.table.rows(0), self.size))
        if not rows:
            raise UserError(f"{self.name} has no rows; use a data set with at least one.")
        self.keys = list(dict.fromkeys(key for row in rows for key in row))
        self.start = Block(self.tokenise(rows_to_dataset(rows, self.name), None), 0, len(rows))
        columns = self.start.rows.columns
        if columns[:2] == ("prompt", "response") or columns[: len(VOTES)] == VOTES:
            what = "votes on a pair" if "verdict" in columns else "ratings of a prompt's responses"
            raise UserError(
                f"{self.name}: the {what} may lie anywhere in the data, which cannot be "
                "streamed; leave out --streaming."
            )

    def length(self) -> int | None:
        """The rows of a pass, as many of each block as of the first; None for data on the hub."""
        count = self.table.count()
        return None if count is None else max(1, round(count * len(self.start.rows) / self.start.size))

    def blocks(self, first: int) -> Iterator[Block]:
        """The blocks of one pass from row `first` on."""
        if first == 0:
            yield self.start
            first = self.start.size
        rows = self.table.rows(first)
        while True:
            try:
                self.table.check()
                if not (block := list(islice(rows, self.size))):
                    return
                yield self._block(block, first)
            except UserError as error:
                raise ReadError(numbered(str(error), self.name, first)) from error
            first += len(block)

    def _block(self, rows: list[dict[str, Any]], first: int) -> Block:
        for number, row in enumerate(rows):
            if new := row.keys() - set(self.keys):
                raise UserError(
                    f"{self.name}, row {number}: has the column `{min(new)}`, which none of the first "
                    f"{self.start.size:,} rows has; give one of them that column, empty, or leave out --streaming."
                )
        whole = [{key: row.get(key) for key in self.keys} for row in rows]
        begun = self.start.rows
        found = self.tokenise(rows_to_dataset(whole, self.name), begun.format)
        here, there = ("margin" in one.dataset.column_names for one in (found, begun))
        if here != there and len(found):
            have, lack = (f"the {len(rows):,} rows from row {first} on", "the first rows")[:: 1 if here else -1]
            raise UserError(f"{self.name}: {have} have margins or scores, but {lack} have none; give all rows one.")
        return Block(found, first, len(rows))


@dataclass
class Streamed:
    """Streamed data sets as an endless walk; several are interleaved by `weights`.

    `position` is where the walk is, in numbers that a checkpoint can hold. `plan` has the rows of a pass where they
    were counted.
    """

    streams: Sequence[Stream]
    weights: Sequence[float]
    name: str
    seed: int
    shuffle_buffer: int
    plan: Plan | None = None
    position: dict[str, float] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the first blocks' ids: a change further on in the data is not in it."""
        first = [stream.start.rows.fingerprint for stream in self.streams]
        return hashlib.sha256(json.dumps([first, list(self.weights)]).encode()).hexdigest()

    @property
    def files_digest(self) -> str | None:
        """SHA-256 of all local files, see `Table.digest`; None where there are none."""
        found = [stream.table.digest() for stream in self.streams]
        return hashlib.sha256(json.dumps(found).encode()).hexdigest() if any(found) else None

    @property
    def counts(self) -> dict[str, int]:
        """The counts of all rows in the blocks that were read up to the position."""
        total: Counter[str] = Counter()
        for part in range(len(self.streams)):
            total.update(self._counts(part))
        return dict(total)

    @property
    def progress(self) -> dict[str, float]:
        """How many rows were read up to the position, and how many of them dropped, for the metrics."""
        read, used = (float(self.counts[key]) for key in ("rows", "used"))
        return {"rows_read": read, "rows_dropped": read - used}

    def describe(self) -> str:
        """A line per data set about its first block."""
        return "\n".join(
            f"{stream.start.rows.describe()}, among the first {stream.start.size:,} rows; streamed"
            for stream in self.streams
        )

    def describe_read(self) -> str:
        """A line per data set about all rows that were read."""
        return "\n".join(
            f"read up to here: {replace(stream.start.rows, counts=self._counts(part)).describe()}"
            for part, stream in enumerate(self.streams)
        )

    def batches(self, batch_size: int, position: dict[str, float]) -> Iterator[tuple[Any, dict[str, float]]]:
        """Endless batches from a position on, each with the position after it."""
        self.position = dict(position)
        return self._batches(batch_size)

    def _batches(self, batch_size: int) -> Iterator[tuple[Any, dict[str, float]]]:
        walks = [self._walk(part) for part in range(len(self.streams))]
        while True:
            drawn = [next(walks[self._next_part()]) for _ in range(batch_size)]
            # Equal neighbours are looked up at once: a batch has one table per block, not one per row.
            blocks = list({id(block): block for block, _ in drawn}.values())
            pieces = [[index for block, index in drawn if block is one] for one in blocks]
            parts = [
                replace(block.rows, dataset=block.rows.dataset.select(chosen))
                for block, chosen in zip(blocks, pieces, strict=True)
            ]
            starts = [block.first * block.rows.per_row for block in blocks]
            rows = replace(parts[0], dataset=joined_rows(parts, starts))
            yield rows.batch(range(batch_size)), dict(self.position)

    def _next_part(self) -> int:
        """The part that is furthest behind its share: argmaxₚ wₚ·(t + 1)/Σw − takenₚ."""
        if not self.weights:
            return 0
        taken = [self.position.get(f"{part}/taken", 0.0) for part in range(len(self.streams))]
        row = (sum(taken) + 1) / sum(self.weights)
        part = int(np.argmax([weight * row - had for weight, had in zip(self.weights, taken, strict=True)]))
        self.position[f"{part}/taken"] = taken[part] + 1
        return part

    def _walk(self, part: int) -> Iterator[tuple[Block, int]]:
        """Endless rows of one data set, as a block and an index; keeps the position."""
        at, stream = self.position, self.streams[part]
        keys = [f"{part}/{key}" for key in ("pass", "row", "used")]
        number, row, used = (int(at.get(key, 0)) for key in keys)
        counted = f"{part}/counted/"
        is_new = not any(key.startswith(counted) for key in at)
        while True:
            for block in stream.blocks(row):
                if is_new:
                    for key, count in block.rows.counts.items():
                        if key != "largest_group":
                            at[counted + key] = at.get(counted + key, 0.0) + count
                is_new = True
                order = windows(len(block.rows), self.shuffle_buffer, (self.seed, part, number, block.first))
                for index in order[used:]:
                    used += 1
                    at.update(zip(keys, map(float, (number, block.first, used)), strict=True))
                    yield block, index
                used = 0
            number, row = number + 1, 0

    def _counts(self, part: int) -> dict[str, int]:
        counted = f"{part}/counted/"
        return {key.removeprefix(counted): int(n) for key, n in self.position.items() if key.startswith(counted)}


def windows(rows: int, window: int, seed: tuple[int, ...]) -> list[int]:
    """The numbers below `rows`, shuffled within consecutive windows."""
    random = np.random.default_rng(seed)
    starts = range(0, rows, window)
    return [int(row) for start in starts for row in start + random.permutation(min(window, rows - start))]


def numbered(sentence: str, name: str, first: int) -> str:
    """An error about a row of a block, with the row's number in the data."""
    return re.sub(rf"^({re.escape(name)}, row )(\d+)", lambda at: f"{at[1]}{int(at[2]) + first}", sentence)
