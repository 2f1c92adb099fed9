"""A run that is followed, or that is interrupted after step 7 of 8 and resumed from a checkpoint at step 4."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from burnish.run import RunFolder
from burnish.run.trackers import Trackers

CONFIG = {"algorithm": "ppo", "beta": 0.05, "steps": 8, "prompt": "a|b\n<i>", "out": None}


def metrics(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1 / step, "loss/policy": 2.0 * step, "kl": float("nan")}


def write(run: RunFolder, first: int, last: int) -> None:
    """The records of the steps after `first`: rollouts of four steps, each with two samples at its end."""
    for step in range(first + 1, last + 1):
        run.append("metrics", metrics(step))
        if step % 4 == 0:
            for row in range(2):
                run.append("samples", {"step": step - 4, "row": row, "response": f"good {row}"})


def offsets_at(run: RunFolder, step: int) -> dict[str, int]:
    """The lengths of the files after so many lines of metrics, and a table per four of them."""
    lines = (run.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    rows = (run.path / "samples.jsonl").read_bytes().splitlines(keepends=True)
    return {"metrics": len(b"".join(lines[:step])), "samples": len(b"".join(rows[: step // 2]))}


def follow(folder: Path, names: str, said: list[str] | None = None) -> Path:
    """A whole run of eight steps."""
    with RunFolder.open(folder) as run, Trackers(run, names, (said if said is not None else []).append) as trackers:
        run.claim(CONFIG)
        trackers.start(CONFIG, 0)
        write(run, 0, 8)
    return folder


def follow_twice(folder: Path, names: str, before: str | None = None) -> Path:
    """The same run in two parts, the first followed by the trackers `before`, if they are others."""
    said: list[str] = []
    with (
        suppress(KeyboardInterrupt),
        RunFolder.open(folder) as run,
        Trackers(run, names if before is None else before, said.append) as trackers,
    ):
        run.claim(CONFIG)
        trackers.start(CONFIG, 0)
        write(run, 0, 7)
        raise KeyboardInterrupt
    with RunFolder.open(folder, resume=True) as run, Trackers(run, names, said.append) as trackers:
        run.rewind(offsets_at(run, 4))
        trackers.start(CONFIG, 4)
        write(run, 4, 8)
    assert said == []
    return folder
