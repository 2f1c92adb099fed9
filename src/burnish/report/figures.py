"""Figures as Vega-Lite specifications: pure functions from tables to charts, for pages, PNG and SVG.

Every chart is a single view with `width="container"`, so that it fits any screen; small multiples are several charts in
a grid. The table's `name` column is the model or run of a row; `colours` maps names to colours
(`theme.series_colours`), in the order in which they are listed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from scipy.stats import gaussian_kde

from burnish.report import theme
from burnish.report.language import labels
from burnish.run import make_folder, write_atomically

Colours = Mapping[str, str]
Chart = alt.Chart | alt.LayerChart | alt.FacetChart  # FacetChart is never made, but Altair's types include it
Title = str | list[str]


def to_spec(chart: Chart | alt.VConcatChart) -> dict[str, Any]:
    """The chart as a Vega-Lite dictionary with Burnish's configuration, validated against Altair's schema."""
    return chart.configure(**theme.vega_config()).to_dict()


def vega_lite_version() -> str:
    """The Vega-Lite version of the installed Altair, in vl-convert's form (`6.1`)."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def save_figure(chart: Chart | alt.VConcatChart, stem: Path, width: int = 640) -> list[Path]:
    """Write `stem.png` (at twice the resolution) and `stem.svg` from one specification; returns their paths. Several
    charts in one have widths of their own."""
    spec = theme.for_file(to_spec(chart if isinstance(chart, alt.VConcatChart) else chart.properties(width=width)))
    make_folder(stem.parent)
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    write_atomically(png, vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=2))
    write_atomically(svg, vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version()))
    return [png, svg]


def trade_off(
    table: pd.DataFrame, colours: Colours, x_title: Title, y_title: Title, description: str, height: int = 380
) -> Chart:
    """One labelled point per name with intervals in both directions; x ≥ 0 is on a square-root scale.

    Columns: `name, x, x_low, x_high, y, y_low, y_high` and `bound`. Where `bound` is True, x is an upper bound: the
    point is hollow, and a dashed line leads to 0. A KL grows as the square of a distance, so its square root spreads
    the models evenly, as in Gao et al. (2022), "Scaling Laws for Reward Model Overoptimization".
    """
    table = table.assign(x_low=table.x_low.where(~table.bound, 0.0))
    table = table.assign(x_text=_interval_texts(table, "x"), y_text=_interval_texts(table, "y"))
    table.loc[table.bound, "x_text"] = [f"at most {x:.2f}" for x in table.x[table.bound]]
    far = float(table.x_high.max()) or 1.0
    x_scale = alt.Scale(type="sqrt", domain=[min(-0.0015 * far, float(table.x_low.min())), 1.15 * far], nice=False)
    y_scale = alt.Scale(domain=_padded(table[["y", "y_low", "y_high"]].to_numpy(), 0.18), nice=False, zero=False)
    x = alt.X("x:Q", title=x_title, scale=x_scale)
    y = alt.Y("y:Q", title=y_title, scale=y_scale)
    low, high = alt.X("x_low:Q", title=x_title, scale=x_scale), alt.Y("y_low:Q", title=y_title, scale=y_scale)
    tint = tint_of(colours)
    tips = [
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("y_text:N", title=_plain(y_title)),
        alt.Tooltip("x_text:N", title=_plain(x_title)),
    ]
    bar: dict[str, Any] = {"strokeWidth": 2.5, "strokeCap": "round"}
    layers: list[Any] = [alt.Chart(table).mark_rule(**bar).encode(x=x, y=high, y2="y_high:Q", color=tint)]
    for bound, rows in table.groupby("bound"):
        base = alt.Chart(rows)
        across = base.mark_rule(**bar | ({"strokeWidth": 1.5, "strokeDash": [2, 4]} if bound else {}))
        point = base.mark_point(filled=True, size=130, opacity=1)
        if bound:
            point = base.mark_point(fill=theme.colour("page"), strokeWidth=2.5, size=110, opacity=1)
        layers.append(across.encode(x=low, x2="x_high:Q", y=y, color=tint))
        layers.append(point.encode(x=x, y=y, color=tint, tooltip=tips))
    shares = [_shares(table[c], x_scale.domain, root=True) for c in ("x", "x_low", "x_high")]
    shares += [_shares(table[c], y_scale.domain) for c in ("y", "y_low", "y_high")]
    chosen = labels.places(list(table.name), np.stack(shares, -1), height)
    for place in dict.fromkeys(chosen):
        rows = alt.Chart(table[[one == place for one in chosen]])
        text = rows.mark_text(dx=place.dx, dy=place.dy, align=place.align, fontSize=14, fontWeight=600)
        layers.append(text.encode(x=x, y=y, text="name:N", color=tint))
    return alt.layer(*layers).properties(width="container", height=height, description=description)


