"""How fast language models are trained and sampled: Burnish beside TRL, on the same models, rows and batches.

The two sides take turns, Burnish first, each job in a process of its own. See README.md beside this file.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from language_clock import Job
from language_limits import BFLOAT16, instructions, needed
from language_works import HERE, PEER, TOLERANCE, WORKS, Plan, arguments, planned, python_of
from rich import box
from rich.console import Console
from rich.table import Table

from burnish.run import UserError

SCRIPTS = {"burnish": "language_burnish.py", "peer": "language_trl.py"}
FIGURES = ("seconds", "core_seconds", "whole_seconds", "peak_mb")
Found = dict[str, Any]


def process(python: Path, script: str, *words: str, threads: int = 1, folder: Path | None = None) -> Any:
    """Run a script of this folder and return the JSON that it printed last. Raises UserError where it fails."""
    if not python.exists():
        raise UserError(f"there is no {python}: use make bench-language, which sets it up")
    own = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if folder is not None:  # a cold cache of data sets and of the reference
        own |= {"BURNISH_CACHE": str(folder / "burnish"), "HF_DATASETS_CACHE": str(folder / "datasets")}
    command = [str(python), str(HERE / script), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | own)
    if done.returncode:
        raise UserError(f"{script} failed: {' / '.join(done.stderr.strip().splitlines()[-3:])}")
    return json.loads(done.stdout.splitlines()[-1])


def turn(case: tuple[str, str, str], side: str, plan: Plan, made: Path, noted: Path) -> Found:
    """One side's figures of a case."""
    work, size, precision = case
    with tempfile.TemporaryDirectory() as name:
        job = Job(work, size, precision, plan.threads, str(made), name, str(noted))
        words = json.dumps(asdict(job))
        return process(python_of(work), SCRIPTS[side], words, threads=plan.threads, folder=Path(name))


def row(
    case: tuple[str, str, str], shape: dict[str, int], peak: float, rounds: list[dict[str, Found]], threads: int
) -> Found:
    """What language.json says of a case: each side's medians over the rounds, ratios, and the distance to the limit.

    The share of the limit is of seconds on a core, which a busy machine disturbs less than wall time.
    """
    work, first = WORKS[case[0]], rounds[0]["burnish"]
    tokens = sum(sum(lengths) for batch in first["batches"] for lengths in batch["lengths"])
    given = sum(sum(starts) for batch in first["batches"] for starts in batch["starts"])
    flops, count = needed(work, shape, first["batches"]), work.counts[case[1]] * work.group
    found: Found = dict(zip(("work", "size", "precision"), case, strict=True))
    found |= {
        "rows": count,
        "unit": work.unit,
        "tokens": tokens - given if work.online else tokens,
        "needed_flops": flops,
    }
    for side in rounds[0]:
        figures = {name: statistics.median(one[side][name] for one in rounds) for name in FIGURES}
        # Sampled texts differ in length from side to side.
        own = statistics.median(one[side].get("new_tokens", found["tokens"]) for one in rounds)
        found[side] = {name: round(value, 3) for name, value in figures.items()} | {
            "rows_per_second": round(count / figures["seconds"], 3),
            "rows_per_core_second": round(count / figures["core_seconds"], 3),
            "tokens_per_second": round(own / figures["seconds"], 1),
            "tokens_per_core_second": round(own / figures["core_seconds"], 1),
            "share_of_limit": round(flops / (figures["core_seconds"] / threads) / peak, 4),
        }
    found["rounds"] = [{side: {name: round(one[side][name], 3) for name in FIGURES} for side in one} for one in rounds]
    if "peer" in found:
        found |= ratios(found["burnish"], found["peer"]) | {"loss_difference": difference(rounds)}
    return found


def ratios(ours: Found, theirs: Found) -> dict[str, float]:
    """How many times as fast as the peer, by wall time and by seconds on a core, and how much of its memory."""
    return {
        "ratio": round(ours["tokens_per_second"] / theirs["tokens_per_second"], 3),
        "ratio_of_core_seconds": round(ours["tokens_per_core_second"] / theirs["tokens_per_core_second"], 3),
        "ratio_of_memory": round(ours["peak_mb"] / theirs["peak_mb"], 3),
    }


def difference(rounds: list[dict[str, Found]]) -> float | None:
    """The largest difference of a step's losses; None where both sides sample their own texts.

    Infinite where the sides have not the same number of steps.
    """
    pairs = [(one["burnish"]["losses"], one["peer"]["losses"]) for one in rounds]
    if not all(theirs for _, theirs in pairs):
        return None
    if any(len(ours) != len(theirs) for ours, theirs in pairs):
        return float("inf")
    return max(abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))


