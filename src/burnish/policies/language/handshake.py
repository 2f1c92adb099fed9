"""Does a sampler elsewhere have the policy's weights? A few tokens that it samples are scored by the policy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.policies.interface import Sampled, SamplingKnobs
from burnish.policies.language.contract import probes
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy
from burnish.run.world import ALONE, World

EXACT, ROUNDED = 1e-3, 0.5
"""The largest difference of a token's log-probability, in nats: where both compute in float32, and where one of them
rounds to bfloat16 or float16. Measured of right weights: see docs/serving.md."""

COMPLETIONS, TOKENS = 4, 8
"""Of each of the two probes so many completions, of so many tokens."""


def bound_for(server: dict[str, Any], policy: LanguagePolicy) -> float:
    """The largest difference that rounding explains, by what server and policy compute in."""
    kinds = {server["dtype"], server.get("precision", "float32"), policy.precision}
    kinds |= {str(policy.model.dtype).removeprefix("torch."), *(server.get("other_dtypes") or {}).values()}
    return ROUNDED if kinds & {"bfloat16", "float16"} else EXACT


def probe(policy: LanguagePolicy, version: int) -> tuple[list[list[int]], list[int], SamplingKnobs]:
    """Prompts of random tokens, random streams, and how they are completed; other ones for each version."""
    texts, context = probes(policy.model), policy.context or 2**31
    prompts = [text[: max(1, min(len(text), context - TOKENS))] for text in texts for _ in range(COMPLETIONS)]
    return prompts, list(range(len(prompts))), SamplingKnobs(version % 2**32, TOKENS, policy.temperature)


@torch.no_grad()
def difference(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    found: Sampled,
    temperature: float,
    world: World = ALONE,
) -> Float[Tensor, "n"]:
    """How far the log-probabilities of all sampled tokens are from the policy's own at this temperature.

    Each process of the `world` scores its share of the completions, and all get all differences.
    """
    batch = completions_batch(list(map(list, prompts)), found.tokens).to(policy.device)
    before, policy.temperature = policy.temperature, temperature
    try:
        own = world.by_rows(policy.logprobs, batch)[batch.mask].double().cpu()
    finally:
        policy.temperature = before
    given = torch.tensor([value for row in found.logprobs for value in row], dtype=torch.float64)
    return (own - given).abs()


@contextmanager
def shaken(policy: LanguagePolicy) -> Iterator[None]:
    """Inside, every trained weight has noise of half its deviation; afterwards the policy has the very bits that it
    had. The noise is the same in every process."""
    own = {name: (p, p.data) for name, p in policy.parameters().items()}
    generator = torch.Generator().manual_seed(0)
    try:
        for name in sorted(own):
            p, data = own[name]
            noise = torch.randn(data.shape, generator=generator).to(data.device)
            scale = 0.5 * (data.float().std(correction=0) + 0.02)  # an adapter begins with zeros
            p.data = (data.float() + scale * noise).to(data.dtype)
        yield
    finally:
        for p, data in own.values():
            p.data = data
