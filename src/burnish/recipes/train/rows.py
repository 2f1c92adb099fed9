"""A run's data, built-in or the user's, tokenised for its method."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from datasets import IterableDataset

from burnish.algorithms.dpo import DPO
from burnish.algorithms.interface import Algorithm
from burnish.algorithms.sft import SFT
from burnish.batches import Demonstrations, Preferences
from burnish.config import Settings
from burnish.data import builtin, names, sources, streams, tokenise
from burnish.data.holdout import Holdout
from burnish.data.mixture import combined, combined_prompts
from burnish.data.names import HELD_OUT
from burnish.data.prompts import read_prompts
from burnish.data.rendering import Rendering
from burnish.data.streamed import Stream, Streamed
from burnish.data.tokenised import CHUNK
from burnish.data.walk import Plan
from burnish.experience.language.sampling import Sampling
from burnish.recipes.train.models import say
from burnish.run import BurnishWarning, UserError

BUILTIN = {
    "demonstrations": builtin.demonstrations,
    "preferences": builtin.comparisons,
    "feedback": builtin.comparisons,
    "prompts": builtin.prefixes,
}
READERS: dict[str, Callable[..., Any]] = {
    "demonstrations": tokenise.demonstrations,
    "preferences": tokenise.preferences,
    "feedback": tokenise.feedback,
    "prompts": read_prompts,
}
LARGE = 32 * 2**20
"""Bytes of local data above which they are streamed unless the settings say otherwise."""


@dataclass(frozen=True)
class Data:
    """What a run reads, tokenised: the rows that it trains on, and, or None, held-out rows and the `texts` that its
    experience draws beside its samples; and where it is watched the held-out `prompts` and the pairs with `labels`."""

    rows: Any
    held: Any = None
    texts: Any = None
    prompts: Any = None
    labels: Any = None

    @property
    def named(self) -> list[Any]:
        """Those that are there and not the same, to be described."""
        return [one for one in (self.rows, self.held, self.texts, self.labels) if one is not None]


def rendering_of(settings: Settings, clock: datetime | None) -> Rendering:
    """How a run renders conversations."""
    return Rendering(settings.mask_formatting, settings.train_thoughts, settings.last_answer_only, clock)


def holdout_of(settings: Settings, held: bool) -> Holdout | None:
    """The rows of the training data that a run holds out, or the others; None where it trains on all."""
    return Holdout(settings.holdout, settings.seed, held) if settings.holdout else None


def tokenised(
    algorithm: Algorithm, settings: Settings, policy: Any, data: Any, part: str, clock: datetime | None = None
) -> Any:
    """The data of `settings` as the trainer sees it; `part` picks a split of the built-in data, and `clock` is the time
    that a chat template writes.

    The parts of a mixture are tokenised one by one, and each must suit the method. Of the training data, the rows that
    are held out are left out; the part "(held out)" has only these.
    """
    if held := HELD_OUT in (part, data):
        data = settings.data if data == HELD_OUT else data
    limit = length_limit(settings, policy, say_so=part == "train")
    text = names.text_of(data)
    how = rendering_of(settings, clock)
    read = partial(
        tokenised_part,
        algorithm,
        replace(settings, quiet=True) if held else settings,  # the rows were warned about as a whole
        policy,
        limit=limit,
        how=how,
        training=part == "train",
        only=holdout_of(settings, held) if held or part == "train" else None,
    )
    beside = ", held out" if held else ""
    if text is None:
        rows = read(partial(sources.load, data), names.IN_MEMORY + beside)
        say_unused(settings, {unused(algorithm, settings, rows)} if part == "train" and not held else set())
        return rows
    parts = names.parts(text) if held or part == "train" else names.unweighted(text)
    kind = "prompts" if settings.experience else algorithm.data
    found = [
        read(partial(BUILTIN[kind], part), f"the built-in {kind}, {part}")
        if one.name == "builtin"
        else read(partial(sources.load, one), one.name + beside)
        for one in parts
    ]
    say_unused(settings, {unused(algorithm, settings, one) for one in found} if part == "train" and not held else set())
    weights = [one.weight for one in parts if one.weight is not None and not held]
    return (combined_prompts if settings.experience else combined)(found, weights, text)


def read_data(
    algorithm: Algorithm, settings: Settings, policy: Any, data: Any, eval_data: Any, clock: datetime | None
) -> Data:
    """The rows to train on, those to evaluate on, and the texts beside them, tokenised or as streams."""
    rows: Any = (
        streamed(algorithm, settings, policy, data, clock)
        if settings.streaming
        else tokenised(algorithm, settings, policy, data, "train", clock)
    )
    if settings.group_by_length:
        rows = rows.by_length(settings.batch_size)
    held = evaluation_rows(algorithm, settings, policy, eval_data, data, clock)
    prompts = held if settings.watch else None
    if settings.watch and settings.experience is None:
        prompts = evaluation_rows(algorithm, completing(settings), policy, eval_data, data, clock)
    return Data(rows, held, texts_of(settings, policy), prompts, labels_of(settings, policy, clock))


def completing(settings: Settings) -> Settings:
    """The settings with an experience: their own, or for a method that samples nothing one that completes prompts."""
    if settings.experience is not None:
        return settings
    length = max(1, min(Sampling.max_new_tokens, settings.max_length // 2))
    return replace(settings, experience=Sampling(max_new_tokens=length), quiet=True)


def labels_of(settings: Settings, policy: Any, clock: datetime | None) -> Any:
    """The labelled pairs that a run is watched with, tokenised; None where it names none."""
    if settings.watch_labels is None:
        return None
    plain = replace(settings, experience=None, holdout=0.0)
    return tokenised(DPO(), plain, policy, settings.watch_labels, "validation", clock)


def streamed(
    algorithm: Algorithm, settings: Settings, policy: Any, data: Any, clock: datetime | None = None
) -> Streamed:
    """The training data of `settings` as streams, whose first blocks are read and tokenised.

    Parts without weights are interleaved in proportion to their rows, so that all of them end together. Raises
    UserError for data that cannot be streamed, and where rows have to be counted and cannot be.
    """
    limit = length_limit(settings, policy, say_so=True)
    how = rendering_of(settings, clock)
    text = names.text_of(data)
    if text is None and not isinstance(data, IterableDataset):
        raise UserError("data in memory need no streaming: leave it out, or give a datasets.IterableDataset")
    parts: Any = [data] if text is None else names.parts(text)
    found: list[Stream] = []
    told: set[str | None] = set()
    for part in parts:
        name = names.IN_MEMORY if text is None else part.name

        def tokenised_block(dataset: Any, known: str | None, name: str = name) -> Any:
            # What a later block warns about is in the counts at the end.
            shown = settings if known is None else replace(settings, quiet=True)
            read = partial(tokenised_part, limit=limit, how=how, training=False, known=known)
            rows = read(algorithm, shown, policy, lambda: dataset, name)
            told.add(unused(algorithm, settings, rows))
            return rows

        with saying(settings):
            found.append(Stream(name, streams.stream(part), tokenised_block, max(CHUNK, settings.shuffle_buffer)))
    say_unused(settings, told)
    weights = [part.weight for part in parts if text is not None and part.weight is not None]
    plan = None
    if settings.steps is None or len(weights) < len(parts) > 1:
        lengths = [counted(one, "steps" if settings.steps is None else "a weight for each part") for one in found]
        weights = weights or ([float(length) for length in lengths] if len(parts) > 1 else [])
        plan = Plan(tuple(lengths), tuple(weights)) if settings.steps is None else None
    return Streamed(found, weights, text or names.IN_MEMORY, settings.seed, settings.shuffle_buffer, plan)


def counted(one: Stream, needed: str) -> int:
    """The rows of a pass over a stream. Raises UserError, with what is `needed` instead, where they are not known."""
    if (length := one.length()) is None:
        raise UserError(f"{one.name}: how many rows it has is known only when all were read; give {needed}")
    return length


def streams_data(settings: Settings, data: Any) -> bool:
    """Whether the training data are streamed where the settings do not say so: large local data that can be; `data` are
    those given as an object."""
    text = settings.data if data is None else names.text_of(data)
    if text is None or settings.experience is not None or settings.holdout or settings.group_by_length:
        return False
    parts = names.parts(text)
    if "builtin" in [part.name for part in parts] or not streams.large(parts, LARGE):
        return False
    say(
        settings,
        f"{text} has more than {LARGE // 2**20} MiB and is streamed, shuffled within {settings.shuffle_buffer:,} rows; "
        "--no-streaming reads and tokenises all of it first",
    )
    return True


def unused(algorithm: Algorithm, settings: Settings, rows: Any) -> str | None:
    """What of a part of the training data the method would use with another option; None if there is nothing."""
    if settings.experience or algorithm.data != "preferences" or not len(rows):
        return None
    return algorithm.leaves_unused(rows.batch([0]))


def say_unused(settings: Settings, sentences: set[str | None]) -> None:
    """Say once each what is not used."""
    for sentence in sorted(one for one in sentences if one is not None):
        say(settings, f"warning: {sentence}")


@contextmanager
def saying(settings: Settings) -> Iterator[None]:
    """Say what the block warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if issubclass(warning.category, BurnishWarning):
            say(settings, f"warning: {warning.message}")