def bands(
    table: pd.DataFrame,
    colours: Colours,
    title: str,
    x_title: str,
    description: str,
    height: int = 190,
    domain: Sequence[int | float] | None = None,
    number: str = ".2f",
) -> Chart:
    """Lines over `step` with their intervals as bands, one line per `run` of a `name`.

    Columns: `name, run, step, mean, low, high`. Hovering over a dot shows its numbers, as `number` formats them.
    `domain` is the vertical axis's, for charts that are compared.
    """
    table = table.assign(text=_interval_texts(table, "", number))
    x = alt.X("step:Q", title=x_title, axis=alt.Axis(format="~s", grid=False), scale=alt.Scale(nice=False))
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    axis, tint = alt.Axis(tickCount=4, format=number if number.endswith("%") else ""), tint_of(colours)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=axis)
    tips = [alt.Tooltip("run:N"), alt.Tooltip("step:Q", title=_plain(x_title)), alt.Tooltip("text:N", title=title)]
    base = alt.Chart(table).encode(x=x, color=tint, detail="run:N")
    low = alt.Y("low:Q", title=None, scale=scale, axis=axis)
    layers: list[Any] = [
        base.mark_area(opacity=0.2, line=False, aria=False).encode(y=low, y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y),
        base.mark_point(filled=True, size=30, opacity=1).encode(y=y, tooltip=tips),
    ]
    return alt.layer(*layers).properties(width="container", height=height, title=title, description=description)


def rows_of_bands(table: pd.DataFrame, colours: Colours, titles: Mapping[str, str], y_title: str) -> alt.VConcatChart:
    """A file's figure of small multiples: a row per horizontal axis, in it a chart per `panel`, with one legend.

    `titles` are the titles of the horizontal axes by column of the table. Other columns: `name, panel, mean, low,
    high`, shares. There are neither dots nor ticks, which would be most of the file.
    """
    legend = alt.Legend(title=None, orient="top", columns=5, symbolType="stroke", symbolOpacity=1)
    tint = tint_of(colours).legend(legend)
    axis = alt.Axis(tickCount=3, format=".0%", ticks=False)
    rows = []
    for key, title in titles.items():
        x = alt.X(f"{key}:Q", title=title, axis=alt.Axis(format="~s", grid=False, ticks=False, tickCount=4))
        base = alt.Chart().encode(x=x)
        area = base.mark_area(opacity=0.15, aria=False).encode(
            y=alt.Y("low:Q", title=y_title, axis=axis, scale=alt.Scale(zero=False)), y2="high:Q", color=tint
        )
        line = base.mark_line(strokeWidth=2, aria=False).encode(y=alt.Y("mean:Q", title=y_title), color=tint)
        layers = alt.layer(area, line, data=table).properties(width=215, height=150)
        heads = alt.Column("panel:N", title=None, header=alt.Header(labels=False), sort=None)
        rows.append(layers.facet(column=heads))
    return alt.vconcat(*rows)


def intervals(
    table: pd.DataFrame,
    colours: Colours,
    x_title: str,
    description: str,
    reference: tuple[int | float, str] | None = None,
    domain: Sequence[int | float] | None = None,
    number: str = ".2f",
) -> Chart:
    """One row per `name` with a point and its interval; `reference` draws a labelled dashed line.

    Columns: `name, mean, low, high`. `number` is the d3 format of the value above the point (`.0%`).
    """
    table = table.assign(text=_interval_texts(table, "", number))
    names = list(table.name)
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    axis = alt.Axis(format=number if number.endswith("%") else "", tickCount=5)
    x = alt.X("mean:Q", title=x_title, scale=scale, axis=axis)
    y = alt.Y("name:N", title=None, sort=names, axis=alt.Axis(labelFontSize=13, domain=False, ticks=False, grid=False))
    tint = tint_of(colours)
    tips = [alt.Tooltip("name:N", title=" "), alt.Tooltip("text:N", title=_plain(x_title))]
    base = alt.Chart(table)
    layers: list[Any] = []
    if reference is not None:
        mark = alt.Chart(pd.DataFrame({"at": [reference[0]], "label": [reference[1]]})).encode(
            x=alt.X("at:Q", title=x_title, scale=scale, axis=axis)
        )
        layers.append(mark.mark_rule(strokeDash=[4, 4]))
        layers.append(
            mark.mark_text(align="left", dx=5, baseline="bottom", color=theme.colour("muted")).encode(
                text="label:N", y=alt.value("height")
            )
        )
    layers += [
        base.mark_rule(strokeWidth=3, strokeCap="round").encode(
            x=alt.X("low:Q", title=x_title, scale=scale, axis=axis), x2="high:Q", y=y, color=tint
        ),
        base.mark_point(filled=True, size=110, opacity=1).encode(x=x, y=y, color=tint, tooltip=tips),
        base.mark_text(dy=-13, fontWeight=600).encode(x=x, y=y, text=alt.Text("mean:Q", format=number)),
    ]
    return alt.layer(*layers).properties(width="container", height=52 * len(names) + 16, description=description)


