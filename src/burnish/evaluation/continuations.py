"""Sampled continuations of prompts, and their KL divergence from a reference model."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from burnish.batches import Demonstrations
from burnish.functional import masked_sum
from burnish.policies.language.decode import Decoder
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample_together
from burnish.run.world import ALONE, World


@dataclass(frozen=True)
class Continuations:
    """One sampled completion per prompt.

    `texts` are prompt and completion as one text, `batch` their token ids, or None if those are unknown. `ended` is
    True if the completion ended with EOS, not at the length limit. `logprobs` are those of the sampled tokens, under
    the distribution that sampled them.
    """

    prompts: list[str]
    texts: list[str]
    batch: Demonstrations | None
    ended: list[bool]
    logprobs: list[list[float]] | None = None


def continue_prompts(
    policy: LanguagePolicy,
    prompts: list[str],
    ids: list[list[int]],
    *,
    seed: int,
    max_new_tokens: int,
    world: World = ALONE,
) -> Continuations:
    """Sample one completion per prompt at temperature 1, without top-p or top-k; `ids` are the prompts' token ids."""
    sampled = sample_together(policy, ids, world, seed=seed, max_new_tokens=max_new_tokens)
    texts = Decoder.of(policy).texts(ids, sampled.tokens)
    return Continuations(prompts, texts, completions_batch(ids, sampled.tokens), sampled.ended, sampled.logprobs)


@torch.no_grad()
def sequence_kl(
    policy: LanguagePolicy, reference: LanguagePolicy, batch: Demonstrations, world: World = ALONE
) -> Float[np.ndarray, "B"]:
    """One sample of the sequence KL per row: Σ_t log π(y_t) − log π_ref(y_t) over the completion, in nats.

    Their mean is an unbiased estimate of KL(π‖π_ref) if the completions were sampled from `policy` at temperature 1
    (estimator k1 of Schulman 2020, summed); a single row may be negative.
    """
    policy.dropout(False)
    reference.dropout(False)
    batch = batch.to(policy.device)
    logratios = world.by_rows(lambda part: policy.logprobs(part) - reference.logprobs(part), batch)
    return masked_sum(logratios, batch.mask, dim=-1).double().cpu().numpy()
