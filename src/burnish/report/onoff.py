"""The page of `burnish study onoff`, made from the `summary.json` of its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import altair as alt
import pandas as pd

from burnish.report import theme, wording
from burnish.report.control.classic_figures import save_curves
from burnish.report.figures import Chart
from burnish.report.onoff_words import missing, result_sentences, title_of, warnings
from burnish.report.page import figure, write_page
from burnish.run import UserError, read_mapping

AXES = {"steps": "environment steps", "seconds": "CPU seconds"}
RETURN = {"CartPole-v1": "return", "Pendulum-v1": "return", "language": "gold score"}
LATE, ACTIONS, SAMPLE = "turns late", "actions that count", "effective sample"
WIDTH, HEIGHT, LINE = 340, 220, 110
"""Of a panel in pixels, and of a line in letters."""
Rows = Sequence[Mapping[str, Any]]


def onoff_page(folder: Path) -> Path:
    """Write `report.html` and the figures `efficiency`, `weights` and `late` (PNG, SVG), those with something to draw,
    to `folder`; returns the page's path.

    Raises UserError if the summary is missing.
    """
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder} has no summary.json: give the folder of burnish study onoff")
    found = read_mapping(folder / "summary.json")
    panels = panels_of(found)
    figures = {
        name: [figure(f"{name}-{i}", chart) for i, chart in enumerate(charts)] for name, charts in panels.items()
    }
    note = missing(found)
    for name, charts in panels_of(found, for_file=True).items():
        if charts:
            columns = alt.concat(*(chart.properties(width=WIDTH) for chart in charts), columns=2, spacing=30)
            said = alt.TitleParams(wrap(note, LINE) if note else "", anchor="start", fontSize=12, fontWeight="normal")
            save_curves(alt.vconcat(columns, title=said), folder / name)
    return write_page(
        "onoff.html.j2",
        folder / "report.html",
        [one for some in figures.values() for one in some],
        title=title_of(found),
        sentences=result_sentences(found),
        warnings=warnings(found),
        figures_of=figures,
        legends=legends(found),
        found=found,
        returns=RETURN,
    )


def legends(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The colours of the names in each figure."""
    lags = sorted({row["lag"] for row in found["weights"]})
    return {
        "efficiency": theme.series_colours(list(found["labels"].values())),
        "weights": theme.series_colours([lag_name(lag) for lag in lags]),
        "late": theme.series_colours(list(found["corrections"].values())),
    }


def lag_name(lag: int) -> str:
    return "0 turns" if lag == 0 else "1 turn" if lag == 1 else f"{lag} turns"


def panels_of(found: Mapping[str, Any], for_file: bool = False) -> dict[str, list[Chart]]:
    """The charts of each figure, in the order in which they are shown."""
    tints = legends(found)
    return {
        "efficiency": [
            lines(
                efficiency_lines(found, one, axis),
                tints["efficiency"],
                found["tasks"][one["task"]],
                (title, "return"),
                legend=for_file,
            )
            for one in found["efficiency"]
            for axis, title in AXES.items()
        ],
        "weights": [
            lines(
                [dot(row, lag_name(row["lag"]), row["count"], row["ess"]) for row in rows],
                tints["weights"],
                found["tasks"][task],
                (ACTIONS, SAMPLE),
                domain=(0, 1),
                log=True,
                few=True,
                legend=for_file,
            )
            for task in found["tasks"]
            if (rows := [row for row in found["weights"] if row["task"] == task])
        ],
        "late": [
            lines(
                late_lines(found, rows),
                tints["late"],
                found["tasks"][task],
                (LATE, RETURN[task]),
                few=True,
                legend=for_file,
            )
            for task in found["tasks"]
            if (rows := [row for row in found["late"] if row["task"] == task])
        ],
    }


def efficiency_lines(found: Mapping[str, Any], one: Mapping[str, Any], axis: str) -> list[dict[str, Any]]:
    """The points of an environment's curves."""
    named = one["curves"][axis]
    return [dot(point, found["labels"][name], point["x"], point) for name, points in named.items() for point in points]


def late_lines(found: Mapping[str, Any], rows: Rows) -> list[dict[str, Any]]:
    """The points of each correction; the training without a lag is the first of all."""
    names, fresh = found["corrections"], [row for row in rows if row["lag"] == 0]
    late = [row for row in rows if row["lag"]]
    there = [how for how in names if any(row["correction"] == how for row in late)] or [*names][:1]
    begun = [dot(row, names[how], 0, row["value"]) for how in there for row in fresh]
    return begun + [dot(row, names[row["correction"]], row["lag"], row["value"]) for row in late]


def dot(row: Mapping[str, Any], name: str, x: float, value: Mapping[str, Any]) -> dict[str, Any]:
    """A point of a line with the ends of its interval."""
    return {"name": name, "x": x, "y": value["mean"], "low": value["low"], "high": value["high"]}


def lines(
    points: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    title: str,
    titles: tuple[str, str],
    domain: tuple[float, float] | None = None,
    log: bool = False,
    few: bool = False,
    legend: bool = False,
) -> Chart:
    """A line with its band for each name; `titles` are those of the axes. Where there are `few` places, they are marked
    on the axis, and points on the lines."""
    rows = pd.DataFrame(points)
    key = alt.Legend(title=None, orient="top", symbolType="stroke", symbolOpacity=1, columns=2) if legend else None
    tint = alt.Color("name:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=key)
    places = alt.Axis(values=sorted(set(rows.x)), format=",d", labelOverlap=False)
    axis = places if few else alt.Axis(format="~s", tickCount=5)
    x = alt.X("x:Q", title=titles[0], scale=alt.Scale(type="log" if log else "linear", nice=False), axis=axis)
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    y_axis = alt.Axis(format="%" if domain else ".4~g", tickCount=5)
    layers: list[Any] = []
    if len(known := rows.dropna()):
        low = alt.Y("low:Q", title=titles[1], scale=scale, axis=y_axis)
        band = alt.Chart(known).mark_area(opacity=0.15, line=False, aria=False)
        layers.append(band.encode(x=x, y=low, y2="high:Q", color=tint))
    y = alt.Y("y:Q", title=titles[1], scale=scale, axis=y_axis)
    layers.append(alt.Chart(rows).mark_line(strokeWidth=2, point=few).encode(x=x, y=y, color=tint))
    ends = rows.sort_values("x").groupby("name", sort=False).tail(1)
    said = "; ".join(
        f"{one.name_}: {wording.number(one.y, 2)} at {one.x:g}"
        for one in ends.rename(columns={"name": "name_"}).itertuples()
    )
    spoken = f"{title}: {titles[1]} against {titles[0]}. {said}."
    return alt.layer(*layers).properties(width="container", height=HEIGHT, title=title, description=spoken)
