"""How time and memory of a training step grow with lengths, vocabulary, batch, model and data.

Every point is measured in a process of its own, forked after the imports: CPU seconds of an update (the fastest of a
few behind a warm-up), and the memory that the process had at most beyond what it began with. Models are of GPT-2's
shape with random weights, tokens are random, and nothing else runs in the process. "start" is another matter: whole
commands. See README.md beside this file.
"""

import argparse
import dataclasses
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import vl_convert
from growth_shown import Curve, Point, Shape, figure, table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from burnish import DPO, Algorithm, Loss, Models, Term, __version__, fit
from burnish.batches import Preferences
from burnish.config import build, checked
from burnish.data import builtin
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.train.rows import streamed
from burnish.report import theme
from burnish.report.figures import vega_lite_version
from burnish.run import write_atomically

MIB = 2**20
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit of a peak."""


CURVES = {
    "response": Curve("response length (tokens)", "response", (16, 32, 64, 128, 256, 512)),
    "prompt": Curve("prompt length (tokens)", "prompt", (16, 32, 64, 128, 256, 512)),
    "vocabulary": Curve("vocabulary", "vocabulary", (1_000, 4_000, 16_000, 32_000, 64_000)),
    "batch": Curve("pairs in a batch", "batch", (1, 2, 4, 8, 16, 32), work="DPO"),
    "model": Curve("parameters", "width", (64, 128, 256, 384, 512), parameters=True),
    "completions": Curve(
        "completions of a prompt of 128 tokens",
        "completions",
        (1, 2, 4, 8, 16, 32),
        Shape(prompt=128, batch=1),
        "log-likelihood",
    ),
    "pairs": Curve("preference pairs on disk", "rows", (1_000, 10_000, 100_000, 1_000_000), work="reading for DPO"),
    "start": Curve(
        "preference pairs on disk", "rows", (1_000, 1_000_000), work="burnish dpo to its first update", command=True
    ),
}
TINY = Shape(layers=1, width=16, vocabulary=64, prompt=4, response=4, batch=2)


@dataclass(frozen=True)
class Likelihood(Algorithm):
    """−log π of all completions, as in a policy gradient with advantage 1."""

    data = "preferences"

    def loss(self, models: Any, batch: Any) -> Loss:
        return Loss({"nll": Term(-models.policy.logprobs(batch), batch.mask)})


class Zero:
    """Stands in for the reference's table, which is only read."""

    def logprobs(self, batch: Any) -> torch.Tensor:
        return torch.zeros(batch.mask.shape)


# Models and batches --------------------------------------------------------------------------------------------------


