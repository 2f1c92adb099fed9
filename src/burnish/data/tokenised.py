"""A tokenised data set: ids and masks in Arrow, batches of them as padded tensors."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from burnish.batches import Demonstrations, Preferences


@dataclass(frozen=True)
class Response:
    """One response of one row as the model sees it: its prompt's ids and its own, `mask` True on what is trained."""

    tokens: list[int]
    mask: list[bool]


@dataclass(frozen=True)
class Tokenised:
    """Rows of ids, ready to be walked in batches.

    `dataset` has the columns `tokens` (a list of ids, or a list of G such lists, best response first), `mask` (the same
    shape, True on trained ids) and `row` (the position in the user's data). `counts` says what became of the rows;
    `fingerprint` is the SHA-256 of all ids, masks and lengths in order.
    """

    dataset: Dataset
    counts: dict[str, int]
    fingerprint: str
    name: str
    columns: tuple[str, ...]
    comparisons: bool

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int] | torch.Tensor) -> Demonstrations | Preferences:
        """The rows at `indices`, padded on the right with id 0 and mask False to the longest of them."""
        chosen = indices.tolist() if isinstance(indices, torch.Tensor) else list(indices)
        if not chosen:
            raise ValueError("a batch needs at least one row")
        table = self.dataset.with_format("arrow")[chosen]
        tokens, mask = table["tokens"].combine_chunks(), table["mask"].combine_chunks()
        rows = torch.from_numpy(table["row"].to_numpy().astype(np.int64))
        if self.comparisons:
            tokens, mask = tokens.flatten(), mask.flatten()
        lengths = tokens.value_lengths().to_numpy().astype(np.int64)
        real = np.arange(lengths.max()) < lengths[:, None]
        ids, trained = np.zeros(real.shape, dtype=np.int64), np.zeros(real.shape, dtype=bool)
        ids[real] = tokens.flatten().to_numpy()
        trained[real] = mask.flatten().to_numpy(zero_copy_only=False)
        shape = (len(chosen), -1) if self.comparisons else (len(chosen),)
        parts = {
            "tokens": torch.from_numpy(ids).reshape(*shape, real.shape[1]),
            "mask": torch.from_numpy(trained).reshape(*shape, real.shape[1]),
            "lengths": torch.from_numpy(lengths).reshape(shape),
            "rows": rows,
        }
        return Preferences(**parts) if self.comparisons else Demonstrations(**parts)

    def describe(self) -> str:
        """One line for the terminal: where the rows come from, how many are used, and what was cut or dropped."""
        counts = self.counts
        told = {
            "dropped": "dropped for want of a response token",
            "truncated_prompts": "prompts cut on the left",
            "truncated_responses": "responses cut on the right",
            "long_prompts": "with a prompt alone over the limit",
            "equal": "with equal responses",
        }
        parts = [f"{counts['used']:,} of {counts['rows']:,} rows used"]
        parts += [f"{counts[key]:,} {words}" for key, words in told.items() if counts.get(key)]
        parts.append(f"{counts['tokens']:,} tokens, {counts['trained_tokens']:,} of them trained")
        return f"{self.name} ({' + '.join(self.columns)}): {', '.join(parts)}"


class _Fingerprint:
    """SHA-256 of ids, masks and lengths, each in its own stream, so that the cut into batches leaves no trace."""

    def __init__(self) -> None:
        self._streams = [hashlib.sha256() for _ in range(3)]

    def update(self, ids: np.ndarray, mask: np.ndarray, lengths: np.ndarray) -> None:
        for stream, values, kind in zip(self._streams, (ids, mask, lengths), ("<i4", "u1", "<i8"), strict=True):
            stream.update(values.astype(kind).tobytes())

    def hexdigest(self, comparisons: bool) -> str:
        kind = b"comparisons" if comparisons else b"demonstrations"
        return hashlib.sha256(kind + b"".join(stream.digest() for stream in self._streams)).hexdigest()


def collect(
    batches: Iterable[list[tuple[int, list[Response]]]], comparisons: bool
) -> tuple[Dataset, dict[str, int], str]:
    """Rows (position, responses) as a data set in memory, with the number of tokens and the fingerprint."""
    fingerprint = _Fingerprint()
    counts = {"tokens": 0, "trained_tokens": 0}
    tables = []
    for batch in chain(batches, [[]]):  # the empty one gives the columns their types even where there is no row
        responses = [response for _, group in batch for response in group]
        ids = np.fromiter(chain.from_iterable(r.tokens for r in responses), dtype=np.int32)
        mask = np.fromiter(chain.from_iterable(r.mask for r in responses), dtype=bool)
        lengths = np.array([len(r.tokens) for r in responses], dtype=np.int64)
        fingerprint.update(ids, mask, lengths)
        counts["tokens"] += ids.size
        counts["trained_tokens"] += int(mask.sum())
        columns = [_lists(pa.array(values), lengths) for values in (ids, mask)]
        if comparisons:
            groups = np.array([len(group) for _, group in batch], dtype=np.int64)
            columns = [_lists(column, groups) for column in columns]
        columns.append(pa.array([row for row, _ in batch], type=pa.int64()))
        tables.append(pa.table(dict(zip(("tokens", "mask", "row"), columns, strict=True))))
    return Dataset(pa.concat_tables(tables)), counts, fingerprint.hexdigest(comparisons)


def _lists(values: pa.Array, lengths: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], lengths.cumsum()]).astype(np.int32)), values)
