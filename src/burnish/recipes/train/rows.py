"""A run's data, built-in or the user's, tokenised for its method."""

import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from burnish.algorithms.interface import Algorithm
from burnish.batches import Demonstrations, Preferences
from burnish.config import Settings
from burnish.data import builtin, sources, tokenise
from burnish.data.prompts import read_prompts
from burnish.data.rendering import Rendering
from burnish.recipes.train.models import say
from burnish.run import UserError

IN_MEMORY = "(in memory)"
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


def tokenised(
    algorithm: Algorithm, settings: Settings, policy: Any, data: Any, part: str, clock: datetime | None = None
) -> Any:
    """The data of `settings` as the trainer sees it; `part` picks a split of the built-in data, and `clock` is the time
    that a chat template writes."""
    kind = "prompts" if settings.experience else algorithm.data
    if data == "builtin":
        dataset = BUILTIN[kind](part)
        label = f"the built-in {kind}, {part}"
    else:
        dataset = sources.load(data)
        label = str(data) if isinstance(data, str | Path) else IN_MEMORY
    limit = min(settings.max_length, policy.context or settings.max_length)
    if part == "train" and limit < settings.max_length != Settings.max_length:
        say(settings, f"--max-length {settings.max_length}: the model's context, {limit} tokens, is the limit")
    if settings.experience:
        room, limit = limit, limit - settings.experience.room
        if limit < 1:
            raise UserError(
                f"max_new_tokens {settings.experience.room} leaves no room for a prompt in the model's "
                f"context of {room} tokens: make it smaller"
            )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        how = Rendering(settings.mask_formatting, settings.train_thoughts, settings.last_answer_only, clock)
        rows = READERS[kind](dataset, policy.tokenizer, limit, label, how)
    if part == "train" and kind != "prompts":
        tokenise.check_options(rows.counts, how, label)
    for warning in caught:
        say(settings, f"warning: {warning.message}")
    if kind == "preferences" and (problem := algorithm.refuses(rows.batch([0]), rows.largest_group)):
        raise UserError(f"{label}: {problem}")
    return rows


def evaluation_rows(algorithm: Any, settings: Settings, policy: Any, data: Any, clock: datetime | None = None) -> Any:
    """Evaluation data: the given data, the validation split if training on built-in data, or None."""
    if data is None and settings.data != "builtin":
        return None
    return tokenised(algorithm, settings, policy, "builtin" if data is None else data, "validation", clock)


def first_responses(batch: Preferences) -> Demonstrations:
    """The best response of each row."""
    return Demonstrations(batch.tokens[:, 0], batch.mask[:, 0], batch.lengths[:, 0], batch.rows)
