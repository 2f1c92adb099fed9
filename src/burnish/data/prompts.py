"""Prompts to sample from: their ids, and the other columns of the user's rows for reward functions.

Importing this module imports neither transformers nor datasets, so that a command can use `Prompts` without loading
them: they are imported by `read_prompts`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from burnish.data.walk import Plan

if TYPE_CHECKING:
    import datasets
    import transformers

    from burnish.data.holdout import Holdout
    from burnish.data.rendering import Rendering

UNCUT = 2**31


@dataclass(frozen=True)
class Prompts:
    """Tokenised prompts in the order of the data; each list has one entry per row.

    `ids` are what the model continues, truncated on the left; `prompts` are as the user wrote them, text or messages;
    `columns` are all other columns, and `rows` the positions in the data. `counts` has the numbers of `rows`,
    `truncated_prompts` and `tokens`; `fingerprint` is the SHA-256 of ids, prompts and columns in order. A mixture has a
    plan of its parts and a summary of its own.
    """

    ids: list[list[int]]
    prompts: list[Any]
    columns: dict[str, list[Any]]
    rows: list[int]
    counts: dict[str, int]
    fingerprint: str
    name: str
    mixed: Plan | None = None
    summary: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def plan(self) -> Plan:
        """The prompts of an epoch: all of them, unless a mixture has weights."""
        return self.mixed or Plan((len(self),))

    @property
    def largest_token(self) -> tuple[int, int]:
        """The largest id, and the position in the data of the first row with it."""
        largest = [max(ids) for ids in self.ids]
        return max(largest), self.rows[largest.index(max(largest))]

    def describe(self) -> str:
        """One line for the terminal: name, number of prompts, number truncated, tokens, and columns for rewards.

        A mixture has one line per part.
        """
        if self.summary is not None:
            return self.summary
        parts = [f"{self.counts['rows']:,} prompts"]
        if cut := self.counts["truncated_prompts"]:
            parts.append(f"{cut:,} cut on the left")
        if held := self.counts.get("held_out"):
            parts.append(f"{held:,} more held out")
        parts.append(f"{self.counts['tokens']:,} tokens")
        if self.columns:
            parts.append(f"columns for rewards: {' + '.join(self.columns)}")
        return f"{self.name}: {', '.join(parts)}"


def read_prompts(
    dataset: "datasets.Dataset",
    tokenizer: "transformers.PreTrainedTokenizerBase",
    max_length: int,
    name: str,
    how: "Rendering | None" = None,
    only: "Holdout | None" = None,
) -> Prompts:
    """The prompts of a data set, rendered up to where the answer begins, each at most `max_length` ids.

    They are the column `prompt`, or in demonstrations and comparisons the part before the responses; the responses
    remain as columns if they have columns of their own. Raises UserError if the data set has no prompts, and, naming
    the row, for a prompt that cannot be read or has no ids.
    """
    from burnish.data import tokenise
    from burnish.data.columns import column
    from burnish.data.encode import check_length
    from burnish.data.fit import cut_left

    check_length(max_length)
    reading = tokenise.read("prompts", dataset, tokenizer, name, only)
    used, examples = reading.columns, list(reading.examples)
    written = [example.prompt for example in examples]
    options = [example.template_options for example in examples]
    whole = tokenise.prompts(written, tokenizer, UNCUT, name, options, how or tokenise.USUAL)
    ids = [cut_left(one, max_length, tokenizer.bos_token_id) for one in whole]
    rows = [example.row for example in examples]
    others = dataset if only is None else dataset.select(rows)
    columns = {name: column(others, name) for name in dataset.column_names if name not in used}
    counts = {
        "rows": len(ids),
        "truncated_prompts": sum(len(a) < len(b) for a, b in zip(ids, whole, strict=True)),
        "tokens": sum(map(len, ids)),
    }
    if held := reading.left_out["held_out"]:
        counts["held_out"] = held
    return Prompts(ids, written, columns, rows, counts, fingerprint(ids, written, columns), name)


def fingerprint(ids: list[list[int]], written: Sequence[Any], columns: dict[str, list[Any]]) -> str:
    """SHA-256 of everything that sampling and rewards see: it changes with order, truncation and any value."""
    digest = hashlib.sha256(b"prompts")
    digest.update(np.array([len(row) for row in ids], dtype="<i8").tobytes())
    digest.update(np.array([token for row in ids for token in row], dtype="<i4").tobytes())
    rows = json.dumps([list(written), columns], sort_keys=True, ensure_ascii=True, default=as_text)
    return hashlib.sha256(digest.digest() + rows.encode()).hexdigest()


def as_text(value: Any) -> str:
    """A value that JSON cannot represent as text: dates and bytes as their `repr`, other objects as their type's name.

    The `repr` of an arbitrary object may contain its address, which differs between processes.
    """
    known = isinstance(value, bytes) or type(value).__module__ in ("datetime", "decimal", "uuid")
    return repr(value) if known else type(value).__qualname__
