"""What studies with a gold judge begin with: a start, its labelled pairs, reward models, and what is measured on."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from burnish.algorithms.table import load
from burnish.config import build
from burnish.data import builtin
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import LanguageScorer
from burnish.recipes.study.cell import SHARED, Found
from burnish.recipes.study.folder import input_hashes
from burnish.recipes.study.judge import judge_inputs, study_judge
from burnish.recipes.study.labels import Pair, labelled
from burnish.recipes.study.measure import Ruler, completions_of
from burnish.recipes.study.watch import divergence
from burnish.recipes.train.given import Given
from burnish.recipes.train.run import run_training
from burnish.run import UserError, read_jsonl, save_folder_atomically, write_atomically

START = "start"
HELD_SEED, POOL_SEED = 1_000, 2_000
"""Of the completions that held-out pairs are made of, and (more the study's seed) of the pools of best of n."""


class Sizes(Protocol):
    """What a study's plan says of its start: SFT of `model` for `sft_steps` updates; labels are drawn with the gold
    judge's scores divided by `scale`; measured is on `held_out` prefixes."""

    @property
    def model(self) -> str: ...
    @property
    def sft_steps(self) -> int: ...
    @property
    def prefixes(self) -> int: ...
    @property
    def scale(self) -> float: ...
    @property
    def texts(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def reward_rate(self) -> float: ...
    @property
    def warmup(self) -> float: ...
    @property
    def held_out(self) -> int: ...
    @property
    def held_pairs(self) -> int: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def max_length(self) -> int: ...


def prefixes(plan: Sizes) -> list[str]:
    """The first prefixes of reviews whose ratings the judge was not fitted on."""
    ids = set(builtin.rated("preferences")["id"])
    rows = builtin.prefixes("train")
    return [text for text, one in zip(rows["prompt"], rows["id"], strict=True) if one in ids][: plan.prefixes]


def held_out(plan: Sizes) -> list[str]:
    return list(builtin.prefixes("held_out", plan.held_out)["prompt"])


def inputs_of(plan: Sizes) -> dict[str, str]:
    """Hashes of the data and of the model that the study begins with, and of what its judge is made from."""
    texts = [prefixes(plan), held_out(plan), list(builtin.demonstrations("train")["text"])]
    return input_hashes(texts, plan.model) | judge_inputs()


def imitated(plan: Sizes, work: Path) -> Path:
    """Train the start on the built-in film reviews; returns the folder of its model."""
    options = SHARED | {
        "out": str(work / "sft"),
        "model": plan.model,
        "steps": plan.sft_steps,
        "batch_size": 32,
        "learning_rate": plan.learning_rate,
        "max_length": plan.max_length,
        "save_every": 0,
    }
    run_training(*build(load("sft"), options))
    return work / "sft" / "model"


def pairs_of(
    policy: LanguagePolicy, prompts: list[str], n: int, seed: int, plan: Sizes, apart: bool = False
) -> tuple[list[Pair], int]:
    """Labelled pairs of `n` completions of each prompt, see `labelled`, and the number of sampled tokens."""
    drawn = completions_of(policy, prompts, n, seed, plan.max_new_tokens, plan.max_length)
    scores = study_judge().score(drawn.texts).reshape(-1, n)
    rows = [slice(i * n, (i + 1) * n) for i in range(len(prompts))]
    usable = [bool(text.strip()) and ended for text, ended in zip(drawn.responses, drawn.ended, strict=True)]
    responses, fine = [drawn.responses[r] for r in rows], [usable[r] for r in rows]
    return labelled(prompts, responses, fine, scores, plan.scale, seed, apart), int(drawn.length.sum())


def begun(model: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], out: Path) -> None:
    """Keep the start's model, and rows of data beside it, a file each.

    Raises UserError where there are no "pairs" or no "held" ones.
    """
    if not rows["pairs"] or not rows["held"]:
        raise UserError("the start has no two completions of a prefix that end and differ: give it more prefixes")
    with save_folder_atomically(out / START) as folder:
        shutil.copytree(model, folder / "model")
        for name, lines in rows.items():
            write_rows(folder / f"{name}.jsonl", lines)


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_atomically(file, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows))


def start_of(out: Path) -> LanguagePolicy:
    return load_policy(out / START / "model", "cpu")


def ruler_of(plan: Sizes, seed: int, out: Path, proxy: LanguageScorer | None = None, texts: bool = False) -> Ruler:
    """What policies are measured with, for a seed; with a `proxy`, its scores too; with `texts`, what they write."""
    held = read_jsonl(out / START / "held.jsonl")[: plan.held_pairs]
    return Ruler(start_of(out), held_out(plan), held, seed, plan.max_new_tokens, plan.max_length, proxy, texts)


def rewarded(plan: Sizes, data: Path, steps: int, seed: int, out: Path, work: Path, to: Path) -> Found:
    """Train a reward model from the start on the pairs in `data`, and keep it in the folder `to`: what it cost, and the
    step at which it `diverged`, or None. One that has is not kept."""
    done = [0]
    began, clock = time.process_time(), time.perf_counter()
    options = SHARED | {
        "out": str(work / "run"),
        "model": str(out / START / "model"),
        "data": str(data),
        "seed": seed,
        "steps": steps,
        "batch_size": plan.texts // 2,
        "learning_rate": plan.reward_rate,
        "warmup": plan.warmup,
        "max_length": plan.max_length,
        "save_every": 0,
    }
    given = Given(on_step=lambda step, _: done.append(step))
    diverged = divergence(lambda: run_training(*build(load("reward"), options), given), lambda: done[-1])
    if diverged is None:
        with save_folder_atomically(to) as folder:
            shutil.copytree(work / "run" / "model", folder, dirs_exist_ok=True)
    return {"diverged": diverged, "seconds": time.process_time() - began, "wall": time.perf_counter() - clock}
