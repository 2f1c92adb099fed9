"""Sampling completions.

Every row draws from its own random stream, made from the seed and the row's stream number: two completions of one
prompt never share a stream, and a row's text does not depend on the other rows. By default the temperature is the only
knob; `top_k`, `top_p` and `stops` are for showing text, not for training.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from burnish.options import COLDEST
from burnish.policies.interface import Sampled, SamplingKnobs
from burnish.policies.language.casts import keeping_casts
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.slots import Drawing, Row, steps
from burnish.policies.language.stops import Stops
from burnish.run import UserError, warn
from burnish.run.world import ALONE, World


class PolicySampler:
    """The sampler in this process: it draws from the policy as it is.

    Each process of the `world` draws its share of the completions, and all get all of them.
    """

    exact = True

    def __init__(self, policy: LanguagePolicy, world: World = ALONE) -> None:
        self.policy, self.world, self.version = policy, world, 0

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """One completion per prompt, see `sample`."""
        found = sample_together(self.policy, prompts, self.world, streams, **vars(knobs))
        return replace(found, version=self.version)

    def load(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Note the version: the weights are the policy's own, and already in place."""
        self.version = version


@torch.no_grad()
def sample(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    *,
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stops: Stops | None = None,
    streams: Sequence[int] | None = None,
    rows_at_once: int = 256,
) -> Sampled:
    """Sample one completion per prompt (a list of ids); repeat a prompt to get several.

    `streams` numbers the rows' random streams (default 0, 1, 2 …). A completion ends with one of the policy's ends,
    after `max_new_tokens` tokens, at the end of the model's context, or where its rotary positions change with the
    length. With `stops` it also ends with the token that completes one of these texts: see `Stops.cut`. Raises
    UserError for an empty prompt, one that leaves no room for a completion, and invalid knobs.
    """
    check_knobs(max_new_tokens, temperature, top_k, top_p)
    streams = range(len(prompts)) if streams is None else streams
    limits = limits_of(policy, prompts, max_new_tokens)
    policy.dropout(False)
    rows = [Row(*one) for one in zip(prompts, limits, streams, strict=True)]
    drawing = Drawing(seed, temperature, top_k, top_p)
    stopped = (lambda row: False) if stops is None else (lambda row: stops.reached(row.prompt, row.tokens))
    with keeping_casts(policy.device):
        for same in in_parts(policy, rows):
            for _ in steps(policy, same, drawing, rows_at_once, stopped):
                pass
    tokens = [row.tokens for row in rows]
    return Sampled(tokens, [row.logprobs for row in rows], [policy.ends.ended(ids) for ids in tokens])


def sample_together(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    world: World,
    streams: Sequence[int] | None = None,
    **knobs: Any,
) -> Sampled:
    """`sample`, of which each process of the `world` draws its share of the completions, and all get all of them."""
    if world.size == 1:
        return sample(policy, prompts, streams=streams, **knobs)
    limits_of(policy, prompts, knobs["max_new_tokens"])  # so that a prompt at fault has its own number
    share, streams = world.bounds(len(prompts)), range(len(prompts)) if streams is None else streams
    own = sample(policy, prompts[share], streams=streams[share], **knobs)
    parts = world.gather((own.tokens, own.logprobs, own.ended))
    tokens, logprobs, ended = (list(chain.from_iterable(one)) for one in zip(*parts, strict=True))
    return Sampled(tokens, logprobs, ended)


def check_knobs(max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise UserError for invalid knobs."""
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    if not COLDEST <= temperature < math.inf:
        raise UserError(
            f"temperature must be at least {COLDEST:g}, not {temperature}; top_k = 1 takes the likeliest token"
        )
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"top_p must lie above 0 and at most at 1, not {top_p}")


def stream_tokens(
    policy: LanguagePolicy,
    prompt: Sequence[int],
    *,
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stream: int = 0,
) -> Iterator[int]:
    """The ids that `sample` returns for one prompt and this random stream, each as soon as it is drawn.

    The end is among them. Raises UserError as `sample` does, when the first id is requested.
    """
    check_knobs(max_new_tokens, temperature, top_k, top_p)
    limits = limits_of(policy, [prompt], max_new_tokens)
    policy.dropout(False)
    row = Row(prompt, limits[0], stream)
    for _ in steps(policy, [row], Drawing(seed, temperature, top_k, top_p), 1):
        yield row.tokens[-1]


def limits_of(policy: LanguagePolicy, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[int]:
    """The largest number of tokens of each prompt's completion, limited by the context.

    A completion also ends where the rotary positions of all its tokens would change: its first tokens would have other
    log-probabilities in the whole row than those that they were drawn with. Raises UserError for a prompt that is empty
    or leaves no room.
    """
    context = policy.context or 2**31
    limits, changes = [], None
    for i, prompt in enumerate(prompts):
        longest = longest_row(policy, len(prompt))
        if not prompt or len(prompt) >= longest:
            problem = "is empty" if not prompt else f"has {len(prompt)} tokens and the model's context {context}"
            if prompt and longest < context:
                problem = f"has {len(prompt)} tokens, and behind them the model's rotary positions change"
            raise UserError(f"prompt {i} {problem}: give a prompt that leaves room for a completion")
        policy.check_token(max(prompt), f"prompt {i}")
        limits.append(min(max_new_tokens, longest - len(prompt)))
        if longest < context and limits[-1] < max_new_tokens:
            changes = longest
    if changes is not None:
        warn(f"completions end at {changes} tokens, where the model's rotary positions change")
    return limits


def longest_row(policy: LanguagePolicy, length: int) -> int:
    """The most tokens of a prompt of this length together with its completion, by the context and by `scaling`."""
    context, scaling = policy.context or 2**31, policy.scaling
    return context if scaling is None else min(context, scaling.longest(length) or context)


def in_parts(policy: LanguagePolicy, rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows in parts that can be read together, in each the longest prompts first and equal ones side by side."""
    lengths = torch.tensor([len(row.prompt) for row in rows], dtype=torch.long)
    kinds = [0] * len(rows) if policy.scaling is None else policy.scaling.kinds(lengths).tolist()
    if policy.by_slot is not None:
        kinds = lengths.tolist()
        name = f"{policy.model.config.name_or_path} ({policy.model.config.model_type})"
        warn(f"{name} {policy.by_slot}: prompts of one length are sampled at a time")
    first: dict[tuple[int, ...], int] = {}
    keys = [(-len(row.prompt), first.setdefault(tuple(row.prompt), i)) for i, row in enumerate(rows)]
    for kind in sorted(set(kinds)):
        yield [rows[i] for i in sorted(range(len(rows)), key=lambda i: keys[i]) if kinds[i] == kind]