def policy_of(shape: Shape, words: Sequence[str] = ()) -> LanguagePolicy:
    """A random model of the shape, and a tokenizer of `words` that splits at white space."""
    names = ["</s>", "<unk>", *words]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    config = GPT2Config(
        vocab_size=max(shape.vocabulary, len(names)),
        n_layer=shape.layers,
        n_embd=shape.width,
        n_head=max(1, shape.width // 64),
        n_positions=max(512, shape.prompt + shape.response),
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    return LanguagePolicy(GPT2LMHeadModel(config), tokenizer)


def batch_of(shape: Shape) -> Preferences:
    """Random completions behind random prompts, all of the same lengths."""
    torch.manual_seed(1)
    prompts = torch.randint(shape.vocabulary, (shape.batch, 1, shape.prompt)).expand(-1, shape.completions, -1)
    responses = torch.randint(shape.vocabulary, (shape.batch, shape.completions, shape.response))
    tokens = torch.cat([prompts, responses], -1)
    mask = (torch.arange(tokens.shape[-1]) >= shape.prompt).expand(tokens.shape)
    lengths = torch.full(tokens.shape[:2], tokens.shape[-1])
    return Preferences(tokens, mask, lengths, torch.arange(shape.batch))


def write_pairs(path: Path, rows: int) -> None:
    """Comparisons of built-in film snippets, each with its number."""
    found = [(row["chosen"], row["rejected"]) for row in builtin.comparisons("train")]
    with path.open("w") as file:
        for number in range(rows):
            good, bad = found[number % len(found)]
            row = {"prompt": f"Review {number}:", "chosen": f" {good} {number}", "rejected": f" {bad} {number}"}
            file.write(json.dumps(row) + "\n")


# Measuring -----------------------------------------------------------------------------------------------------------


def updates(shape: Shape, repeats: int) -> Point:
    """The cost of an update, of which one more is made to warm up."""
    before = held()
    policy, batch = policy_of(shape), batch_of(shape)
    pairs = shape.completions == 2 and shape.batch > 1
    algorithm: Any = DPO() if pairs else Likelihood()
    marks = [time.process_time()]
    fit(
        Models(policy=policy, reference=Zero()),
        algorithm,
        [batch] * (repeats + 1),
        on_step=lambda step, metrics: marks.append(time.process_time()),
    )
    seconds = min(after - begin for begin, after in pairwise(marks[1:]))
    return Point(0, seconds, (held() - before) / MIB)


def reading(path: Path, repeats: int) -> Point:
    """The cost of reading and tokenising a pair of a file, over at most a few thousand of them."""
    before = held()
    algorithm, settings = build(DPO, {"data": str(path), "streaming": True, "quiet": True})
    policy = policy_of(TINY, ["the", "film", "Review"])
    began = time.process_time()
    data = streamed(algorithm, checked(algorithm, settings), policy, str(path))
    data.files_digest  # noqa: B018 - computed before the first step of a run
    batches = data.batches(8, {})
    next(batches)
    first = time.process_time()
    count = min(len(data.plan or ()) // 8, 500 * repeats)
    for _ in range(count):
        next(batches)
    per_pair = (time.process_time() - first) / (8 * count)
    return Point(0, per_pair, (held() - before) / MIB, first - began)


PEAK = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""
"""Runs a command and prints its peak; a large process would count its own memory, which it has until the command is
loaded."""


def starting(path: Path, repeats: int) -> Point:
    """The cost of a start of `burnish dpo` with the built-in model, from the command to its first update: the time on
    the clock, and all the memory that it had at most."""
    own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "BURNISH_CACHE": str(path.parent / "cache")}
    seconds, peaks = [], []
    for number in range(repeats):
        out = path.parent / f"run-{number}"
        options = ["--data", str(path), "--out", str(out), "--steps", "1", "--save-every", "0"]
        command = [
            sys.executable,
            "-c",
            PEAK,
            sys.executable,
            "-m",
            "burnish",
            "dpo",
            "--streaming",
            "--quiet",
            *options,
        ]
        began = time.time()
        done = subprocess.run(command, check=True, env=os.environ | own, stdout=subprocess.PIPE, text=True)
        seconds.append((out / "metrics.jsonl").stat().st_mtime - began)  # its only line is that of the first update
        peaks.append(int(done.stdout.split()[-1]) * UNIT / MIB)
    return Point(0, min(seconds), max(peaks))


def held() -> int:
    """The bytes that the process had in memory at most until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def alone(work: Callable[[], Point]) -> Point:
    """`work` in a forked process, whose memory at most begins as what this one has now."""
    receiver, sender = get_context("fork").Pipe(duplex=False)

    def send() -> None:
        torch.set_num_threads(1)
        sender.send(work())

    process = get_context("fork").Process(target=send)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise SystemExit("a process ended without a result: its error is above") from None
    finally:
        process.join()


def measured(curve: Curve, repeats: int, tell: Callable[[str], None]) -> list[Point]:
    points = []
    for value in curve.values:
        shape, x = replace(curve.shape, **{curve.field: value}), value
        if curve.field == "rows":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "pairs.jsonl"
                write_pairs(path, value)
                point = alone(partial(starting if curve.command else reading, path, repeats))
        else:
            point = alone(partial(updates, shape, repeats))
        if curve.parameters:
            x = policy_of(shape).model.num_parameters()
        points.append(replace(point, x=x))
        tell(f"{curve.title} {x:,}: {point.seconds * 1000:,.2f} ms, {point.mib:,.0f} MiB")
    return points


# What is written ----------------------------------------------------------------------------------------------------


def save(out: Path, curves: dict[str, list[Point]], repeats: int) -> None:
    """`growth.json`, `growth.md`, `growth.png` and `growth.svg` in a folder."""
    machine = {"machine": platform.platform(), "cpu": torch.backends.cpu.get_cpu_capability(), "cores": os.cpu_count()}
    content = machine | {"torch": torch.__version__, "burnish": __version__, "repeats": repeats}
    found = [(CURVES[name], points) for name, points in curves.items()]
    content |= {"curves": {name: [dataclasses.asdict(p) for p in points] for name, points in curves.items()}}
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "growth.json", json.dumps(content, indent=1) + "\n")
    write_atomically(out / "growth.md", table(found))
    spec = theme.for_file(figure(found).configure(**theme.vega_config()).to_dict())
    write_atomically(out / "growth.png", vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=2))
    write_atomically(out / "growth.svg", vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version()))


def tiny(curve: Curve) -> Curve:
    """The first two points of a curve, with a model for tests."""
    small = replace(TINY, completions=curve.shape.completions, batch=min(TINY.batch, curve.shape.batch))
    values = (16, 32) if curve.field in ("width", "vocabulary", "rows") else curve.values[:2]
    return replace(curve, shape=small, values=values)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", default=",".join(CURVES), help="which curves, with commas; default: all")
    parser.add_argument("--repeats", type=int, default=2, help="updates or starts per point: the fastest counts")
    parser.add_argument("--pairs", help="numbers of pairs on disk, with commas, for the curves pairs and start")
    parser.add_argument("--out", type=Path, default=Path("bench/growth"), help="folder to write")
    parser.add_argument("--tiny", action="store_true", help="two small points per curve: only to see that it runs")
    given = parser.parse_args(arguments)
    names = given.curves.split(",")
    if unknown := set(names) - CURVES.keys():
        parser.error(f"--curves: no such curve {min(unknown)}; the curves are {', '.join(CURVES)}")
    if given.repeats < 1:
        parser.error("--repeats must be at least 1")
    try:
        pairs = tuple(int(number) for number in given.pairs.split(",")) if given.pairs else ()
    except ValueError:
        parser.error(f"--pairs: {given.pairs} is not a list of numbers such as 1000,1000000")
    torch.set_num_threads(1)
    chosen = {name: tiny(CURVES[name]) if given.tiny else CURVES[name] for name in names}
    chosen = {name: replace(c, values=pairs) if pairs and c.field == "rows" else c for name, c in chosen.items()}
    curves = {name: measured(curve, given.repeats, print) for name, curve in chosen.items()}
    save(given.out, curves, given.repeats)
    print((given.out / "growth.md").read_text(), end="")


if __name__ == "__main__":
    main()
