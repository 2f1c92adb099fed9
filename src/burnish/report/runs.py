"""Reading run folders into tables for figures. Running and killed runs can be read too."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.run import UserError, described, read_jsonl, read_mapping
from burnish.run.checksums import check_metrics
from burnish.run.folder import WATCH

Record = dict[str, Any]
POINTS = 400  # points drawn per series; more would only make the page larger
HELD_OUT = "eval_"


@dataclass(frozen=True)
class RunFiles:
    """The contents of a run folder; missing files are empty."""

    name: str
    folder: Path
    metrics: list[Record]
    config: Record
    environment: Record
    samples: list[Record]
    evaluation: Record
    watch: Record


def read_runs(folders: Sequence[Path]) -> list[RunFiles]:
    """Read run folders; each run is named by the shortest end of its path that is unique."""
    if not folders:
        raise UserError("There is no run to report on: give at least one run folder.")
    paths = [Path(folder).resolve() for folder in folders]
    return [read_run(path, name) for path, name in zip(paths, short_names(paths), strict=True)]


def read_run(folder: Path, name: str = "") -> RunFiles:
    """Read one run folder. Raises UserError if it does not exist or has no metrics.jsonl."""
    if not folder.is_dir():
        raise UserError(f"There is no run folder {folder}: give the --out folder of a run.")
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        inside = sorted(str(path.parent) for path in folder.glob(f"*/{metrics.name}"))
        advice = f"the runs in it, such as {' '.join(inside[:2])}" if inside else "the --out folder of a run"
        raise UserError(f"{folder} is not a run folder: it has no metrics.jsonl; give {advice}.")
    samples = folder / "samples.jsonl"
    check_metrics(folder)
    records = read_jsonl(metrics)
    if wrong := next((record for record in records if not _is_number(record.get("step", 0))), None):
        raise UserError(f"{metrics} has a record of step {wrong['step']!r:.40}, which is not a number: restore it.")
    return RunFiles(
        name=name or folder.name,
        folder=folder,
        metrics=records,
        config=_mapping(folder / "config.yaml"),
        environment=_mapping(folder / "environment.json"),
        samples=read_jsonl(samples) if samples.is_file() else [],
        evaluation=_mapping(folder / "evaluation.json"),
        watch=_mapping(folder / WATCH),
    )


@contextmanager
def as_written(files: str) -> Iterator[None]:
    """Raise UserError for whatever the block raises about files that are valid JSON, but not what Burnish writes."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{files} is not as Burnish wrote it ({described(error)}): restore it.") from error


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest unique ends of paths: `x, y` for `a/x, a/y`, but `a/x, b/x` in full; duplicates are numbered."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1) or [1]:
        names = ["/".join(path.parts[-depth:]) or "." for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[i] = f"{name} ({seen[name]})"
    return names


def series(records_by_name: Mapping[str, Iterable[Record]], key: str, smooth: bool = True) -> pd.DataFrame:
    """One metric of several runs, with columns `name, run, step, value, smooth, kind`; empty if no run has it.

    `eval_` + key gives the rows of kind `held-out`. A record's optional `run` separates repetitions of one name.
    `smooth` is the centred running mean over 1/25 of a run's values (the values themselves if there are fewer than 20
    or with `smooth=False`). Each line is thinned to at most `POINTS` rows.
    """
    frames = []
    for name, records in records_by_name.items():
        for kind, column in (("training", key), ("held-out", HELD_OUT + key)):
            rows = [
                {"run": f"{name} {r.get('run', '')}".strip(), "step": r.get("step", i), "value": float(r[column])}
                for i, r in enumerate(records, start=1)
                if _is_number(r.get(column))
            ]
            for _, line in pd.DataFrame(rows, columns=["run", "step", "value"]).groupby("run", sort=False):
                noisy = smooth and kind == "training" and len(line) >= 20
                window = max(3, len(line) // 25) if noisy else 1
                mean = line.value.rolling(window, center=True, min_periods=1).mean()
                line = line.assign(name=name, kind=kind, smooth=mean)
                frames.append(line.iloc[:: math.ceil(len(line) / POINTS)])
    columns = ["name", "run", "step", "value", "smooth", "kind"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _mapping(path: Path) -> Record:
    """The mapping in a JSON or YAML file; empty if there is no such file."""
    return read_mapping(path) if path.is_file() else {}
