"""Short runs with a sampler elsewhere, beside the simulation of bench/pipeline.py: its turns, and how long they take.

The built-in model learns by GRPO from a reward that costs nothing, with `burnish serve` in another process of this
machine. `--delay S` has each rollout take S seconds longer, spread as `--spread` says, as a sampler with a way to go
would: meanwhile nothing computes. For each K the seconds are printed beside those that the simulation makes of the
run's own times, and of the times of the run with K = 0, which is what one knows beforehand. Both sides share the cores:
where these are few, each takes longer while the other works, which the second number does not know.

    python bench/pipeline_runs.py --delay 2 --spread 0.5
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from pipeline import Schedule, Times, jittered, of_run, simulate, table

HEAD = (
    "K",
    "turns",
    "sampling",
    "learning",
    "seconds",
    "of its own times",
    "of those of K = 0",
    "waiting",
    "simulated",
)

WORDS = (
    "This",
    "That",
    "Her",
    "His",
    "Their",
    "My",
    "Your",
    "Our",
    "The",
    "A",
    "Every",
    "No",
    "One",
    "Each",
    "Some",
    "Any",
)
"""What the prompts begin with."""


def longer(prompts: list[str], responses: list[str]) -> list[float]:
    """A reward that costs nothing."""
    return [float(len(one)) for one in responses]


@contextmanager
def server() -> Iterator[str]:
    """The address of `burnish serve` with the built-in model, in another process."""
    command = [sys.executable, "-m", "burnish", "serve", "builtin", "--port", "0", "--threads", "1", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = next(line for line in process.stderr if "is served at" in line)
        yield said.split(" is served at ")[1].split(";")[0]
    finally:
        process.terminate()
        process.wait()


def delayed(asked: Callable[..., Any], delays: list[float], rows: int) -> Callable[..., Any]:
    """`Connection.asked`, which takes the next of these seconds longer for each rollout of so many rows."""
    left = iter(delays)

    @wraps(asked)
    def longer(self: Any, handed: Any, wanted: Any, limits: Any) -> Any:
        if len(wanted.prompts) == rows:  # not a handshake's
            time.sleep(next(left))
        return asked(self, handed, wanted, limits)

    return longer


def noted(method: Callable[..., Any], spans: list[tuple[float, float]]) -> Callable[..., Any]:
    """A method that notes when each of its calls began and ended."""

    @wraps(method)
    def noting(*given: Any) -> Any:
        began = time.perf_counter()
        found = method(*given)
        spans.append((began, time.perf_counter()))
        return found

    return noting


def measured(url: str, out: Path, lag: int, delays: list[float], given: argparse.Namespace) -> tuple[Times, float]:
    """The times of a run's turns, and its seconds from the first turn to the last update."""
    from burnish.algorithms.table import load
    from burnish.config import build
    from burnish.policies.language import served
    from burnish.recipes.train.run import run_training
    from burnish.run import read_jsonl

    rows, data = given.prompts * given.completions, out.with_suffix(".jsonl")
    data.write_text("".join(json.dumps({"prompt": f"{each} film was"}) + "\n" for each in WORDS))
    options: dict[str, Any] = {"model": "builtin", "data": str(data), "out": str(out), "sampler": url, "threads": 1}
    options |= {"rollout": given.prompts, "completions_per_prompt": given.completions, "batch_size": rows}
    options |= {"steps": len(delays), "max_new_tokens": given.tokens, "save_every": 0, "quiet": True, "device": "cpu"}
    options |= {"staleness": lag, "reward": longer}
    loads: list[tuple[float, float]] = []
    samples: list[tuple[float, float]] = []
    kept = served.Connection.asked, served.ServedSampler.load, served.ServedSampler.sample
    served.Connection.asked = delayed(kept[0], delays, rows)
    served.ServedSampler.load, served.ServedSampler.sample = noted(kept[1], loads), noted(kept[2], samples)
    try:
        run_training(*build(load("grpo"), options))
    finally:
        served.Connection.asked, served.ServedSampler.load, served.ServedSampler.sample = kept
    found = read_jsonl(out / "timings.jsonl")
    seconds = sum(row["seconds"] for row in found if "turn" not in row)
    if lag:
        return of_run(out), seconds
    loads, samples = loads[: len(delays)], samples[: len(delays)]
    sampling = [end - begin for (begin, _), (_, end) in zip(loads, samples, strict=True)]
    begins = [begin for begin, _ in loads]
    learning = [later - end for (_, end), later in zip(samples, begins[1:], strict=False)]
    return Times([0.0] * len(delays), sampling, [*learning, seconds - sum(sampling) - sum(learning)]), seconds


def row_of(lag: int, own: Schedule, ahead: Schedule, seconds: float, waiting: float) -> list[str]:
    """A run beside what is simulated of its own times and of those of K = 0."""
    times = own.times
    means = [f"{sum(each) / times.turns:.2f}" for each in (times.sampling, times.learning)]
    simulated = [f"{one:.1f}" for one in (own.seconds, ahead.seconds)]
    return [
        str(lag),
        str(times.turns),
        *means,
        f"{seconds:.1f}",
        *simulated,
        f"{waiting:.1f}",
        f"{sum(own.waiting):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--staleness", type=int, nargs="+", default=[1, 4], help="beside 0")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=8, help="of a rollout")
    parser.add_argument("--completions", type=int, default=4, help="of a prompt")
    parser.add_argument("--tokens", type=int, default=32, help="of a completion")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that a rollout takes longer")
    parser.add_argument("--spread", type=float, default=0.0, help="deviation of the logarithm of the delays")
    given = parser.parse_args()
    delays = jittered(given.delay, given.spread, given.turns, 0)
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}, cores: {os.cpu_count()}")
    rows, first = [], None
    with tempfile.TemporaryDirectory() as folder, server() as url:
        for lag in (0, *given.staleness):
            times, seconds = measured(url, Path(folder) / str(lag), lag, delays, given)
            first = first or times
            own, ahead = simulate(times, lag), simulate(first, lag)
            waiting = sum(times.sampling) if lag == 0 else waited(Path(folder) / str(lag))
            rows.append(row_of(lag, own, ahead, seconds, waiting))
    print(table(rows, HEAD))
    print(f"load of the machine afterwards: {os.getloadavg()[0]:.1f}")


def waited(out: Path) -> float:
    """The seconds in which a run waited for its sampler."""
    from burnish.run import read_jsonl

    return sum(row["waiting"] for row in read_jsonl(out / "timings.jsonl") if "turn" in row)


if __name__ == "__main__":
    main()
