"""Decoding many completions at once: where one has ended, a waiting one enters.

A prompt goes through the model once for all of its completions that enter together, and nothing is computed for a
completion that has ended.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.policies.language.cache import cache_of
from burnish.policies.language.draws import likeliest, next_tokens, uniforms
from burnish.policies.language.parts import head
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.reader import TOKENS_AT_ONCE
from burnish.policies.language.texts import CachedTexts, WholeTexts
from burnish.run import UserError, warn


class NotFiniteError(UserError):
    """A model's probabilities are not finite, so that nothing can be drawn from them."""


@dataclass(frozen=True)
class Drawing:
    """How tokens are drawn: the seed of the random streams, and what shapes the distribution. With `alternatives` so
    many of the likeliest tokens are kept at each place."""

    seed: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    alternatives: int = 0


@dataclass
class Row:
    """A completion in the making: at most `limit` tokens, drawn from random stream `stream`.

    `likeliest` has the likeliest tokens of each place, and the one that was drawn, with their log-probabilities in the
    model's own distribution.
    """

    prompt: Sequence[int]
    limit: int
    stream: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    likeliest: list[dict[int, float]] = field(default_factory=list)


@torch.no_grad()
def steps(
    policy: LanguagePolicy,
    waiting: Sequence[Row],
    drawing: Drawing,
    at_once: int,
    stopped: Callable[[Row], bool] = lambda row: False,
) -> Iterator[list[Row]]:
    """Decode rows, at most `at_once` together, and yield after each step those that have just got a token.

    A row ends with one of the policy's ends, at its limit, or where `stopped` is True. Long prompts must come before
    short ones, and the rows of a prompt one behind the other.
    """
    running: list[Row] = []
    texts: Any = None
    known = policy.uncached is not None or cache_of(policy.model).joins
    joins = known and policy.by_slot is None
    while running or waiting:
        free = at_once - len(running)
        entering: Sequence[Row] = []
        if waiting and (
            not running or (joins and free >= max(1, at_once // 8))
        ):  # a few rows alone are not worth a pass
            entering, waiting = next_rows(waiting, free)
            give_noise(entering, drawing.seed)
        with policy.autocast():
            read = [(texts, texts.states())] if running else []
            read += [first_states(policy, rows) for rows in groups(entering, policy.device, known)]
            logits = head(policy.model, torch.cat([states for _, states in read]))
        texts, *others = (one for one, _ in read)
        if others:
            texts.join(others)
        running = [*running, *entering]
        chosen = add_tokens(running, logits, drawing)
        yield running
        ended = [row.tokens[-1] in policy.ends or len(row.tokens) == row.limit or stopped(row) for row in running]
        if all(ended):
            running = []
            continue
        if any(ended):
            order = places(ended)
            texts.keep(order)
            running, chosen = [running[i] for i in order], chosen[order]
        texts.extend(chosen)


def next_rows(waiting: Sequence[Row], free: int) -> tuple[Sequence[Row], Sequence[Row]]:
    """The rows that enter `free` places, and those that wait on.

    The last prompt enters with all of its rows or none, unless it is the only one: so it is read once for all.
    """
    count = min(free, len(waiting))
    if count < len(waiting):
        last = waiting[count].prompt
        first = next(i for i in range(count, -1, -1) if i == 0 or waiting[i - 1].prompt != last)
        count = first or count
    return waiting[:count], waiting[count:]


def give_noise(rows: Sequence[Row], seed: int) -> None:
    """Give rows the uniform numbers that their tokens are drawn with."""
    noise = uniforms(seed, [row.stream for row in rows], max(row.limit for row in rows))
    for row, numbers in zip(rows, noise.tolist(), strict=True):
        row.noise = numbers


def groups(rows: Sequence[Row], device: torch.device, split: bool) -> Iterator[Sequence[Row]]:
    """Rows whose prompts are read in one pass: a bounded number of tokens, few of them padding; else with `split` off
    all rows."""
    most = TOKENS_AT_ONCE.get(device.type, TOKENS_AT_ONCE["cuda"])
    start, prompts, padding = 0, 0, 0
    for i, row in enumerate(rows):
        if i > start and row.prompt == rows[i - 1].prompt:
            continue
        width = len(rows[start].prompt)
        prompts, padding = prompts + 1, padding + width - len(row.prompt)
        if split and i > start and (prompts * width > most or padding > most // 32):
            yield rows[start:i]
            start, prompts, padding = i, 1, 0
    if rows:
        yield rows[start:]


def first_states(policy: LanguagePolicy, rows: Sequence[Row]) -> tuple[CachedTexts | WholeTexts, Float[Tensor, "N d"]]:
    """The rows' prompts as texts that have been read, each prompt once, and their last hidden states."""
    new = [i == 0 or row.prompt != rows[i - 1].prompt for i, row in enumerate(rows)]
    texts = texts_of(policy, [row.prompt for row, first in zip(rows, new, strict=True) if first])
    states = texts.states()
    if not all(new):
        order = [count - 1 for count in accumulate(new)]
        texts.keep(order)
        states = states[order]
    return texts, states


def texts_of(policy: LanguagePolicy, prompts: Sequence[Sequence[int]]) -> CachedTexts | WholeTexts:
    """The prompts, to be read with the model's cache where it agrees with reading the whole text."""
    if policy.uncached is None:
        return CachedTexts(policy.model, prompts)
    config = policy.model.config
    warn(
        f"{config.name_or_path} ({config.model_type}) {policy.uncached}: every token is drawn after reading the whole "
        "text again, which is right but slow"
    )
    return WholeTexts(policy.model, prompts)


def add_tokens(rows: Sequence[Row], logits: Float[Tensor, "N V"], drawing: Drawing) -> Int[Tensor, "N"]:
    """Draw the next token of each row, and add it to the row with its log-probability."""
    noise = torch.tensor([row.noise[len(row.tokens)] for row in rows], dtype=torch.float64, device=logits.device)
    chosen, logprobs = next_tokens(logits, noise, drawing.temperature, drawing.top_k, drawing.top_p)
    picked = logprobs.tolist()
    if not all(map(math.isfinite, picked)):
        raise NotFiniteError(
            "the model gives probabilities that are not finite: its weights are damaged, or its training diverged"
        )
    for row, token, value in zip(rows, chosen.tolist(), picked, strict=True):
        row.tokens.append(token)
        row.logprobs.append(value)
    if drawing.alternatives:
        ids, own = likeliest(logits, chosen, drawing.alternatives)
        for row, tokens, values in zip(rows, ids.tolist(), own.tolist(), strict=True):
            pairs = zip(tokens, values, strict=True)
            row.likeliest.append({token: value for token, value in pairs if math.isfinite(value)})
    return chosen


def places(ended: Sequence[bool]) -> list[int]:
    """Which rows to keep, in which order: the last ones move to the places of those that ended, the others stay."""
    going = [i for i, end in enumerate(ended) if not end]
    count = len(going)
    last = (i for i in going if i >= count)
    return [next(last) if ended[i] else i for i in range(count)]
