"""Groups of two responses of a language small enough to enumerate: every pair, weighted by its probability.

Word 2 ends a response, so that of the 27 sequences of three words those count that go on behind no end: 15 of one to
three words.
"""

from dataclasses import dataclass, replace
from typing import Any

import tabular
import torch
from torch import Tensor

from burnish.algorithms.terms import Term
from burnish.batches import GroupEpisodes
from burnish.functional import aggregate, k1, masked_sum
from burnish.functional.masked import is_last
from burnish.policies.interface import Models

WORDS, LENGTH, END = 3, 3, 2
STATES = tabular.count_states(WORDS, LENGTH)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def language(ending: bool = True) -> tuple[Tensor, Tensor]:
    """Every response behind its prompt, and its mask; all 27 have three words unless a word can end one."""
    tokens = tabular.responses(WORDS, LENGTH)
    mask = tabular.chosen(tokens)
    if not ending:
        return tokens, mask
    before = (tokens[:, 1:] == END).cumsum(1) - (tokens[:, 1:] == END).long()
    mask = torch.cat([mask[:, :1], before == 0], 1)
    once = torch.where(mask, tokens, 0)
    _, first = torch.unique(once, dim=0, return_inverse=True)
    kept = [int((first == k).nonzero()[0]) for k in range(int(first.max()) + 1)]
    return once[kept], mask[kept]


@dataclass(frozen=True)
class World:
    """A policy before a turn's updates, the same one after it has moved, and a reference; a score for every response.

    `sampler` is what sampled, where that was not the policy before the updates.
    """

    tokens: Tensor
    mask: Tensor
    scores: Tensor
    old: tabular.TablePolicy
    policy: tabular.TablePolicy
    reference: tabular.TablePolicy
    sampler: tabular.TablePolicy | None = None

    @property
    def models(self) -> Models:
        return Models(policy=self.policy, reference=self.reference)

    def episodes(self, index: Tensor) -> GroupEpisodes:
        """These groups `[N, G]` of responses, as they were sampled."""
        tokens, mask = self.tokens[index.flatten()], self.mask[index.flatten()]
        size, count = index.shape[1], index.numel()
        zeros, place = torch.zeros(tokens.shape, dtype=torch.float64), torch.arange(size).repeat(len(index))
        scores = self.scores[index.flatten()]
        bare = GroupEpisodes(
            tokens=tokens,
            mask=mask,
            lengths=mask.sum(1) + 1,
            rows=torch.arange(count) // size,
            sampler_logprobs=zeros,
            old_logprobs=zeros,
            rewards=torch.where(is_last(mask), scores[:, None], 0.0),
            discounts=(mask & ~is_last(mask)).double(),
            limit=torch.tensor(LENGTH + 1),
            peers=scores.view(-1, size).repeat_interleave(size, 0),
            place=place,
        )
        with torch.no_grad():
            old, ref, sampler = (
                torch.where(mask, model.logprobs(bare), 0.0)
                for model in (self.old, self.reference, self.sampler or self.old)
            )
        kl = masked_sum(k1(old, ref), mask, -1).view(-1, size).repeat_interleave(size, 0)
        return replace(bare, old_logprobs=old, sampler_logprobs=sampler, ref_logprobs=ref, peers_kl=kl)

    def pairs(self) -> tuple[GroupEpisodes, Tensor]:
        """Every pair of responses, and the probability with which it is sampled."""
        every = torch.arange(len(self.tokens))
        batch = self.episodes(torch.cartesian_prod(every, every))
        return batch, batch.sampler_logprobs.sum(1).exp().view(-1, 2).prod(1)


def world(moved: float = 0.0, ending: bool = True, seed: int = 0) -> World:
    tokens, mask = language(ending)
    old, reference = numbers(STATES, WORDS, seed=seed), numbers(STATES, WORDS, seed=seed + 1)
    policy = old + moved * numbers(STATES, WORDS, seed=seed + 2)
    tables = [tabular.TablePolicy(logits) for logits in (old, policy, reference)]
    return World(tokens, mask, 2 * numbers(len(tokens), seed=seed + 3), *tables)


def per_pair(term: Term, batch: GroupEpisodes) -> Tensor:
    """A term's value for every pair, as if it were a batch of its own."""
    shape = (-1, 2, *term.losses.shape[1:])
    total: Any = 2 * LENGTH + 2 if term.over == "constant" else None
    return term.weight * aggregate(term.losses.view(shape), term.mask.view(shape), term.over, total)
