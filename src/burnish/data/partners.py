"""Pairs every row of feedback data with another row's response, for KTO's estimate of the KL divergence."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from datasets import Dataset

from burnish.data.encode import Encoder, Laid, whole
from burnish.data.formats import Example
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


def with_partners(
    dataset: Dataset, examples: dict[int, Example], encoder: Encoder, max_length: int, name: str
) -> Iterator[Row]:
    """The rows of `dataset`, each with its own response and its partner's response to the row's prompt.

    `dataset` has one response per row, the prompt lengths in the column `start` and the number of ids cut from the
    prompts in `cut`; `examples` are the data by row.
    """
    keys = [np.array(row["tokens"][0][: row["start"]], dtype="<i4").tobytes() for row in dataset]
    chosen = partners(keys)
    for begin in range(0, len(dataset), CHUNK):
        window = range(begin, min(begin + CHUNK, len(dataset)))
        own, other = dataset.select(window), dataset.select([chosen[i] for i in window])
        # Prompt and partner's response are tokenised as one text, as if it were the row's own response: glued ids could
        # repeat a token that crosses from prompt to response, or lack the space that a tokenizer writes between them.
        mixed = [
            replace(examples[row["row"]], responses=examples[partner["row"]].responses)
            for row, partner in zip(own, other, strict=True)
        ]
        for row, (_, (found,), _) in zip(own, whole(mixed, encoder, name), strict=True):
            behind = _cut(found, row["cut"], encoder, max_length)
            responses = [Response(row["tokens"][0], row["mask"][0]), behind]
            yield Row(row["row"], responses, desirable=row["desirable"], start=row["start"], cut=row["cut"])


def _cut(found: Laid, cut: int, encoder: Encoder, max_length: int) -> Response:
    """The partner's text, cut as the row itself was: the same ids on the left, and to `max_length` on the right."""
    first = int(cut > 0 and found.tokens[0] == encoder.bos)
    response = Response(found.tokens, found.mask)
    if encoder.how.mask_formatting:
        response = encoder.without_formatting(response)
    tokens = response.tokens[:first] + response.tokens[first + cut :]
    mask = response.mask[:first] + response.mask[first + cut :]
    return Response(tokens[:max_length], [False, *mask[1:max_length]])  # the first token has no context
