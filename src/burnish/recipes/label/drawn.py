"""Pairs of answers that models write, kept beside the labels so that a restart shows the same ones."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.data.beside import KEYS
from burnish.recipes.label.pairs import Pair, keywords
from burnish.run import UserError, companion, config_differences, read_mapping, without_keys, write_atomically

ENDING = ".pairs.json"


def pairs_of_models(
    models: Sequence[str],
    data: Any,
    labels: Path,
    prompts: int | None,
    max_new_tokens: int,
    temperature: float,
    base: Settings,
) -> list[Pair]:
    """The answers of two models to the same prompts, or two answers of one, as they were drawn first.

    They are kept in a file beside `labels`. Raises UserError where that file is of other models, prompts or options.
    """
    kept = companion(labels, ENDING)
    facts: dict[str, Any] = {
        "models": [str(one) for one in models],
        "data": without_keys(str(data)),
        "prompts": prompts,
    }
    facts |= {"seed": base.seed, "max_new_tokens": max_new_tokens, "temperature": temperature}
    if kept.exists():
        found = read_mapping(kept)
        if differing := config_differences(found.get("facts", {}), facts):
            raise UserError(f"{kept} has other answers, {', '.join(differing)}: choose another --out")
        return [Pair(**one) for one in found["pairs"]]
    pairs = drawn(models, data, prompts, max_new_tokens, temperature, base)
    rows = [{"row": p.row, "prompt": p.prompt, "a": p.a, "b": p.b, "options": p.options} for p in pairs]
    write_atomically(kept, json.dumps({"facts": facts, "pairs": rows}, ensure_ascii=False, indent=0) + "\n")
    return pairs


def drawn(
    models: Sequence[str], data: Any, limit: int | None, max_new_tokens: int, temperature: float, base: Settings
) -> list[Pair]:
    """The answers, drawn now: both models answer prompt i from the same random stream, as in `burnish compare`, and one
    model that answers each prompt twice from streams as in `burnish sample`."""
    from burnish.policies.language.policy import load_policy
    from burnish.policies.language.sampler import check_knobs
    from burnish.recipes.answers import answers, writer
    from burnish.recipes.sample import MOST, prompts_of
    from burnish.recipes.train.models import loading_of, pick_device, say
    from burnish.recipes.train.prepare import prepare_torch
    from burnish.report.runs import short_names

    check_knobs(max_new_tokens, temperature, None, None)
    prepare_torch(base)
    names = short_names([Path(one) for one in models])
    written, scale = [], 1 if len(models) > 1 else MOST
    for name, model in zip(names, models, strict=True):
        policy = load_policy(writer(model), pick_device(base.device), base.precision, loading=loading_of(base))
        asked = prompts_of(data, limit, policy, base.max_length, max_new_tokens)
        say(base, asked.describe())
        for k in range(3 - len(models)):
            streams = partial(stream_of, scale, k)
            found = answers(policy, asked, name, max_new_tokens, temperature, base, streams=streams)
            written.append(found.completed)
    a, b = written
    columns = {key: a.columns[key] for key in KEYS if key in a.columns}
    pairs = []
    for i, row in enumerate(a.rows):
        options = keywords({key: cells[i] for key, cells in columns.items()}, tuple(columns))
        pairs.append(Pair(row, a.prompts[i], a.responses[i], b.responses[i], options))
    return pairs


def stream_of(scale: int, k: int, row: int) -> int:
    """The random stream of answer k to prompt `row`."""
    return scale * row + k
