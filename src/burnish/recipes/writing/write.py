"""`burnish write`: the training text of the embedded model, written by SmolLM2 in shards.

Sequence-level distillation: a small model that is trained on a larger one's text imitates it (Kim & Rush 2016,
"Sequence-Level Knowledge Distillation"). A shard is a JSONL file that is complete or absent; a killed run goes on with
the next one, and leaves the same bytes as one that was never killed.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from burnish.config import Settings
from burnish.data import builtin
from burnish.data.written import shipped_shards
from burnish.policies.language.decode import Decoder
from burnish.policies.language.dtypes import Dtype
from burnish.policies.language.loading import Loading
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.precision import computes_bfloat16
from burnish.policies.language.sampler import sample
from burnish.policies.language.smollm2 import NAME
from burnish.policies.language.stops import Stops
from burnish.recipes.assets import resolve_model
from burnish.recipes.train.models import say
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.writing.prompts import Prompt, prompt
from burnish.run import UserError, read_mapping, writable_folder, write_atomically

RECIPE = "recipe.json"
SHARD = "shard-{:05}.jsonl"


@dataclass(frozen=True)
class Writing:
    """How the text is sampled. `rows_at_once` and `shard` were chosen for speed: see docs/model.md."""

    shard: int = 512
    rows_at_once: int = 128
    temperature: float = 0.8
    top_k: int = 50


@dataclass(frozen=True)
class Form:
    """How long a text gets: at most `max_new_tokens` tokens beyond its opening, and up to the text `stop`."""

    max_new_tokens: int
    stop: str | None


REMARK, PARAGRAPH, STORY = Form(72, "\n"), Form(128, "\n\n"), Form(160, None)
FORMS = {
    "review": PARAGRAPH,
    "remark": REMARK,
    "everyday": PARAGRAPH,
    "story": STORY,
    "dialogue": STORY,
    "description": PARAGRAPH,
}
"""The forms of the kinds: of most, only the first paragraph, because SmolLM2 leaves its subject after it."""


def write(out: Path, texts: int, writing: Writing, base: Settings, model: str = NAME) -> Path:
    """Write the first `texts` texts, rounded up to whole shards, into the folder `out`: those that are not there yet
    and do not come with Burnish.

    Several processes may write into one folder: each takes shards that no other is writing. Raises UserError where
    `out` has shards of another recipe, and what loading the model raises.
    """
    writable_folder(out)
    dtype: Dtype = "bfloat16" if computes_bfloat16("cpu") else "float32"
    recipe = asdict(writing) | {"model": model, "seed": base.seed, "dtype": dtype, "torch": torch.__version__}
    check_recipe(out, recipe)
    shipped = shipped_shards(recipe)
    paths = {i: out / SHARD.format(i) for i in range(-(-texts // writing.shard)) if SHARD.format(i) not in shipped}
    there = sum(path.exists() for path in paths.values())
    say(
        base,
        f"{len(paths) - there} shards to write, {writing.shard} texts each; {there} are there, {len(shipped)} ship",
    )
    if there == len(paths):
        return out
    prepare_torch(base)
    policy = load_policy(resolve_model(model), loading=Loading(dtype=dtype))
    beginnings = builtin.prefixes("train")["prompt"]
    for i, path in paths.items():
        with claimed(path) as mine:
            if mine:
                numbers = range(i * writing.shard, (i + 1) * writing.shard)
                rows = written(policy, [prompt(base.seed, n, beginnings) for n in numbers], writing, base.seed)
                write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
                say(base, f"shard {i}: {sum(len(row['text'].split()) for row in rows):,} words")
    return out


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process has to write `path`: it is not there, and no other process is writing it."""
    if path.exists():
        yield False
        return
    lock = path.with_suffix(".lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield not path.exists()
        lock.unlink(missing_ok=True)


def check_recipe(out: Path, recipe: dict[str, Any]) -> None:
    """Note the recipe in `out`. Raises UserError where another is noted: its shards would not fit together."""
    path = out / RECIPE
    if path.exists():
        found = read_mapping(path)
        if other := sorted(key for key in {*found, *recipe} if found.get(key) != recipe.get(key)):
            named = ", ".join(f"{key} ({found.get(key)}, now {recipe.get(key)})" for key in other)
            raise UserError(f"{out} was written with another {named}: choose another --out")
    else:
        write_atomically(path, json.dumps(recipe, indent=2) + "\n")


def written(policy: LanguagePolicy, prompts: Sequence[Prompt], writing: Writing, seed: int) -> list[dict[str, Any]]:
    """A record per prompt: `number`, `kind`, `request`, `opening`, `text` (opening included), `ended`, and `nats`: the
    mean of −log p per sampled token, under the distribution that it was sampled from."""
    rows = {}
    for form in (REMARK, PARAGRAPH, STORY):
        same = [one for one in prompts if FORMS[one.kind] is form]
        for one, (answer, ended, nats) in zip(same, answers(policy, same, form, writing, seed), strict=True):
            text = (one.opening + answer).strip()
            rows[one.number] = {**asdict(one), "text": text, "ended": ended, "nats": nats}
    return [rows[one.number] for one in prompts]


def answers(
    policy: LanguagePolicy, prompts: Sequence[Prompt], form: Form, writing: Writing, seed: int
) -> Iterator[tuple[str, bool, float]]:
    """What SmolLM2 writes after the openings of prompts of one form, whether it came to an end, and its mean −log p."""
    tokenizer: Any = policy.tokenizer
    framed = [tokenizer.apply_chat_template(p.messages(), tokenize=False, add_generation_prompt=True) for p in prompts]
    texts = [frame + p.opening for frame, p in zip(framed, prompts, strict=True)]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    stops = Stops((form.stop,), tokenizer) if form.stop else None
    if not ids:
        return
    sampled = sample(
        policy,
        ids,
        seed=seed,
        max_new_tokens=form.max_new_tokens,
        temperature=writing.temperature,
        top_k=writing.top_k,
        stops=stops,
        streams=[p.number for p in prompts],
        rows_at_once=writing.rows_at_once,
    )
    found = Decoder.of(policy).responses(sampled.tokens)
    for answer, ended, logprobs in zip(found, sampled.ended, sampled.logprobs, strict=True):
        before, stop, _ = answer.partition(form.stop) if form.stop else (answer, "", "")
        yield before, ended or bool(stop), round(-sum(logprobs) / len(logprobs), 3)


def shards(folder: Path) -> list[Path]:
    """The shards in `folder` that are complete, in order. Raises UserError if there is none."""
    if not (found := sorted(folder.glob(SHARD.replace("{:05}", "*")))):
        raise UserError(f"{folder} has no {SHARD.format(0)} and no other shard: give a folder that burnish write wrote")
    return found