def length_limit(settings: Settings, policy: Any, say_so: bool) -> int:
    """The most tokens of a row, or of a prompt where the experience samples."""
    limit = min(settings.max_length, policy.context or settings.max_length)
    if say_so and limit < settings.max_length != Settings.max_length:
        say(settings, f"--max-length {settings.max_length}: the model's context, {limit} tokens, is the limit")
    if settings.experience:
        room, limit = limit, limit - settings.experience.room
        if limit < 1:
            raise UserError(
                f"max_new_tokens {settings.experience.room} leaves no room for a prompt in the model's "
                f"context of {room} tokens: make it smaller"
            )
    return limit


def tokenised_part(
    algorithm: Algorithm,
    settings: Settings,
    policy: Any,
    load: Callable[[], Any],
    label: str,
    *,
    limit: int,
    how: Rendering,
    training: bool,
    only: Holdout | None = None,
    known: str | None = None,
) -> Any:
    """One data set, or `only` a part of it, tokenised. Raises UserError where the method cannot learn from it.

    `known` is the format of a stream's first block where this is a later one, which may have no usable row.
    """
    kind = "prompts" if settings.experience else algorithm.data
    with saying(settings):
        more = {} if known is None else {"known": known}
        rows = READERS[kind](load(), policy.tokenizer, limit, label, how, only, **more)
    if not len(rows):
        return rows
    token, row = rows.largest_token
    policy.check_token(token, f"{label}, row {row}")
    if training and kind != "prompts":
        tokenise.check_options(rows.counts, how, label)
    if kind == "preferences" and (problem := algorithm.refuses(rows.batch([0]), rows.largest_group)):
        raise UserError(f"{label}: {problem}")
    return rows


def evaluation_rows(
    algorithm: Any, settings: Settings, policy: Any, data: Any, training: Any, clock: datetime | None = None
) -> Any:
    """Evaluation data: the given data, what is held out of the `training` data, the validation split if that is
    built-in data, the held-out prompts if all of it are tasks, or None."""
    if settings.holdout:
        return tokenised(algorithm, settings, policy, training, HELD_OUT, clock)
    own = "builtin" if settings.data == "builtin" else names.held_out_tasks(settings.data)
    if data is None and own is None:
        return None
    if data is not None and (text := names.text_of(data)):
        data = names.held_out_tasks(text) or data
    return tokenised(algorithm, settings, policy, own if data is None else data, "validation", clock)


def first_responses(batch: Preferences) -> Demonstrations:
    """The best response of each row."""
    return Demonstrations(batch.tokens[:, 0], batch.mask[:, 0], batch.lengths[:, 0], batch.rows)


def texts_of(settings: Settings, policy: Any) -> Any:
    """The demonstrations that the experience draws beside its samples, tokenised; None where it names none."""
    named = settings.experience.texts if settings.experience else None
    if named is None:
        return None
    plain = replace(settings, experience=None, data=named, holdout=0.0)
    return tokenised(SFT(), plain, policy, named, "train")