def machine() -> Found:
    """Where this was measured, and how busy it was at the time."""
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return {
        "cpu": named[0].partition(": ")[2] if named else platform.processor(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("burnish", "torch", "transformers")},
    }


def measure(plan: Plan, console: Console) -> tuple[list[Found], dict[str, float]]:
    """All cases in turns, and the peak of matrix products by precision."""
    peaks, rows = process(PEER, "language_limits.py", str(plan.threads), threads=plan.threads), []
    console.print("peak of products: " + ", ".join(f"{k} {v / 1e9:.0f} GFLOP/s" for k, v in peaks.items()))
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        shapes = process(PEER, "language_made.py", name, *dict.fromkeys(size for _, size, _ in plan.cases))
        for case in plan.cases:
            if case[2] not in peaks:
                console.print(f"{', '.join(case)}: left out, the machine has none of {', '.join(BFLOAT16)}")
                rows.append(dict(zip(("work", "size", "precision"), case, strict=True)))
                continue
            rounds = []
            for number in range(plan.rounds):
                rounds.append({side: turn(case, side, plan, made, made / "noted.json") for side in plan.sides})
                said = (f"{side} {one['seconds']:.1f} s" for side, one in rounds[-1].items())
                console.print(f"{', '.join(case)}, round {number + 1}: {', '.join(said)}", highlight=False)
            rows.append(row(case, shapes[case[1]], peaks[case[2]], rounds, plan.threads))
    return rows, peaks


HEADINGS = (
    "work",
    "size",
    "precision",
    "rows/s",
    "tokens/s",
    "TRL rows/s",
    "TRL tokens/s",
    "ratio",
    "core time",
    "MB",
    "TRL MB",
    "memory",
    "losses",
    "limit",
)


def table(rows: Sequence[Found], plan: Plan) -> Table:
    """The results, as Markdown."""
    title = f"Burnish and TRL, threads: {plan.threads}, medians of rounds: {plan.rounds}"
    made = Table(title=title, box=box.MARKDOWN)
    for heading in HEADINGS:
        made.add_column(heading, justify="left" if heading in HEADINGS[:3] else "right", no_wrap=True)
    for r in rows:
        made.add_row(*cells(r))
    return made


def cells(r: Found) -> list[str]:
    """A line of the table; what was not measured stays empty. The sampler's rows are completions."""
    found = [WORKS[r["work"]].title, r["size"], r["precision"]]
    if "burnish" not in r:
        return found + [""] * (len(HEADINGS) - 3)
    if not WORKS[r["work"]].trains:
        found[0] += f", batch {WORKS[r['work']].batch}"
    ours, theirs = r["burnish"], r.get("peer")
    gap = r.get("loss_difference")
    return [
        *found,
        f"{ours['rows_per_second']:,.1f}",
        f"{ours['tokens_per_second']:,.0f}",
        f"{theirs['rows_per_second']:,.1f}" if theirs else "",
        f"{theirs['tokens_per_second']:,.0f}" if theirs else "",
        f"{r['ratio']:.2f} ×" if theirs else "",
        f"{r['ratio_of_core_seconds']:.2f} ×" if theirs else "",
        f"{ours['peak_mb']:,.0f}",
        f"{theirs['peak_mb']:,.0f}" if theirs else "",
        f"{r['ratio_of_memory']:.2f}" if theirs else "",
        "" if gap is None else f"{gap:.0e}",
        f"{ours['share_of_limit']:.0%}",
    ]


def disagreeing(rows: Sequence[Found]) -> list[str]:
    """The float32 cases whose losses differ by more than the tolerance."""
    return [
        f"{r['work']}, {r['size']}: {r['loss_difference']:.1e}"
        for r in rows
        if r["precision"] == "float32" and (r.get("loss_difference") or 0.0) > TOLERANCE
    ]


def main(words: Sequence[str]) -> int:
    plan, console = planned(arguments(words)), Console(width=max(170, Console().width))
    where, began = machine(), time.perf_counter()
    console.print(
        f"{where['cpu']}, {', '.join(where['instructions'])}; load {where['load_before'][0]}", highlight=False
    )
    rows, peaks = measure(plan, console)
    console.print(table(rows, plan))
    found = {
        "threads": plan.threads,
        "rounds": plan.rounds,
        "seconds": round(time.perf_counter() - began, 1),
        "machine": where | {"peak_flops": peaks},
        "results": rows,
    }
    Path(plan.out).write_text(json.dumps(found, indent=2) + "\n")
    for line in (wrong := disagreeing(rows)):
        console.print(f"losses differ by more than {TOLERANCE}: {line}", highlight=False)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"language.py: {error}")
