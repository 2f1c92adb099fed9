"""The page of `burnish study checked`, made from the `summary.json` of its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from burnish.report import theme, wording
from burnish.report.figures import Chart, bands, intervals, rows_of_bands, save_figure
from burnish.report.language.checked_words import ALL, START, main_task, name_of_task, result_sentences, title_of
from burnish.report.page import Figure, figure, write_page
from burnish.run import UserError, read_mapping

COLUMNS = 3
"""Charts beside one another: nine bands in one chart could not be told apart."""

AXES = {"tokens": "sampled tokens", "seconds": "CPU seconds"}


def checked_page(folder: Path) -> Path:
    """Write `report.html` and the figures `gain_pass_1`, `gain_pass_n` and `curves` (PNG, SVG) to `folder`; returns its
    path.

    Raises UserError if the summary is missing.
    """
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder} has no summary.json: give the folder of burnish study checked")
    found = read_mapping(folder / "summary.json")
    colours = colours_of(found["labels"])
    for key in ("pass_1", "pass_n"):
        save_figure(gains_chart(found, main_task(found), key, colours), folder / f"gain_{key}", 640)
    save_figure(all_curves(found, main_task(found), colours), folder / "curves")
    sections = [section(found, task, colours) for task in order(found)]
    return write_page(
        "checked.html.j2",
        folder / "report.html",
        [one for part in sections for one in part["figures"]],
        title=title_of(found),
        sentences=result_sentences(found),
        sections=sections,
        found=found,
        swatches=colours,
        searches=search_tables(found),
        n=found["plan"]["samples"],
        reference=found["labels"][found["reference"]],
    )


def order(found: Mapping[str, Any]) -> list[str]:
    """The parts of the page: all tasks together first, where there are several."""
    return [*([ALL] if ALL in found["results"] else []), *found["tasks"]]


def colours_of(labels: Mapping[str, str]) -> dict[str, str]:
    """A colour per label; those that learn by imitation alone, which come last, are black and grey."""
    own = {"sft": theme.colour("series-0"), "rejection": theme.colour("ink")}
    loud = theme.series_colours([label for name, label in labels.items() if name not in own])
    return {label: own.get(name) or loud[label] for name, label in labels.items()}


def section(found: Mapping[str, Any], task: str, colours: Mapping[str, str]) -> dict[str, Any]:
    """The figures and the rows of a task, or of all tasks together."""
    names = list(found["labels"])
    thirds = [names[i : i + COLUMNS] for i in range(0, len(names), COLUMNS)]
    curves: dict[str, list[Figure]] = {}
    for axis in AXES:
        curves[axis] = [
            figure(f"{task}-{axis}-{i}", curves_chart(found, task, axis, some, colours))
            for i, some in enumerate(thirds)
        ]
    gains = [figure(f"{task}-{key}", gains_chart(found, task, key, colours)) for key in ("pass_1", "pass_n")]
    labels = {START: "Before"} | found["labels"]
    rows = [row | {"label": labels[row["name"]]} for row in found["results"][task]]
    return {
        "key": task,
        "name": name_of_task(task, found),
        "curves": curves,
        "gains": gains,
        "rows": rows,
        "figures": [*curves["tokens"], *curves["seconds"], *gains],
    }


def curves_chart(
    found: Mapping[str, Any], task: str, axis: str, names: Sequence[str], colours: Mapping[str, str]
) -> Chart:
    """Accuracy on held-out prompts against sampled tokens or CPU seconds, of some methods."""
    labels = found["labels"]
    points = found["curves"][task]
    table = pd.DataFrame([one for one in points if one["name"] in names])
    table = table.assign(name=table.name.map(labels), step=table[axis]).assign(run=lambda t: t.name)
    low, high = min(one["low"] for one in points), max(one["high"] for one in points)
    title = wording.listed([labels[name] for name in names])
    ends = "; ".join(f"{n}: {p['mean'].iloc[-1]:.0%} at the end" for n, p in table.groupby("name", sort=False))
    spoken = f"Accuracy on held-out prompts against {AXES[axis]}. {ends}."
    return bands(table, colours, title, AXES[axis], spoken, domain=padded(low, high), number=".0%")


def all_curves(found: Mapping[str, Any], task: str, colours: Mapping[str, str]) -> alt.VConcatChart:
    """The curves of all methods for a file: against sampled tokens above, against CPU seconds below."""
    panels = {name: i // COLUMNS for i, name in enumerate(found["labels"])}
    table = pd.DataFrame(found["curves"][task])
    table = table.assign(panel=table["name"].map(panels), name=table["name"].map(found["labels"]))
    return rows_of_bands(table[["name", "panel", *AXES, "mean", "low", "high"]], colours, AXES, "right answers")


def gains_chart(found: Mapping[str, Any], task: str, key: str, colours: Mapping[str, str]) -> Chart:
    """pass@1 or pass@n after each method with its interval, and a line for the start."""
    k = 1 if key == "pass_1" else found["plan"]["samples"]
    before, *rows = found["results"][task]
    table = pd.DataFrame([{"name": found["labels"][row["name"]], **row[key]} for row in rows])
    start = before[key]["mean"]
    spoken = ", ".join(f"{row['name']} {row['mean']:.0%}" for row in table.to_dict("records"))
    return intervals(
        table,
        colours,
        f"pass@{k} with its 95 % interval",
        f"pass@{k} after training: {spoken}; before {start:.0%}.",
        reference=(start, "before"),
        domain=padded(min(start, table.low.min()), max(start, table.high.max())),
        number=".1%",
    )


def padded(low: float, high: float) -> tuple[float, float]:
    """A range of shares with a margin, within −2 % and 102 %."""
    room = max(0.01, 0.08 * (high - low))
    return max(-0.02, low - room), min(1.02, high + room)


def search_tables(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The search for learning rates of each task: a row per method, its shares of right answers by rate (None where a
    rate was not tried), and which was chosen."""
    rates = sorted({one["rate"] for one in found["search"]})
    tables = []
    for task in found["tasks"]:
        shares = {(one["method"], one["rate"]): one["accuracy"] for one in found["search"] if one["task"] == task}
        rows = [
            {
                "label": label,
                "shares": [shares.get((name, rate)) for rate in rates],
                "chosen": found["rates"][task][name],
            }
            for name, label in found["labels"].items()
        ]
        tables.append({"name": name_of_task(task, found), "rates": rates, "rows": rows})
    return tables if found["search"] else []
