"""A teacher's text alone, or its text and then on-policy distillation: which student writes better English.

A small Llama with SmolLM2's tokenizer begins with random weights. Both arms read half of their updates together, by
`burnish sft` on text that SmolLM2 wrote. The one then goes on with such text. The other settles on it for a tenth, with
a rate that falls to 0, and gives the rest of its CPU time to `burnish distil`: it completes openings, and learns how
likely SmolLM2 finds its tokens. See README.md beside this file.

    python bench/distillation.py --out runs/distillation --processes 2
    python bench/distillation.py --out runs/distillation --rows        # only what the rows of the embedding cost
"""

import argparse
import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch
from distillation_shown import cells_of, intervals, rows_table, shown
from english import words_of
from tokenizers import Tokenizer
from transformers import AutoTokenizer, LlamaForCausalLM

import burnish
from burnish.batches import Demonstrations
from burnish.data import builtin, written
from burnish.evaluation.english import perplexities
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.precision import resolved
from burnish.policies.language.smollm2 import NAME
from burnish.recipes.assets import resolve_model
from burnish.recipes.pretrain import Recipe, save_model, shape
from burnish.recipes.writing.measure import SAMPLES, sampled
from burnish.recipes.writing.prompts import prompt
from burnish.recipes.writing.text import held_out, parts
from burnish.run import UserError, read_jsonl, read_mapping, write_atomically

SPECIAL = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
"""Around a student's texts: SmolLM2 has read texts behind the one in its pretraining, and ends with the other."""

SHARED, SETTLING = 0.5, 0.1
"""Shares of the updates on text alone: those that both arms have in common, and those before distillation."""

PROBE = 6
"""Updates by which the cost of one is measured; the first, which is slower, does not count."""

OPENINGS = 8_192
"""Requests to SmolLM2 whose openings are completed, where they have one; others than those that its text answers."""

ROWS = (49_152, 8_192, 64)


@dataclass(frozen=True)
class Study:
    """What the study is made of. `minutes` are CPU minutes of an arm; `steps`, the updates of the arm that reads text
    alone, are by default as many as take so long."""

    minutes: float = 14.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    completions: int = 16
    max_new_tokens: int = 64
    taught_rate: float = 3e-4
    divergence: Literal["reverse_kl", "js"] = "reverse_kl"
    samples: int = SAMPLES
    teacher: str = NAME
    student: Recipe = field(default_factory=Recipe)

    def method(self) -> burnish.Distil:
        """Reverse KL either way: by the sampled tokens, or of the whole distributions."""
        if self.divergence == "js":
            return burnish.Distil(divergence="js", js_beta=1.0)
        return burnish.Distil()


@dataclass(frozen=True)
class Material:
    """What students read, complete and are measured on: `beginnings` of `theirs`, people's reviews, and `reviews`."""

    texts: list[str]
    openings: list[str]
    beginnings: list[str]
    theirs: list[str]
    reviews: list[str]
    exists: Callable[[str], bool]


def material(study: Study) -> Material:
    """SmolLM2's text, far from the held-out reviews, and openings as it was given; the prompts of bench/english.py."""
    found, people = parts(written.shipped()), builtin.prefixes("train")["prompt"]
    openings = [one for one in (prompt(1, i, people).opening for i in range(OPENINGS)) if one]
    asked = builtin.prefixes("held_out", study.samples)
    exists = words_of([text for part in found.values() for text in part])
    return Material(found["written"], openings, list(asked["prompt"]), list(asked["text"]), held_out(), exists)


# Training ------------------------------------------------------------------------------------------------------------


