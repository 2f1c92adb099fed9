"""The page of `burnish study selection`, made from the `summary.json` of its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from burnish.report import theme, wording
from burnish.report.figures import Chart, save_figure
from burnish.report.language.replayed import ceiling, unfinished, unmeasured
from burnish.report.page import figure, write_page
from burnish.run import UserError, read_mapping

X_TITLE, Y_TITLE = "labels", "held-out accuracy"


def selection_page(folder: Path) -> Path:
    """Write `report.html` and the figure `selection` (PNG, SVG) to `folder`; returns the page's path.

    Raises UserError if the summary is missing.
    """
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder} has no summary.json: give the folder of burnish study selection")
    found = read_mapping(folder / "summary.json")
    colours = theme.series_colours(list(found["labels"].values()))
    save_figure(selection_chart(found, colours, legend=True), folder / "selection", 720)
    picture = figure("selection", selection_chart(found, colours))
    return write_page(
        "selection.html.j2",
        folder / "report.html",
        [picture],
        title="Which pairs to label: random, or where reward models disagree",
        sentences=result_sentences(found),
        warnings=warnings(found),
        picture=picture,
        found=found,
        swatches=colours,
    )


def selection_chart(found: Mapping[str, Any], colours: Mapping[str, str], legend: bool = False) -> Chart:
    """Accuracy against the number of labels on a logarithmic scale, a line with its band for each order."""
    rows = pd.DataFrame(
        [
            {"name": found["labels"][row["order"]], "x": row["labels"], "y": row["accuracy"]["mean"]}
            | {end: row["accuracy"][end] for end in ("low", "high")}
            for row in found["rows"]
        ]
    )
    key = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolOpacity=1) if legend else None
    tint = alt.Color("name:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=key)
    ticks = sorted({int(row["labels"]) for row in found["rows"]})
    x = alt.X("x:Q", title=X_TITLE, scale=alt.Scale(type="log", nice=False), axis=alt.Axis(values=ticks, format=",d"))
    scale, axis = alt.Scale(zero=False), alt.Axis(format="%")
    layers: list[Any] = []
    if len(known := rows.dropna()):
        low = alt.Y("low:Q", title=Y_TITLE, scale=scale, axis=axis)
        band = alt.Chart(known).mark_area(opacity=0.15, line=False, aria=False)
        layers.append(band.encode(x=x, y=low, y2="high:Q", color=tint))
    y = alt.Y("y:Q", title=Y_TITLE, scale=scale, axis=axis)
    layers.append(alt.Chart(rows).mark_line(strokeWidth=2, point=True).encode(x=x, y=y, color=tint))
    spoken = f"{Y_TITLE} against {X_TITLE}. " + "; ".join(
        f"{found['labels'][row['order']]}, {row['labels']:,} labels: {wording.percent(row['accuracy']['mean'], 1)}"
        for row in found["rows"]
    )
    return alt.layer(*layers).properties(width="container", height=360, description=spoken)


def result_sentences(found: Mapping[str, Any]) -> list[str]:
    """What the intervals say of each order, and how far people themselves agree."""
    base = found["labels"]["random"]
    lines = []
    for order, name in found["labels"].items():
        compared = [row for row in found["rows"] if row["order"] == order and row["difference"]]
        sides: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
        for row in compared:
            if row["difference"]["low"] is not None:
                sides[wording.verdict(row["difference"])].append(f"{row['labels']:,}")
        words = {"better": "more accurate", "worse": "less accurate", "undecided": "undecided"}
        said = [f"{words[side]} at {wording.listed(some)} labels" for side, some in sides.items() if some]
        if said:
            lines.append(f"{name}, compared with {base.lower()}: {'; '.join(said)}.")
    if not lines:
        lines.append("No order can be compared with the random one yet.")
    return [*lines, ceiling(found)]


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What is missing, what failed, and where there are no intervals."""
    return [*unfinished(found), *unmeasured(found)]
