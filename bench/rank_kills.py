"""One process of a run is killed at thirty places: the others have to end within seconds, and `--resume` goes on.

The places are spread over the start, sampling, scoring, updates, evaluation and saving of a small run of two processes.
After each kill a sentence has to name the process that was killed (before the first update and behind the last one it
may be torchrun alone that does, which ends the other one), and the run given again with `--resume` has to leave the
same weights and metrics, to the bit, as a run that nothing happened to. Then the same once under the real torchrun,
which starts both again by itself.
Prints a Markdown table; exit status 1 if a place broke one of these promises.

    python bench/rank_kills.py                 all of it, about ten minutes on a free core
    python bench/rank_kills.py --every 5       every fifth place, without torchrun
    python bench/rank_kills.py --skip 15       all but the first fifteen
    python bench/rank_kills.py --shard full    other places: where weights are divided, gathered and saved in parts
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

SECONDS = 20.0
"""In which all processes must have ended: a few, and as much again on a busy machine."""

PLACES: list[tuple[str, str, int, int]] = [
    ("start", "joining", 0, 1),
    ("start", "joining", 1, 1),
    ("start", "loading", 0, 1),
    ("start", "loading", 1, 1),
    ("start", "reading", 0, 1),
    ("start", "reading", 1, 1),
    ("start", "noting", 1, 1),
    ("sampling", "mid-rollout", 0, 2),
    ("sampling", "mid-rollout", 1, 5),
    ("sampling", "mid-rollout", 0, 12),
    ("sampling", "mid-rollout", 1, 17),
    ("scoring", "scoring", 0, 1),
    ("scoring", "scoring", 1, 2),
    ("scoring", "scoring", 0, 4),
    ("update", "preparing", 0, 1),
    ("update", "preparing", 1, 3),
    ("update", "mid-accumulation", 0, 2),
    ("update", "mid-accumulation", 1, 4),
    ("update", "summing", 0, 1),
    ("update", "summing", 1, 4),
    ("update", "after the update", 1, 2),
    ("evaluation", "mid-evaluation", 0, 1),
    ("evaluation", "mid-evaluation", 1, 1),
    ("save", "before a checkpoint", 0, 2),
    ("save", "before a checkpoint", 1, 2),
    ("save", "mid-save", 0, 1),
    ("save", "after a checkpoint", 0, 1),
    ("save", "mid-line", 0, 3),
    ("save", "before the model", 0, 1),
    ("save", "mid-model", 0, 1),
]
"""Phase, place (as in tests/jobs.py, or below), the process, and which time that it comes there."""

DIVIDED: list[tuple[str, str, int, int]] = [
    ("start", "loading", 1, 1),
    ("start", "dividing", 1, 1),
    ("sampling", "gathering whole", 0, 1),
    ("sampling", "mid-rollout", 1, 5),
    ("scoring", "scoring", 0, 2),
    ("all-gather", "gathering", 0, 10),
    ("all-gather", "gathering", 1, 21),
    ("all-gather", "gathering", 1, 34),
    ("update", "mid-accumulation", 0, 3),
    ("evaluation", "mid-evaluation", 1, 1),
    ("save", "staging", 1, 1),
    ("end", "writing", 0, 2),
    ("end", "writing", 1, 2),
    ("end", "before the model", 0, 1),
    ("end", "writing the model", 1, 1),
]
"""The same for `--shard full`. "gathering" counts every collective of FSDP2 in the loop, forwards and backwards."""

ARGUMENTS = shlex.split(
    "rloo --model model --data prompts.jsonl --eval-data prompts.jsonl --reward rewards:score --out run --threads 1 "
    "--rollout 3 --completions-per-prompt 2 --batch-size 6 --accumulate 2 --max-new-tokens 4 --max-length 40 --steps 4 "
    "--save-every 2 --keep-checkpoints 1 --eval-every 3 --quiet --resume"
)
REWARD = "def score(prompts, responses):\n    return [float(len(one)) for one in responses]\n"


def prepare(folder: Path) -> Path:
    """A folder with a model, prompts and a reward, for one run; the log's path in it."""
    import tiny

    folder.mkdir(parents=True)
    tiny.save_model(folder / "model", "gpt2")
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(7))
    (folder / "rewards.py").write_text(REWARD)
    return folder / "log.txt"


def dying(arguments: list[str], log: str, place: tuple[str, int] | None, environment: dict[str, str]) -> None:
    """`jobs.child`, with more places to die at."""
    import jobs
    from torch.distributed.checkpoint import HuggingFaceStorageWriter

    from burnish.cli import processes
    from burnish.experience.language import sampling
    from burnish.policies.language import saving, sharding
    from burnish.recipes.train import run
    from burnish.run import shards
    from burnish.run.world import World
    from burnish.training.language import learner

    more: dict[str, tuple[Any, str]] = {
        "joining": (processes, "joined"),
        "loading": (run, "load_models"),
        "reading": (run, "read_data"),
        "noting": (run, "note_environment"),
        "scoring": (sampling, "scored"),
        "preparing": (learner, "prepared"),
        "summing": (World, "sum_gradients"),
        "dividing": (sharding, "divide"),
        "gathering": (sharding.Counted, "__call__"),
        "gathering whole": (sharding.Shards, "gathered"),
        "staging": (shards.Copies, "stage"),
        "writing": (HuggingFaceStorageWriter, "write_data"),
        "writing the model": (saving, "write"),
    }
    if place is not None and place[0] in more:
        (holder, name), times, begin = more[place[0]], place[1], run.train_loop

        def place_it() -> None:
            setattr(holder, name, counted(getattr(holder, name), times, jobs.die))

        def loop(*args: Any, **kwargs: Any) -> Any:
            place_it()
            return begin(*args, **kwargs)

        if place[0].startswith("gathering"):  # which is done while models are loaded, too
            run.train_loop = loop
        else:
            place_it()
        place = None
    jobs.child(arguments, log, place, environment)


