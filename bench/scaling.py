"""Weak scaling: the same rows per process, with 1 and with 2 processes of one thread each.

Trains a small model twice, by SFT and by RLOO, with a batch that grows with the processes, and prints for each the
tokens per second and process, the CPU seconds per 1,000 tokens, and the share of the time spent in collectives, from
the run's own `timings.jsonl`. On a machine with free cores the first number should stay; on a busy one the second is
the one to read: it says what the processes do more than one alone, apart from waiting.

    python bench/scaling.py [--rows 16] [--steps 8] [--width 128]
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))


def trained(method: str, folder: str, size: int, rows: int, steps: int) -> dict[str, float]:
    """One process's part of a run: its CPU seconds, and what timings.jsonl says of it."""
    import torch

    from burnish.algorithms.table import load
    from burnish.config import build
    from burnish.recipes.train.run import run_training
    from burnish.run import read_jsonl
    from burnish.run.world import joined

    os.environ["BURNISH_CACHE"] = str(Path(folder) / "cache")
    torch.set_num_threads(1)
    world, out = joined(), Path(folder) / f"{method} {size}"
    options: dict[str, Any] = {"model": f"{folder}/model", "out": str(out), "threads": 1, "quiet": True}
    options |= {"batch_size": rows * size, "steps": steps, "max_length": 48, "log_every": steps, "save_every": 0}
    if method == "sft":
        options["data"] = f"{folder}/texts.jsonl"
    else:
        more = {"completions_per_prompt": 4, "max_new_tokens": 16, "reward": score}
        options |= {"data": f"{folder}/prompts.jsonl"} | more
    began: list[float] = []
    run_training(*build(load(method), options), change=lambda models: began.append(time.process_time()))
    spent = time.process_time() - began[0]  # without loading the model
    world.barrier()
    (row,) = read_jsonl(out / "timings.jsonl")
    (last,) = read_jsonl(out / "metrics.jsonl")
    own = row.get("by_process", [row["tokens_per_second"]])[world.rank]
    return {"cpu": spent, "rate": own, "waiting": row.get("waiting", [0.0])[world.rank], "tokens": last["num_tokens"]}


def score(prompts: list[str], responses: list[str]) -> list[float]:
    """A reward that costs nothing."""
    return [float(len(one)) for one in responses]


def main() -> None:
    import ranks
    import tiny

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=16, help="rows of a batch per process")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--width", type=int, default=128, help="of the model's layers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tiny.save_model(Path(folder) / "model", "gpt2", n_embd=options.width)
        tiny.write_rows(Path(folder) / "texts.jsonl", tiny.text_rows(400))
        tiny.write_rows(Path(folder) / "prompts.jsonl", tiny.prompt_rows(400))
        print("| method | processes | tokens/s and process | CPU s per 1,000 tokens | waiting |")
        print("|---|---|---|---|---|")
        for method in ("sft", "rloo"):
            for size in (1, 2):
                ends = Path(folder) / "ends"
                found = ranks.together(size, ends, trained, method, folder, size, options.rows, options.steps)
                if failed := [one for one in found if isinstance(one, Exception)]:
                    raise failed[0]
                rate, waiting = (sum(one[key] for one in found) / size for key in ("rate", "waiting"))
                cost = 1000 * sum(one["cpu"] for one in found) / found[0]["tokens"]
                print(f"| {method} | {size} | {rate:.0f} | {cost:.2f} | {waiting:.0%} |", flush=True)


if __name__ == "__main__":
    main()