def train_seed(folder: Path, study: Study, seed: int, texts: Sequence[str], openings: Sequence[str]) -> dict[str, Any]:
    """The stages of a seed that are not complete, and what each has cost; a stage that was killed begins again."""
    prompts = [{"prompt": text} for text in random.Random(seed).sample(list(openings), len(openings))]
    rows = [{"text": text} for text in random.Random(seed).sample(list(texts), len(texts))]
    start = folder / "start"
    if not start.exists():
        backend = AutoTokenizer.from_pretrained(resolve_model(study.teacher)).backend_tokenizer
        save_model(start, Tokenizer.from_str(backend.to_str()), SPECIAL, study.student, seed)

    def stage(name: str, algorithm: burnish.Algorithm, data: list[dict[str, str]], steps: int, **options: Any) -> Any:
        general = {"seed": seed, "threads": 1, "quiet": True, "precision": study.student.precision, "save_every": 0}
        general |= {"max_length": study.student.context, "steps": steps}
        return stage_of(folder / name, algorithm, data, **general | options)

    reading = {"batch_size": study.batch_size, "learning_rate": study.learning_rate}
    falling = reading | {"from_": str(folder / "shared"), "model": str(folder / "shared")}
    sft, size = burnish.SFT(), study.batch_size
    found = {"probe_text": stage("probe_text", sft, rows[: PROBE * size], PROBE, model=str(start), **reading)}
    steps = study.steps or max(4, round(60 * study.minutes / found["probe_text"]["per_update"]))
    if steps * size > len(rows):
        few = f"{len(rows):,} texts are enough for {len(rows) // size} updates, not {steps}"
        raise UserError(f"{few}: give smaller --minutes")
    first, before = max(1, round(SHARED * steps)), max(1, round(SETTLING * steps))
    common, rest = rows[: first * size], rows[first * size : steps * size]
    common_options = reading | {"schedule": "constant", "warmup": study.student.warmup, "save_every": 10**6}
    found["shared"] = stage("shared", sft, common, first, model=str(start), **common_options)
    found["text"] = stage("text", sft, rest, steps - first, **falling)
    found["before"] = stage("before", sft, rest[: before * size], before, **falling)
    taught = {"model": str(folder / "before"), "teacher": study.teacher, "batch_size": study.completions}
    taught |= {"max_new_tokens": study.max_new_tokens, "learning_rate": study.taught_rate}
    found["probe"] = probe = stage("probe", study.method(), prompts, PROBE, **taught)
    left = found["text"]["seconds"] - found["before"]["seconds"]
    fixed = probe["seconds"] - PROBE * probe["per_update"]
    count = max(1, round((left - fixed) / probe["per_update"]))
    found["taught"] = stage("taught", study.method(), prompts, count, **taught)
    return found


def stage_of(run: Path, algorithm: burnish.Algorithm, data: list[dict[str, str]], **options: Any) -> dict[str, Any]:
    """Train into the folder `run` and note its updates, tokens and CPU seconds beside it; what is noted is complete."""
    noted = run.with_suffix(".json")
    if noted.exists():
        return read_mapping(noted)
    shutil.rmtree(run, ignore_errors=True)
    began, marks = time.process_time(), list[float]()
    burnish.train(
        algorithm,
        data=data,
        out=str(run),
        on_step=lambda step, metrics: marks.append(time.process_time()),
        **options,
    )
    later = [end - begin for begin, end in pairwise(marks)] or [marks[0] - began]
    found = {"steps": options["steps"], "seconds": round(time.process_time() - began, 3)}
    found |= {"per_update": sum(later) / len(later), "tokens": read_jsonl(run / "metrics.jsonl")[-1]["num_tokens"]}
    write_atomically(noted, json.dumps(found) + "\n")
    print(
        f"{run.parent.name}, {run.name}: {found['steps']} updates, {found['seconds'] / 60:.1f} CPU minutes", flush=True
    )
    return found


# Measuring -----------------------------------------------------------------------------------------------------------