def counted(original: Callable[..., Any], times: int, die: Callable[[], None]) -> Callable[..., Any]:
    """The function, which dies when it is called for the `times`-th time."""
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == times:
            die()
        return original(*args, **kwargs)

    return wrapped


def run(arguments: list[str], log: Path, crash: tuple[int, str, int] | None = None) -> tuple[list[int], float]:
    """The exit statuses of two processes of a command, and the seconds from the first end to the last.

    As torchrun's agent does, it sends SIGTERM to the other when one has failed.
    """
    import jobs
    import ranks

    processes = []
    for rank, environment in enumerate(ranks.variables(2)):
        place = crash[1:] if crash and crash[0] == rank else None
        process = jobs.CONTEXT.Process(target=dying, args=(arguments, str(log), place, environment))
        process.start()
        processes.append(process)
    ended, told = None, False
    while any(process.is_alive() for process in processes):
        failed = any(process.exitcode not in (None, 0) for process in processes)
        now = time.monotonic()
        ended = now if ended is None and failed else ended
        if ended is not None and not told and now - ended > 0.1:
            for process in processes:
                if process.is_alive():
                    process.terminate()
            told = True
        if ended is not None and now - ended > 4 * SECONDS:
            for process in processes:
                process.kill()
        time.sleep(0.02)
    statuses = [process.exitcode or 0 for process in processes]
    return statuses, 0.0 if ended is None else time.monotonic() - ended


def left(folder: Path) -> tuple[bytes, bytes, bytes]:
    """What must not depend on a kill."""
    names = ("model/model.safetensors", "metrics.jsonl", "samples.jsonl")
    weights, metrics, samples = ((folder / "run" / name).read_bytes() for name in names)
    return weights, metrics, samples


def killed(
    arguments: list[str], folder: Path, place: tuple[str, str, int, int], whole: tuple[bytes, bytes, bytes]
) -> dict[str, Any]:
    """One kill and the resumption."""
    phase, name, rank, times = place
    log = prepare(folder)
    statuses, seconds = run(arguments, log, (rank, name, times))
    said = log.read_text() if log.exists() else ""
    other = statuses[1 - rank]
    names = f"process {rank} of 2 has ended" in said or (phase in ("start", "end") and other == -signal.SIGTERM)
    again, _ = run(arguments, log)
    same = again == [0, 0] and left(folder) == whole
    found = {"phase": phase, "place": f"{name}, time {times}", "killed": rank, "seconds": round(seconds, 1)}
    found |= {"other": other, "named": names, "same bits": same}
    fine = statuses[rank] == -signal.SIGKILL and other != 0 and seconds < SECONDS and names and same
    return found | {"fine": fine, "traceback": "Traceback" in said}


def restarted(arguments: list[str], folder: Path, whole: tuple[bytes, bytes, bytes]) -> bool:
    """Whether the real torchrun, with --max-restarts 1 and --resume, goes on after a kill to the same bits."""
    prepare(folder)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "1", "-m", "burnish", *arguments]
    running = subprocess.Popen(command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"})
    metrics, log = folder / "run/metrics.jsonl", folder / "run/logs/rank-001.txt"
    while running.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 1):
        time.sleep(0.005)
    if running.poll() is None:
        (number,) = re.findall(r"process 1 of 2 begins: number (\d+)", log.read_text())
        os.kill(int(number), signal.SIGKILL)
    fine = running.wait() == 0 and left(folder) == whole
    return fine and log.read_text().count("begins") == 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take every so many places, and leave torchrun out")
    parser.add_argument("--skip", type=int, default=0, help="leave so many places out")
    parser.add_argument("--shard", choices=("none", "full"), default="none")
    options = parser.parse_args()
    places = (DIVIDED if options.shard == "full" else PLACES)[options.skip :: options.every]
    arguments = [*ARGUMENTS, "--shard", options.shard]
    with tempfile.TemporaryDirectory() as held:
        top = Path(held)
        os.environ["BURNISH_CACHE"] = str(top / "cache")
        assert run(arguments, prepare(top / "whole"))[0] == [0, 0], (top / "whole/log.txt").read_text()
        whole, broken = left(top / "whole"), 0
        keys = ("phase", "place", "killed", "seconds", "other", "named", "same bits")
        print("|", " | ".join(keys), "|\n|", " | ".join("---" for _ in keys), "|", flush=True)
        for number, place in enumerate(places):
            found = killed(arguments, top / str(number), place, whole)
            broken += not found["fine"] or found["traceback"]
            print("|", " | ".join(str(found[key]) for key in keys), "|", flush=True)
        print(f"\n{broken} of {len(places)} places broke a promise")
        if options.every == 1 or not places:
            fine = restarted(arguments, top / "torchrun", whole)
            broken += not fine
            print(f"torchrun --max-restarts 1: {'the same bits' if fine else 'NOT the same bits'}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
