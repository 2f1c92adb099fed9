"""Measuring a film-review model: continuations of held-out prefixes, scored by the gold judge."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float

from burnish.batches import Preferences
from burnish.data import builtin, tokenise
from burnish.data.walk import in_order
from burnish.evaluation.continuations import Continuations, continue_prompts, sequence_kl
from burnish.evaluation.preferences import implicit_margins
from burnish.evaluation.reward_models import score_pairs
from burnish.evaluation.text import distinct_n, word_lengths
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.scorer import LanguageScorer
from burnish.recipes.gold import gold_judge
from burnish.run.world import ALONE, World

MAX_LENGTH = 128  # no review is longer in tokens
MAX_NEW_TOKENS = 64  # of a continuation: nearly all are shorter


@dataclass(frozen=True)
class Measured:
    """One model on one set of prefixes, with one number per prefix: gold score, sequence KL (one sample), words.

    `proxy` are a reward model's scores, if there is one. For the best of n, `kl` is an upper bound.
    """

    continuations: Continuations
    gold: Float[np.ndarray, "N"]
    kl: Float[np.ndarray, "N"]
    words: Float[np.ndarray, "N"]
    distinct_2: float
    eos_rate: float
    proxy: Float[np.ndarray, "N"] | None = None


def measure(
    policy: LanguagePolicy, reference: LanguagePolicy, prompts: list[str], seed: int, world: World = ALONE
) -> Measured:
    """Continue the prefixes with `policy`, score prefix and continuation as one review, and compare with `reference`.

    Prefix i has random stream i for every model, so models with the same seed are paired.
    """
    ids = tokenise.prompts(prompts, policy.tokenizer, MAX_LENGTH)
    found = continue_prompts(policy, prompts, ids, seed=seed, max_new_tokens=MAX_NEW_TOKENS, world=world)
    assert found.batch is not None
    written = [text[len(p) :] for text, p in zip(found.texts, found.prompts, strict=True)]
    return Measured(
        found,
        gold_judge().score(found.texts),
        sequence_kl(policy, reference, found.batch, world),
        np.array(word_lengths(written), dtype=float),
        distinct_n(written, 2),
        float(np.mean(found.ended)),
    )


def preference_margins(
    policy: LanguagePolicy, reference: LanguagePolicy, part: str, beta: float
) -> Float[np.ndarray, "N"]:
    """Implicit-reward margins on the built-in human comparisons of `part`."""
    label = f"the built-in comparisons ({part})"
    rows = tokenise.preferences(builtin.comparisons(part), policy.tokenizer, MAX_LENGTH, label)
    return implicit_margins(policy, reference, cast(Iterator[Preferences], in_order(rows, 64)), beta)


def reward_margins(scorer: LanguageScorer, part: str) -> Float[np.ndarray, "N"]:
    """How much higher a reward model scores the chosen review, on the built-in human comparisons of `part`."""
    rows = tokenise.preferences(builtin.comparisons(part), scorer.tokenizer, MAX_LENGTH, f"comparisons ({part})")
    scores = score_pairs(scorer, cast(Iterator[Preferences], in_order(rows, 64)))
    return scores[:, 0] - scores[:, 1]
