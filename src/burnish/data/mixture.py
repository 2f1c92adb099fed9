"""Several tokenised data sets as one. Each part was read by the format of its own columns, under its own name.

The rows of the parts lie one after the other and are numbered through: a part begins where the one before it ends.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, chain

import pyarrow as pa
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from burnish.data.holdout import Holdout
from burnish.data.prompts import Prompts, read_prompts
from burnish.data.tokenised import NUMBERS, Tokenised
from burnish.data.walk import Plan


def combined(parts: Sequence[Tokenised], weights: Sequence[float], name: str) -> Tokenised:
    """One data set of several of the same kind; without weights they are concatenated, see `Plan`."""
    if len(parts) == 1:
        return parts[0]
    sizes = [part.counts["rows"] + part.counts.get("held_out", 0) for part in parts]
    starts = first_rows([max(size, max(part.dataset["row"][:]) + 1) for part, size in zip(parts, sizes, strict=True)])
    counts = _sum(parts) | {"largest_group": max(part.largest_group for part in parts)}
    plan = Plan(tuple(map(len, parts)), tuple(weights))
    return Tokenised(
        joined_rows(parts, starts),
        counts,
        _fingerprint(parts, weights),
        name,
        tuple(dict.fromkeys(chain.from_iterable(part.columns for part in parts))),
        parts[0].kind,
        mixed=plan,
        summary=_summary(parts, starts, plan),
    )


def joined_rows(parts: Sequence[Tokenised], starts: Sequence[int]) -> Dataset:
    """The rows of all parts, one part after the other; those of a part are numbered from its start.

    A pair without a confidence has confidence 1. Margins are kept if every part has them.
    """
    found = {column for part in parts for column in part.dataset.column_names}
    labels = [label for label in NUMBERS if label in found]
    if not all("margin" in part.dataset.column_names for part in parts):
        labels = [label for label in labels if label != "margin"]
    tables = [_table(part, start, labels) for part, start in zip(parts, starts, strict=True)]
    return Dataset(pa.concat_tables(tables))


def combined_prompts(parts: Sequence[Prompts], weights: Sequence[float], name: str) -> Prompts:
    """The prompts of several data sets, as `combined`; a column that a part lacks is None in its rows."""
    if len(parts) == 1:
        return parts[0]
    starts = first_rows([max(part.rows, default=-1) + 1 for part in parts])
    columns = dict.fromkeys(chain.from_iterable(part.columns for part in parts))
    plan = Plan(tuple(map(len, parts)), tuple(weights))
    return Prompts(
        [ids for part in parts for ids in part.ids],
        [prompt for part in parts for prompt in part.prompts],
        {key: [cell for part in parts for cell in part.columns.get(key, [None] * len(part))] for key in columns},
        [start + row for part, start in zip(parts, starts, strict=True) for row in part.rows],
        _sum(parts),
        _fingerprint(parts, weights),
        name,
        plan,
        _summary(parts, starts, plan),
    )


def read_all_prompts(
    parts: Sequence[tuple[str, Dataset]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    only: Holdout | None = None,
) -> Prompts:
    """The prompts of several data sets, given by name and rows, in their order; `only` a part of each."""
    read = [read_prompts(dataset, tokenizer, max_length, name, only=only) for name, dataset in parts]
    return combined_prompts(read, (), ",".join(name for name, _ in parts))


def first_rows(lengths: Sequence[int]) -> list[int]:
    """The number of each part's first row."""
    return list(accumulate(lengths, initial=0))[:-1]


def _table(part: Tokenised, start: int, labels: Sequence[str]) -> pa.Table:
    """A part's rows under their numbers in the mixture, with the mixture's columns."""
    table = part.dataset.with_format("arrow")[:]
    rows = pa.array(table["row"].to_numpy() + start, type=pa.int64())
    columns = [column for column in table.column_names if column not in (*NUMBERS, "row")]
    found = table.select(columns).append_column("row", rows)
    for label in labels:
        values = table[label] if label in table.column_names else pa.array([1.0] * len(table), type=NUMBERS[label])
        found = found.append_column(label, values)
    return found


def _sum(parts: Sequence[Tokenised] | Sequence[Prompts]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    return dict(counts)


def _fingerprint(parts: Sequence[Tokenised] | Sequence[Prompts], weights: Sequence[float]) -> str:
    return hashlib.sha256(json.dumps([[part.fingerprint for part in parts], list(weights)]).encode()).hexdigest()


def _summary(parts: Sequence[Tokenised | Prompts], starts: Sequence[int], plan: Plan) -> str:
    """A line per part, and one about how they are mixed and numbered."""
    lines = [f"{part.describe()}, numbered from {start:,}" for part, start in zip(parts, starts, strict=True)]
    shares = [f"{share:,} of {len(part):,} from {part.name}" for part, share in zip(parts, plan.shares, strict=True)]
    how = "interleaved" if plan.weights else "concatenated"
    return "\n".join([*lines, f"mixture, {how}: {len(plan):,} rows per epoch, {', '.join(shares)}"])
