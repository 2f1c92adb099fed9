"""A language small enough to enumerate: every response of one length over a few words, as tables and episodes.

Column 0 of a row is a prompt of one token, so the first word is chosen in column 1.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from phases import sampled
from torch import Tensor, nn

from burnish.batches import Episodes
from burnish.functional import action_logprobs, entropy, kl_shaped_rewards
from burnish.functional.masked import is_last


def responses(words: int, length: int) -> Tensor:
    """All words**length responses behind a prompt of one 0, in the order of the alphabet."""
    every = torch.tensor(list(itertools.product(range(words), repeat=length)))
    return torch.cat([torch.zeros(len(every), 1, dtype=torch.long), every], 1)


def states(tokens: Tensor, words: int) -> Tensor:
    """The number of the state in which each word of a response was chosen: one for each beginning of a response."""
    number, first, out = torch.zeros_like(tokens[:, 0]), 0, []
    for t in range(1, tokens.shape[1]):
        out.append(first + number)
        first += words ** (t - 1)
        number = number * words + tokens[:, t]
    return torch.stack(out, 1)


def count_states(words: int, length: int) -> int:
    return sum(words**t for t in range(length))


class TablePolicy:
    """A row of logits for every state, `[states, words]`."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = nn.Parameter(logits.clone())

    def logprobs_and_entropy(self, batch: Any) -> tuple[Tensor, Tensor]:
        logits = self.logits[states(batch.tokens, self.logits.shape[1])]
        both = torch.stack([action_logprobs(logits, batch.tokens[:, 1:]), entropy(logits)])
        first, second = nn.functional.pad(both, (1, 0)).unbind()
        return first, second

    def logprobs(self, batch: Any) -> Tensor:
        return self.logprobs_and_entropy(batch)[0]

    def divergences(self, batch: Any, teacher: "TablePolicy", formula: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        where = states(batch.tokens, self.logits.shape[1])
        values = formula(self.logits[where.flatten()], teacher.logits.detach()[where.flatten()])
        return nn.functional.pad(values.view(where.shape), (1, 0))

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"logits": self.logits}

    def dropout(self, on: bool) -> None:
        """There is none."""


class TableCritic:
    """A value for every state, `[states]`."""

    def __init__(self, table: Tensor, words: int) -> None:
        self.table = nn.Parameter(table.clone())
        self.words = words

    def values(self, batch: Any) -> Tensor:
        return nn.functional.pad(self.table[states(batch.tokens, self.words)], (1, 1))

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"table": self.table}

    def dropout(self, on: bool) -> None:
        """There is none."""


def chosen(tokens: Tensor) -> Tensor:
    return torch.arange(tokens.shape[1]).expand(tokens.shape) > 0


def shaped_episodes(
    tokens: Tensor, scores: Tensor, policy: TablePolicy, reference: TablePolicy, beta: float
) -> Episodes:
    """These responses as episodes that the policy, as it is now, sampled."""
    mask = chosen(tokens)
    empty = torch.zeros(tokens.shape, dtype=torch.float64)
    rows = torch.arange(len(tokens))
    bare = sampled(tokens, mask, mask.sum(1) + 1, rows, empty, empty, empty)
    with torch.no_grad():
        old_logprobs, ref_logprobs = policy.logprobs(bare), reference.logprobs(bare)
    return sampled(
        tokens,
        mask,
        bare.lengths,
        rows,
        old_logprobs=old_logprobs,
        rewards=kl_shaped_rewards(scores, old_logprobs, ref_logprobs, mask, beta),
        discounts=(mask & ~is_last(mask)).double(),
    )