def work(out: Path, study: Study, seed: int, found: Material | None = None) -> None:
    """Train and measure a seed's students into `out/seed-N`, one thread."""
    torch.set_num_threads(1)
    folder = out / f"seed-{seed}"
    if (folder / "measured.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    found = found or material(study)
    costs = train_seed(folder, study, seed, found.texts, found.openings)
    judge = load_policy(resolve_model(study.teacher), precision=study.student.precision)
    students = {}
    for name in ("text", "taught", "before"):
        policy = load_policy(resolve_model(folder / name))
        ours = sampled(policy, found.beginnings)
        students[name] = cells_of(found.beginnings, ours, found.exists, judge)
        students[name] |= cells_of_reviews(policy, found.reviews) | {"texts": ours}
    people = cells_of(found.beginnings, found.theirs, found.exists, judge)
    measured = {"costs": costs, "students": students, "people": people}
    write_atomically(folder / "measured.json", json.dumps(measured, ensure_ascii=False) + "\n")


def cells_of_reviews(policy: LanguagePolicy, reviews: Sequence[str]) -> dict[str, Any]:
    """The nats and the bytes of each review."""
    each = perplexities(policy, reviews)
    return {"per_byte": [[one.nats for one in each], [one.bytes for one in each]]}


# The rows of the embedding -------------------------------------------------------------------------------------------


def rows_cost(student: Recipe, batch: int = 32, length: int = 88, repeats: int = 4) -> list[dict[str, Any]]:
    """What a vocabulary costs: parameters, bytes, and CPU seconds of an update; the last has almost no rows.

    `share` is the part of an update's time that the embedding, the head and their optimizer take: that without them
    goes off. Random ids, of which rows of the embedding see as many either way.
    """
    found = []
    for vocabulary in ROWS:
        torch.manual_seed(0)
        tokens = torch.randint(vocabulary, (batch, length))
        mask = (torch.arange(length) > 0).expand(batch, length)
        rows = Demonstrations(tokens, mask, torch.full((batch,), length), torch.arange(batch))
        tokenizer = AutoTokenizer.from_pretrained(resolve_model("builtin"))
        policy = LanguagePolicy(
            LlamaForCausalLM(shape(student, vocabulary)), tokenizer, resolved(student.precision, "cpu")
        )
        marks = list[float]()
        models, mark = burnish.Models(policy=policy), lambda step, metrics: marks.append(time.process_time())  # noqa: B023
        burnish.fit(models, burnish.SFT(), [rows] * (repeats + 1), on_step=mark)
        seconds = min(end - begin for begin, end in pairwise(marks))
        whole, own = policy.model.num_parameters(), vocabulary * student.width
        found.append({"rows": vocabulary, "parameters": whole, "embedding": own, "seconds": seconds})
    return [one | {"share": 1 - found[-1]["seconds"] / one["seconds"]} for one in found[:-1]]


# ---------------------------------------------------------------------------------------------------------------------


def collected(out: Path, study: Study, seeds: Sequence[int]) -> dict[str, Any]:
    """The results of all seeds, written to `out/distillation.json`."""
    measured = {seed: read_mapping(out / f"seed-{seed}" / "measured.json") for seed in seeds}
    found = {"study": asdict(study), "torch": torch.__version__, "burnish": burnish.__version__}
    found["intervals"] = intervals(list(measured.values()))
    found["seeds"] = {seed: {"costs": one["costs"], "intervals": intervals([one])} for seed, one in measured.items()}
    write_atomically(out / "distillation.json", json.dumps(found, indent=1) + "\n")
    return found


def claim(out: Path, study: Study) -> None:
    """Note the study in its folder; another one's folder is refused."""
    path = out / "study.json"
    if path.exists() and read_mapping(path) != asdict(study):
        raise SystemExit(f"{path} has other settings than these: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(study), indent=1) + "\n")


def given(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder; what is complete in it is not done again")
    parser.add_argument("--seeds", type=int, default=2, help="students of each arm")
    parser.add_argument("--processes", type=int, default=1, help="seeds at once, one thread each")
    parser.add_argument("--rows", action="store_true", help="only what the rows of the embedding cost")
    for name in ("minutes", "completions", "max_new_tokens", "samples", "taught_rate"):
        default = getattr(Study, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--divergence", choices=("reverse_kl", "js"), default=Study.divergence)
    parser.add_argument("--teacher", default=NAME, help=argparse.SUPPRESS)
    parser.add_argument("--layers", type=int, default=Recipe.layers)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = vars(given(arguments))
    out, seeds = options.pop("out"), range(options.pop("seeds"))
    processes, only_rows = options.pop("processes"), options.pop("rows")
    study = Study(student=replace(Recipe(), layers=options.pop("layers")), **options)
    torch.set_num_threads(1)
    if not only_rows:
        claim(out, study)
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for one in [pool.submit(work, out, study, seed) for seed in seeds]:
                one.result()
        print(shown(collected(out, study, seeds)))
    print("\n" + rows_table(rows_cost(study.student)))


if __name__ == "__main__":
    main()
