"""Statistics and warnings about a policy's text, compared with its text before training."""

from collections.abc import Sequence
from typing import Any

from burnish.evaluation.collapse import TextStatistics, collapse_warnings, text_statistics
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample_together
from burnish.recipes.demo.measure import Measured
from burnish.run.world import ALONE, World

PROMPTS = 64
"""Prompts that the starting model answers too; the compared statistics do not depend on their number."""

BESIDE = ("distinct_2_nearby", "repetition", "same", "entropy")
"""Further statistics of an evaluation, besides words, distinct_2 and eos_rate."""


def sampled_statistics(
    policy: LanguagePolicy,
    ids: Sequence[Sequence[int]],
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    world: World = ALONE,
) -> TextStatistics:
    """Statistics of one completion per prompt."""
    found = sample_together(policy, ids, world, seed=seed, max_new_tokens=max_new_tokens, temperature=temperature)
    texts = Decoder.of(policy).responses(found.tokens)
    return text_statistics(texts, found.ended, found.logprobs)


def beside_start(
    found: TextStatistics,
    start: LanguagePolicy,
    ids: Sequence[Sequence[int]],
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    world: World = ALONE,
) -> dict[str, Any]:
    """For `evaluation.json`: a policy's statistics `found` on the prompts `ids`, those of its starting model on the
    first of them, and warnings where the policy has collapsed."""
    return beside(found, sampled_statistics(start, ids[:PROMPTS], seed, max_new_tokens, temperature, world))


def beside(found: TextStatistics, before: TextStatistics) -> dict[str, Any]:
    """`beside_start` with the statistics of the starting model."""
    warnings = collapse_warnings(found, before)
    summary = {name: getattr(found, name) for name in BESIDE}
    return summary | {"start": before.as_dict(), "warnings": warnings}


def statistics_of(measured: Measured) -> TextStatistics:
    """Statistics of continuations, without their prompts."""
    found = measured.continuations
    written = [text[len(prompt) :] for prompt, text in zip(found.prompts, found.texts, strict=True)]
    return text_statistics(written, found.ended, found.logprobs)
