"""`burnish sample MODEL`: n completions per prompt, all of them or the best by a reward."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from burnish.config import Settings, refuse
from burnish.config.checks import sampler_options
from burnish.data import builtin, sources
from burnish.data.beside import KEYS, template_variables
from burnish.data.mixture import read_all_prompts
from burnish.data.prompts import Prompts
from burnish.experience.language.sampling import Sampling, completed_rows
from burnish.options import is_number, quoted
from burnish.policies.interface import Sampled, Sampler, SamplingKnobs
from burnish.policies.language.decode import Decoder
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import check_knobs, sample_together
from burnish.policies.language.stops import Stops
from burnish.recipes.assets import resolve_model
from burnish.recipes.gold import gold_judge
from burnish.recipes.sampled import (
    GOLD,
    WANTED,
    Drawn,
    Format,
    Keep,
    Scores,
    describe,
    joined,
    lines_of,
    summarise,
    usable_ones,
)
from burnish.recipes.sampler import loaded_sampler
from burnish.recipes.together import together
from burnish.recipes.train.models import loading_of, pick_device, say
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.rewards import resolve_reward
from burnish.rewards.builtin import gold_reward
from burnish.rewards.completed import Reward, checked_scores
from burnish.rewards.divided import divided
from burnish.run import UserError, growing_jsonl, writable_file
from burnish.run.world import ALONE, World
from burnish.training.progress import Progress

MOST = 2**20  # samples of one prompt: each has a random stream of its own
ROWS_AT_ONCE = 512
FIRST_ROWS = 8
"""How many rows are completed first; then twice as many each time, so that the first are ready soon."""


@dataclass(frozen=True)
class Samples:
    """`lines`: a record per completion that is kept; `summary`: totals; `scores`: all scores by reward."""

    lines: list[dict[str, Any]]
    summary: dict[str, Any]
    scores: Scores


@dataclass(frozen=True)
class Knobs:
    """How completions are drawn; all but the length and the temperature are for showing text, not for training."""

    max_new_tokens: int = Sampling.max_new_tokens
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    keep_special_tokens: bool = False

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "temperature", "top_k", "top_p"):
            value = getattr(self, name)
            if not is_number(value) and (value is not None or not name.startswith("top")):
                raise UserError(f"{name} must be a number, not {quoted(value)}")
        check_knobs(self.max_new_tokens, self.temperature, self.top_k, self.top_p)
        Stops(self.stop, None)

    def facts(self) -> dict[str, Any]:
        """The knobs for a summary; those that are not used are left out."""
        shown = {"top_k": self.top_k, "top_p": self.top_p, "stop": list(self.stop) or None}
        facts = {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens}
        return facts | {name: value for name, value in shown.items() if value is not None}


def sample_model(
    model: str | Path,
    data: Any = "builtin",
    n: int = 1,
    reward: Any = None,
    out: str | Path | None = None,
    *,
    max_new_tokens: int = Sampling.max_new_tokens,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: str | Sequence[str] = (),
    limit: int | None = None,
    keep: Keep | None = None,
    format: Format = "prompt-completion",
    demonstrations: bool = False,
    keep_special_tokens: bool = False,
    base: Settings | None = None,
    show: Callable[[dict[str, Any]], None] | None = None,
) -> Samples:
    """Sample `n` completions of each prompt of `data`, and write JSONL to `out`.

    With a `reward` the best of the n is kept, without one all are; `keep` says otherwise. At most the first `limit`
    rows of `data` are used; "builtin" are the held-out prefixes, for which the gold score is given too. Sample k of row
    i does not depend on `n`, `limit` or the other rows. A completion also ends before the first of the texts `stop`,
    which is then its `stop_reason`. `base` has seed, device, threads, precision, and `max_length`, which counts prompt
    and completion.

    Records are written, and given to `show`, as soon as they are ready. They have the columns `prompt` and `completion`
    that `burnish sft` reads, or with the format "messages" the whole conversation; a prompt in plain text is then a
    user message, and an empty answer is left out. With `demonstrations`, only completions that can be imitated as they
    are get picked: with an end (imitation would add one) and with text before it; prompts without such a completion are
    left out. `keep_special_tokens` keeps all special tokens of a completion but padding and its end. Raises UserError
    for invalid input or a reward that fails.
    """
    base = base or Settings()
    knobs = Knobs(
        max_new_tokens,
        temperature,
        top_k,
        top_p,
        texts_of(stop),
        keep_special_tokens,
    )
    keep = keep or ("all" if reward is None else "best")
    world, base = together(base)
    out = out if world.is_main else None
    check(n, reward, keep, limit, out)
    if base.sampler is not None and knobs.stop:
        raise UserError("--stop needs the sampler of this process: leave it out, or --sampler")
    refuse(sampler_options(base))
    prepare_torch(base)
    policy = load_policy(resolve_model(model), pick_device(base.device), base.precision, loading=loading_of(base))
    sampler = None if base.sampler is None else loaded_sampler(policy, base, world)
    rewards = [] if reward is None else [resolve_reward(reward, policy, loading_of(base))]
    scored_by = rewards[0].name if rewards else None
    prompts = prompts_of(data, limit, policy, base.max_length, max_new_tokens)
    say(base, prompts.describe())
    if format == "messages" and any(isinstance(prompt, str) for prompt in prompts.prompts):
        say(base, "the prompts are plain text: each becomes the message of a user")
    carried = {*KEYS, *template_variables(policy.tokenizer)} if format == "messages" else None
    if isinstance(data, str) and data == "builtin" and scored_by != GOLD:
        rewards.append(gold_reward(gold_judge()))
    parts: list[Drawn] = []
    usable: list[Any] = []
    lines: list[dict[str, Any]] = []
    with growing_jsonl(out) as write:
        quiet = base.quiet or show is not None
        for part in draw(policy, prompts, n, rewards, knobs, base, FIRST_ROWS, quiet, world, sampler):
            parts.append(part)
            usable.append(usable_ones(part.completed, n, demonstrations, format == "messages"))
            for line in lines_of(part, n, scored_by, keep, usable[-1], carried):
                lines.append(line)
                write(line)
                if show is not None and world.is_main:
                    show(line)
        if not lines:
            raise UserError(f"no completion {WANTED[demonstrations]}: raise --max-new-tokens")
    scores = joined(parts, rewards, n)
    facts = {"model": str(model), "data": prompts.name, "prompts": len(prompts), "n": n, "keep": keep}
    facts |= knobs.facts() | {"seed": base.seed, "demonstrations": demonstrations}
    facts |= summarise(parts, scores, scored_by, n, np.concatenate(usable))
    say(base, describe(facts))
    return Samples(lines, facts, scores)


def texts_of(stop: Any) -> tuple[str, ...]:
    """The stop texts as a tuple. Raises UserError for anything but a text or several."""
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, Sequence) or not all(isinstance(one, str) for one in texts):
        raise UserError(f"stop must be a text, or a list of texts, not {quoted(stop)}")
    return tuple(texts)


def check(n: int, reward: Any, keep: Keep, limit: int | None, out: str | Path | None) -> None:
    """Raise UserError for invalid arguments, before anything is loaded; make the folder of `out`."""
    if not 1 <= n <= MOST:
        raise UserError(f"--n must lie in 1…{MOST}, not {n}")
    if keep == "best" and reward is None:
        raise UserError("--keep best needs a --reward that says which completion is the best")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}")
    if out is not None:
        writable_file(out)


def prompts_of(data: Any, limit: int | None, policy: LanguagePolicy, max_length: int, max_new_tokens: int) -> Prompts:
    """The prompts, cut so that each leaves room for a completion."""
    longest = min(max_length, policy.context or max_length)
    if max_new_tokens >= longest:
        raise UserError(f"--max-new-tokens {max_new_tokens} leaves no room for a prompt within {longest} tokens")
    if isinstance(data, str) and data == "builtin":
        dataset, name = builtin.prefixes("held_out"), "the built-in prefixes, held_out"
        parts = [(name, dataset.select(range(min(len(dataset), limit or len(dataset)))))]
    else:
        parts = sources.load_parts(data, limit)
    return read_all_prompts(parts, policy.tokenizer, longest - max_new_tokens)


def draw(
    policy: LanguagePolicy,
    prompts: Prompts,
    n: int,
    rewards: list[Reward],
    knobs: Knobs,
    base: Settings,
    first: int = ROWS_AT_ONCE,
    quiet: bool = False,
    world: World = ALONE,
    sampler: Sampler | None = None,
) -> Iterator[Drawn]:
    """n completions per prompt, one after the other, with their scores by each reward; about `first` rows to begin.
    A `sampler` elsewhere draws them where there is one.

    They are scored as they are sampled, so that a failing reward is found early.
    """
    decoder, say_once = Decoder.of(policy, knobs.keep_special_tokens), cache(partial(say, base))
    stops = Stops(knobs.stop, policy.tokenizer) if knobs.stop else None
    drawing = SamplingKnobs(base.seed, knobs.max_new_tokens, knobs.temperature, knobs.top_k, knobs.top_p)
    parts = list(parts_of(len(prompts), n, first))
    with Progress("sampling", len(parts), quiet=quiet) as progress:
        for part in parts:
            which = [i for i in part for _ in range(n)]
            ids = [prompts.ids[i] for i in which]
            streams = [prompts.rows[i] * MOST + k % n for k, i in enumerate(which)]
            if sampler is None:
                sampled = sample_together(policy, ids, world, **vars(drawing), stops=stops, streams=streams)
            else:
                sampled = sampler.sample(ids, streams, drawing)
            decoder.warn(sampled.tokens, say_once)
            if stops is None:
                drawn = Drawn(completed_rows(policy, prompts, which, sampled, decoder))
            else:
                drawn = up_to_stops(policy, prompts, which, sampled, decoder, stops)
            for reward in rewards:
                drawn.scores[reward.name] = checked_scores(divided(reward, world), drawn.completed)
            yield drawn
            progress.step()


def parts_of(prompts: int, n: int, first: int) -> Iterator[range]:
    """The prompts in parts of about `first` rows, then twice as many each time up to `ROWS_AT_ONCE`."""
    start, rows = 0, min(first, ROWS_AT_ONCE)
    while start < prompts:
        end = min(prompts, start + max(1, rows // n))
        yield range(start, end)
        start, rows = end, min(2 * rows, ROWS_AT_ONCE)


def up_to_stops(
    policy: LanguagePolicy, prompts: Prompts, which: Sequence[int], sampled: Sampled, decoder: Decoder, stops: Stops
) -> Drawn:
    """Completions that end before the first stop text in them: as text, and as the ids that a reward model reads.

    A stop text is an end: the ids get the one that training writes.
    """
    tokens, rests, reasons, ended = [], [], [], list(sampled.ended)
    for place, i in enumerate(which):
        cut = stops.cut(prompts.ids[i], policy.ends.without(sampled.tokens[place]))
        reasons.append(cut.stop if cut else None)
        rests.append(cut.rest if cut else "")
        tokens.append(cut.tokens if cut else sampled.tokens[place])
        ended[place] |= cut is not None
    shown = replace(sampled, tokens=tokens, ended=ended)
    found = completed_rows(policy, prompts, which, shown, decoder)
    read = [
        ids if reason is None else stops.finished(ids, rest, policy.ends.trained(isinstance(prompt, list)))
        for ids, rest, reason, prompt in zip(tokens, rests, reasons, found.prompts, strict=True)
    ]
    batch = completions_batch([prompts.ids[i] for i in which], read).to(policy.device)
    whole = decoder.responses(sampled.tokens)
    alone = [
        rest.lstrip() if not ids and not text[:1].isspace() else rest  # a tokenizer may leave out the first space
        for ids, rest, text in zip(tokens, rests, whole, strict=True)
    ]
    responses = [text + rest for text, rest in zip(found.responses, alone, strict=True)]
    texts = [text + rest for text, rest in zip(found.texts, rests, strict=True)]
    return Drawn(replace(found, responses=responses, texts=texts, batch=batch), reasons=reasons)
