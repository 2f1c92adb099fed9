"""The page of one or several runs: `burnish report RUN…`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import theme
from burnish.report.curves import curves
from burnish.report.figures import Colours
from burnish.report.page import Figure, figure, write_page
from burnish.report.runs import RunFiles, read_runs, series
from burnish.report.wording import flatten

# key in metrics.jsonl, what a reader calls it, number format, whether it is noisy enough for a running mean
METRICS: list[tuple[str, str, str, bool]] = [
    ("loss", "Loss", ".4~g", True),
    ("rewards/accuracies", "Pairs ordered as people did", ".0%", True),
    ("rewards/margins", "Reward margin, chosen over rejected", ".3~g", True),
    ("rewards/chosen", "Reward of the chosen", ".3~g", True),
    ("rewards/rejected", "Reward of the rejected", ".3~g", True),
    ("logps/chosen", "Log-probability of the chosen", ".4~g", True),
    ("logps/rejected", "Log-probability of the rejected", ".4~g", True),
    ("perplexity", "Perplexity", ".4~g", True),
    ("kl", "KL to the reference", ".3~g", True),
    ("entropy", "Entropy", ".3~g", True),
    ("scores", "Score", ".3~g", True),
    ("returns", "Return", ".4~g", True),
    ("grad_norm", "Gradient norm, before clipping", ".3~g", True),
    ("learning_rate", "Learning rate", ".2~e", False),
]
SAMPLES = 20
TEXTS = ["prompt", "response", "completion", "text"]  # the keys of samples.jsonl that hold text, in reading order


def training_page(run_folders: Sequence[Path], out: Path) -> Path:
    """Curves, settings, versions, samples and evaluation of runs, side by side on one page; returns `out`.

    Raises UserError for a folder that does not exist or holds no run.
    """
    runs = read_runs(run_folders)
    colours = theme.series_colours([run.name for run in runs])
    records = {run.name: run.metrics for run in runs}
    return write_page(
        "training.html.j2",
        out,
        curve_figures(records, colours),
        title=f"Training of {', '.join(run.name for run in runs)}",
        runs=runs,
        swatches=colours,
        lengths={run.name: _steps(run) for run in runs},
        config=comparison([flatten(run.config) for run in runs]),
        environment=comparison([flatten(run.environment) for run in runs]),
        evaluation=comparison([flatten(run.evaluation) for run in runs], mark=False),
        texts=TEXTS,
        samples={run.name: run.samples[-SAMPLES:] for run in runs if run.samples},
    )


def curve_figures(
    records: dict[str, list[dict[str, Any]]],
    colours: Colours,
    keys: Sequence[str] = (),
    place: str = "curve",
    heading: str = "",
) -> list[Figure]:
    """One figure for each metric that any of the runs has; `keys` chooses some of them, `heading` begins each title."""
    found = []
    for key, title, number, noisy in METRICS:
        if keys and key not in keys:
            continue
        table = series(records, key, smooth=noisy)
        if table.empty:
            continue
        spoken = f"{heading}{title} over training steps: {_last_values(table)}."
        chart = curves(table, colours, heading + title, spoken, number=number)
        found.append(figure(f"{place}-{key.replace('/', '-').replace('_', '-')}", chart))
    return found


def comparison(columns: Sequence[dict[str, Any]], mark: bool = True) -> list[dict[str, Any]]:
    """Rows `{"key", "values", "differs"}` over all keys of all columns, in the order in which they first come.

    `mark=False` for numbers that differ as a matter of course."""
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = []
    for key in keys:
        values = [column.get(key) for column in columns]
        rows.append({"key": key, "values": values, "differs": mark and any(value != values[0] for value in values[1:])})
    return rows


def _steps(run: RunFiles) -> int:
    return max((int(record["step"]) for record in run.metrics if "step" in record), default=len(run.metrics))


def _last_values(table: pd.DataFrame) -> str:
    last = table.groupby(["run", "kind"], sort=False).tail(1)
    return ", ".join(f"{row.run} ends at {row.smooth:.3g} ({row.kind})" for row in last.itertuples())
