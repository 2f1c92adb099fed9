"""What is measured of a policy on held-out prefixes: reward, KL to the start, and the state of its texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from jaxtyping import Float
from torch import Tensor

from burnish.batches import Demonstrations
from burnish.data import tokenise
from burnish.data.walk import in_order
from burnish.evaluation.continuations import sequence_kl
from burnish.evaluation.reward_models import NotFiniteScoreError, score_texts
from burnish.evaluation.text import distinct_n, repetition
from burnish.functional import masked_sum
from burnish.policies.language.decode import Decoder
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.policies.language.scorer import LanguageScorer
from burnish.recipes.study.cell import Found
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.labels import Pair, comparisons

AT_ONCE = 64


class DivergedError(Exception):
    """A measurement is not finite."""


@dataclass(frozen=True)
class Completions:
    """`n` completions of each prompt, one prompt's after another's."""

    ids: list[list[int]]
    tokens: list[list[int]]
    logprobs: list[list[float]]
    responses: list[str]
    texts: list[str]
    ended: list[bool]

    @property
    def length(self) -> Float[np.ndarray, "N"]:
        return np.array([len(row) for row in self.tokens], dtype=float)

    @cached_property
    def batch(self) -> Demonstrations:
        return completions_batch(self.ids, self.tokens)

    @property
    def distinct_2(self) -> float:
        return distinct_n(self.responses, 2)


def completions_of(
    policy: LanguagePolicy, prompts: Sequence[str], n: int, seed: int, max_new_tokens: int, max_length: int
) -> Completions:
    """Sample at temperature 1; completion k of prompt i has stream i·n + k of the seed, whatever the policy."""
    found = tokenise.prompts(list(prompts), policy.tokenizer, max_length - max_new_tokens)
    ids = [one for one in found for _ in range(n)]
    drawn = sample(policy, ids, seed=seed, max_new_tokens=max_new_tokens)
    decoder = Decoder.of(policy)
    responses, texts = decoder.responses(drawn.tokens), decoder.texts(ids, drawn.tokens)
    return Completions(ids, drawn.tokens, drawn.logprobs, responses, texts, drawn.ended)


@dataclass(frozen=True)
class Ruler:
    """What policies are measured with: the start, held-out prefixes, labelled pairs of its completions of them, and a
    seed of the completions. With a `proxy` its scores are taken too, and the means of the gold score's `parts`; with
    `texts` all responses are kept, their `tokens`, the numbers of those that were `cut` at the length limit, and of
    each pair the `margins`, log π(chosen) − log π(rejected)."""

    start: LanguagePolicy
    prompts: Sequence[str]
    pairs: Sequence[Pair]
    seed: int
    max_new_tokens: int
    max_length: int
    proxy: LanguageScorer | None = None
    texts: bool = False

    def measured(self, policy: LanguagePolicy) -> Found:
        """One completion of each prefix: `gold`, `kl` and the `proxy`'s score of each, and the others as means.

        The KL divergence is Σ_t log π(y_t) − log π_start(y_t), whose mean is unbiased. Entropy is −log π of a sampled
        token. Raises DivergedError where a number is not finite.
        """
        pairs = self.log_probabilities(policy)
        chosen, rejected = pairs.mean(dim=0).tolist()
        if not np.isfinite([chosen, rejected]).all():
            raise DivergedError("a log-probability is not finite")  # nothing could be sampled
        drawn = completions_of(policy, self.prompts, 1, self.seed, self.max_new_tokens, self.max_length)
        kl = np.concatenate([sequence_kl(policy, self.start, part) for part in parts_of(drawn.batch)])
        surprise = -sum(map(sum, drawn.logprobs)) / max(1, sum(map(len, drawn.logprobs)))
        numbers = {
            "length": float(drawn.length.mean()),
            "entropy": float(surprise),
            "distinct_2": drawn.distinct_2,
            "repetition": float(np.mean([repetition(one) for one in drawn.responses])),
            "ended": float(np.mean(drawn.ended)),
            "chosen": chosen,
            "rejected": rejected,
        }
        if not (np.isfinite(kl).all() and np.isfinite(list(numbers.values())).all()):
            raise DivergedError("a measurement is not finite")
        found: Found = {"gold": rounded(study_judge().score(drawn.texts)), "kl": rounded(kl)} | numbers
        if self.proxy is not None:
            found["proxy"] = self.claimed(drawn)
            found["parts"] = {key: float(one.mean()) for key, one in study_judge().parts(drawn.texts).items()}
        if self.texts:
            found |= {"texts": drawn.responses, "cut": [i for i, ended in enumerate(drawn.ended) if not ended]}
            found |= {"tokens": drawn.tokens, "margins": rounded((pairs[:, 0] - pairs[:, 1]).numpy())}
        return found

    def claimed(self, drawn: Completions) -> list[float]:
        """The proxy's scores. Raises DivergedError where one is not finite."""
        try:
            return rounded(score_texts(self.proxy, parts_of(drawn.batch)))
        except NotFiniteScoreError as error:
            raise DivergedError("a score of the proxy is not finite") from error

    @torch.no_grad()
    def log_probabilities(self, policy: LanguagePolicy) -> Float[Tensor, "N 2"]:
        """The log-probabilities of the chosen and of the rejected response of each pair."""
        data = Dataset.from_list(comparisons(self.pairs))
        rows = tokenise.preferences(data, policy.tokenizer, self.max_length, "the held-out pairs")
        policy.dropout(False)
        sums = [masked_sum(policy.logprobs(one), one.mask, dim=-1) for one in in_order(rows, AT_ONCE)]
        return torch.cat(sums).double()


def parts_of(batch: Demonstrations) -> list[Demonstrations]:
    """The rows a few at a time, which limits memory."""
    return [batch.select(slice(i, i + AT_ONCE)) for i in range(0, len(batch), AT_ONCE)]


def rounded(values: Float[np.ndarray, "..."]) -> list[Any]:
    """As numbers of a file, with five decimals."""
    return np.round(values.astype(float), 5).tolist()