def densities(values: Mapping[str, Sequence[float]], colours: Colours, x_title: str, description: str) -> Chart:
    """One ridge per name: the density of its values (Gaussian kernel, Scott's bandwidth) and their mean."""
    names = list(values)
    everything = np.concatenate([np.asarray(values[name], float) for name in names])
    low, high = _padded(everything, 0.05)
    grid = np.linspace(low, high, 120)
    curves = {name: _density(np.asarray(values[name], float), grid) for name in names}
    tallest = max(float(curve.max()) for curve in curves.values()) or 1.0
    frames, means = [], []
    for i, name in enumerate(names):
        floor = float(len(names) - 1 - i)
        rise = curves[name] / tallest * 0.92
        frames.append(pd.DataFrame({"name": name, "value": grid, "floor": floor, "top": floor + rise}))
        mean = float(np.mean(values[name]))
        means.append({"name": name, "mean": mean, "floor": floor, "top": floor + float(np.interp(mean, grid, rise))})
    tint = tint_of(colours)
    scale = alt.Scale(domain=[0, len(names)], nice=False)
    x = alt.X("value:Q", title=x_title, scale=alt.Scale(domain=[low, high], nice=False))
    ridge = alt.Chart(pd.concat(frames)).encode(x=x, y=alt.Y("top:Q", axis=None, scale=scale), detail="name:N")
    centre = alt.Chart(pd.DataFrame(means)).encode(
        x=alt.X("mean:Q", title=x_title), y=alt.Y("floor:Q", axis=None, scale=scale), color=tint
    )
    tips = [alt.Tooltip("name:N", title="model"), alt.Tooltip("mean:Q", title="mean", format="+.2f")]
    layers = [
        ridge.mark_area(opacity=0.25, line=False).encode(y2="floor:Q", color=tint),
        ridge.mark_line(strokeWidth=2).encode(color=tint),
        centre.mark_rule(strokeWidth=2.5).encode(y2="top:Q", tooltip=tips),
        centre.mark_text(align="left", dx=5, dy=-9, fontWeight=600).encode(x=alt.value(0), text="name:N", color=tint),
        centre.mark_text(align="left", dx=5, dy=-9).encode(text=alt.Text("mean:Q", format="+.2f"), color=tint),
    ]
    return alt.layer(*layers).properties(width="container", height=84 * len(names), description=description)


def tint_of(colours: Colours) -> alt.Color:
    """Colour by `name`, without a legend: names are written beside their marks, or once on the page."""
    return alt.Color("name:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=None)


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Gaussian kernel density estimate; values without spread give one narrow bump instead of an error."""
    if len(values) > 1 and np.ptp(values) > 0:
        return gaussian_kde(values)(grid)
    width = (grid[-1] - grid[0]) / 60
    return np.exp(-0.5 * ((grid - values[0]) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def _padded(values: np.ndarray, share: float) -> tuple[float, float]:
    """The range of the finite values, extended on both sides by `share` of its width."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = (high - low) * share or 0.5
    return low - room, high + room


def _shares(values: pd.Series, domain: Sequence[float], root: bool = False) -> np.ndarray:
    """Positions of values in an axis's domain, from 0 to 1; `root` for a square-root scale."""
    numbers = np.array([*domain, *values], float)
    low, high, *rest = np.sign(numbers) * np.sqrt(np.abs(numbers)) if root else numbers
    return (np.array(rest) - low) / (high - low)


def _interval_texts(table: pd.DataFrame, name: str, number: str = ".2f") -> list[str]:
    mean, low, high = (name, f"{name}_low", f"{name}_high") if name else ("mean", "low", "high")
    return [f"{m:{number}} ({a:{number}} to {b:{number}})" for m, a, b in table[[mean, low, high]].to_numpy()]


def _plain(title: Title) -> str:
    """The name in an axis title, without its unit."""
    return (title if isinstance(title, str) else title[0]).split(" (")[0].split(",")[0]
