"""What a run needs on N GPUs: memory by part, FLOPs, bytes sent and seconds. Arithmetic alone: no model is loaded.

Everything is modelled as Burnish does it (docs/several_processes.md), but several processes on GPUs are refused today:
nothing of this has run on GPUs. docs/scale.md has the tables that this prints without arguments, and what they omit.

    python bench/scale.py                                           # the tables of docs/scale.md
    python bench/scale.py --model 7b --method ppo --shard full --ranks 16
    python bench/scale.py --model config.json --method dpo --lora 16    # a transformers configuration
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scale_run import METHODS, Machine, Run, flops, learned, memory, row, seconds, sent
from scale_shape import BUILT_IN, shape_of

SHARDS = ("none", "optimizer", "full")
COLUMNS = {
    "weights": ("weights",),
    "gradients": ("gradients",),
    "optimizer": ("optimizer",),
    "frozen": ("frozen",),
    "activations, logits": ("activations", "logits"),
    "casts, gathered": ("casts", "gathered"),
    "summed": ("summed",),
    "whole, cache": ("whole", "cache"),
    "**training**": ("training",),
    "**loading**": ("loading",),
}
"""The columns of a table of memory, and the parts that they add up."""


def number(value: float) -> str:
    """One digit behind the point, two of a number below 1; nothing for 0."""
    if not value:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(one)} |" for one in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def trains(run: Run) -> str:
    """What is trained, in words."""
    if run.lora:
        return f"LoRA {run.lora}" + (", 4 bits" if run.four_bits else "")
    return run.dtype


Named = Sequence[tuple[str, Run]]
"""Runs, each with its model and the number of GPUs, in words."""


def memory_table(runs: Named) -> str:
    """GB on one GPU, by part. Methods that need the same share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, run in runs:
        found = memory(run)
        cells = [number(sum(found[part] for part in parts) / 1e9) for parts in COLUMNS.values()]
        rows.setdefault((name, trains(run), run.shard, *cells), []).append(run.method)
    lines = [[name, ", ".join(methods), *rest] for (name, *rest), methods in rows.items()]
    return table(["model, GPUs", "method", "trains", "shard", *COLUMNS], lines)


def work_table(runs: Named, machine: Machine) -> str:
    """FLOPs of a token and of a step, seconds of a step, tokens learned from a second, and bytes sent by shard."""
    head = ["model, GPUs", "method", "trains", "forward", "and backward", "checkpointing", "prompts apart"]
    head += ["PFLOP a step", "s computing", "s sampling", "tokens/s", *[f"GB, {shard}" for shard in SHARDS]]
    rows = []
    for name, run in runs:
        once, apart = (sum(row(run, run.shape, shared).values()) for shared in (True, False))
        passes = [once, learned(run, run.shape, False), learned(run, run.shape, True)]
        took = seconds(run, machine)
        cells = [number(value / run.tokens / 1e9) for value in passes] + [f"× {apart / once:.2f}"]
        cells += [number(sum(flops(run).values()) / 1e15), number(took["computing"]), number(took["sampling"])]
        cells += [number(run.rows * run.tokens / (took["computing"] + took["sampling"]))]
        bytes_sent = [sum(sent(replace(run, shard=shard)).values()) for shard in SHARDS]
        rows.append([name, run.method, trains(run), *cells, *[number(value / 1e9) for value in bytes_sent]])
    return table(head, rows)


def page() -> list[str]:
    """The tables of docs/scale.md: memory, and work."""
    small, large = (Run(shape_of(BUILT_IN[name]), ranks=ranks) for name, ranks in (("7b", 8), ("70b", 64)))
    adapter: dict[str, Any] = {"lora": 16}
    kinds: list[tuple[Run, dict[str, Any]]] = [(small, {"shard": shard}) for shard in SHARDS] + [(small, adapter)]
    kinds += [(large, {"shard": "full", "dtype": "bfloat16"}), (large, {"shard": "full"} | adapter)]
    kinds += [(large, {"four_bits": True} | adapter)]
    by_name = {small: "7 B, 8", large: "70 B, 64"}
    held = [(by_name[run], replace(run, method=method, **kind)) for run, kind in kinds for method in METHODS]
    kinds = [(small, {}), (small, adapter), (large, {})]
    work = [(by_name[run], replace(run, method=method, **kind)) for run, kind in kinds for method in METHODS]
    return [memory_table(held), work_table(work, Machine())]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    known, machine = Run(shape_of(BUILT_IN["7b"])), Machine()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help=f"{' or '.join(BUILT_IN)}, or the file of a configuration")
    parser.add_argument("--method", choices=METHODS, default=known.method)
    parser.add_argument("--shard", choices=SHARDS, default=known.shard)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=known.dtype)
    parser.add_argument("--lora", type=int, help="rank of LoRA; without it all weights are trained")
    parser.add_argument("--four-bits", action="store_true", help="--load-in-4bit")
    parser.add_argument("--no-checkpointing", dest="checkpointing", action="store_false")
    for name, text in {
        "ranks": "processes, one on each GPU",
        "prompt": "tokens of a prompt",
        "response": "tokens of a completion",
        "rows": "prompts of a process and step",
        "micro": "tokens of a micro-batch",
    }.items():
        parser.add_argument(f"--{name}", type=int, default=getattr(known, name), help=text)
    for name in ("peak", "share", "memory", "link"):
        parser.add_argument(f"--{name}", type=float, default=getattr(machine, name), help=f"see {Machine.__name__}")
    found = parser.parse_args(argv)
    if found.four_bits and (found.shard == "full" or not found.lora):
        parser.error("--four-bits is for --lora, and cannot be divided: leave out --shard full")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    given = vars(arguments(argv))
    machine = Machine(*[given.pop(name) for name in ("peak", "share", "memory", "link")])
    model = given.pop("model")
    if model is None:
        print("\n\n".join(page()))
        return
    config = BUILT_IN.get(model) or json.loads(Path(model).read_text())
    run = Run(shape_of(config), **given)
    print(f"{run.shape.parameters:,} weights, {run.trainable(run.shape):,} trained; one of {run.ranks} processes\n")
    for title, found, unit in (
        ("GB", memory(run), 1e9),
        ("TFLOP a step", flops(run), 1e12),
        ("GB sent a step", sent(run), 1e9),
        ("seconds a step", seconds(run, machine), 1),
    ):
        print(table([title, ""], [[name, number(value / unit)] for name, value in found.items() if value]) + "\n")


if __name__ == "__main__":
    main()
