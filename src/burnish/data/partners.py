"""Pairs every row of feedback data with another row's response, for KTO's estimate of the KL divergence."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from datasets import Dataset

from burnish.data.tokenised import CHUNK, Response, Row


def partners(prompts: Sequence[bytes]) -> list[int]:
    """For each row the index of its partner, a permutation without fixed points; `prompts` has one key per row.

    Rows are sorted by the hash of their prompt, so that equal prompts are adjacent, and each row is paired with the one
    m places further on, cyclically; m is the count of the most common prompt. So no row has a partner with its own
    prompt if that is possible (m ≤ n/2). If all prompts are equal, m is 1. The result is deterministic.

    Raises ValueError for fewer than two rows.
    """
    count = len(prompts)
    if count < 2:
        raise ValueError("partners need at least two rows")
    commonest = max(Counter(prompts).values())
    shift = commonest if commonest < count else 1
    order = sorted(range(count), key=lambda i: (hashlib.sha256(prompts[i]).digest(), i))
    found = [0] * count
    for place, i in enumerate(order):
        found[i] = order[(place + shift) % count]
    return found


def with_partners(dataset: Dataset, max_length: int) -> Iterator[Row]:
    """The rows of `dataset`, each with its own response and its partner's response to the row's prompt.

    `dataset` has one response per row and the prompt lengths in the column `start`. The partner's response is truncated
    on the right to `max_length`, as its own row was.
    """
    starts = dataset["start"][:]
    keys = [np.array(row["tokens"][0][: row["start"]], dtype="<i4").tobytes() for row in dataset]
    chosen = partners(keys)
    for begin in range(0, len(dataset), CHUNK):
        window = range(begin, min(begin + CHUNK, len(dataset)))
        own, other = dataset.select(window), dataset.select([chosen[i] for i in window])
        for i, row, partner in zip(window, own, other, strict=True):
            start, cut = row["start"], starts[chosen[i]]
            tokens, mask = row["tokens"][0], row["mask"][0]
            room = max_length - start
            trained = [False] * start + partner["mask"][0][cut:][:room]
            trained[0] = False  # the first token has no context
            behind = Response(tokens[:start] + partner["tokens"][0][cut:][:room], trained)
            responses = [Response(tokens, mask), behind]
            yield Row(row["row"], responses, desirable=row["desirable"], start=start)
