"""Learning curves of repeated runs: one panel with all algorithms, and small multiples with every run of each.

Runs are smoothed: the value at an episode is the mean return of the run's last `SMOOTH` episodes. Over environment
steps, every run is interpolated linearly between the ends of its episodes, on a grid shared by all runs.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from markupsafe import Markup

from burnish.report import theme, wording
from burnish.report.figures import Chart, Colours, tint_of, vega_lite_version
from burnish.report.page import Figure
from burnish.run import UserError, make_folder, write_atomically

By = Literal["episode", "steps"]
X_TITLES = {"episode": "episode", "steps": "environment steps"}
COLUMNS = ("algorithm", "run", "episode", "return", "steps")
SMOOTH = 10  # episodes averaged per point; fewer if runs are short
POINTS = 200  # per mean curve
RUN_POINTS = 50  # per curve of a single run
RESAMPLES = 1000
EXACT = 2.0**53  # from here on a float has no digit for every whole number, and from 2**64 on no chart reads an integer
_PATH = re.compile(r' d="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True)
class Curve:
    """An algorithm's mean over runs with its band, `[T]` each, and the curve of each run; one run has no band."""

    name: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    runs: list[tuple[np.ndarray, np.ndarray]]


def learning_curves(
    frame: pd.DataFrame,
    by: By = "episode",
    threshold: int | float | None = None,
    colours: Colours | None = None,
    width: int = 860,
    note: str = "",
) -> alt.VConcatChart:
    """The figure for files: the panel with all algorithms above small multiples of each.

    `frame` has one row per episode: `algorithm, run, episode, return, steps`; algorithms are drawn in order of
    appearance. `threshold` draws a dashed line, and `note` ends the title. Raises UserError if the frame is empty or
    lacks a column.
    """
    curves = curves_of(frame, by)
    colours = colours or theme.series_colours([curve.name for curve in curves])
    columns = len(curves) if len(curves) < 4 else 2 if len(curves) == 4 else 3
    small = (width - 45 * (columns - 1)) // columns
    title, smooth = _title(curves), window(_longest(frame))
    title += ", with 95 % bootstrap bands" if any(curve.low is not None for curve in curves) else ""
    title += f"; each point is the mean of {smooth} episodes" if smooth > 1 else ""
    title += f"; {note}" if note else ""
    top = panel(curves, colours, by, threshold, for_file=True).properties(width=width, title=title)
    each = [chart.properties(width=small, height=150) for chart in multiples(curves, colours, by)]
    below = alt.concat(*each, columns=columns, spacing=20)
    return alt.vconcat(top, below, spacing=24)


def save_curves(chart: alt.VConcatChart, stem: Path) -> list[Path]:
    """Write `stem.png` (at twice the resolution) and `stem.svg`; returns their paths."""
    spec = theme.for_file(chart.configure(**theme.vega_config()).to_dict())
    make_folder(stem.parent)
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    write_atomically(png, vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=2))
    write_atomically(svg, vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version()))
    return [png, svg]


def window(episodes: int) -> int:
    """Number of episodes averaged per point: `SMOOTH`, or 1/20 of a short run."""
    return max(1, min(SMOOTH, episodes // 20))


def curves_of(frame: pd.DataFrame, by: By = "episode") -> list[Curve]:
    """One curve per algorithm, over episodes or over environment steps.

    The mean begins where all runs of the algorithm have finished an episode and ends where the first run ends, so that
    every point is a mean over all runs; the curve of each run continues to its own end.
    """
    if by not in X_TITLES:
        raise ValueError(f"curves are by episode or by steps, not by {by}")
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise UserError(f"The table of returns has no column {', '.join(missing)}: curves need {', '.join(COLUMNS)}.")
    if frame.empty:
        raise UserError("The table of returns has no episodes: there is nothing to draw.")
    smooth = window(_longest(frame))
    longest = int(frame[by].max())
    places = np.linspace(0, longest, min(POINTS, longest) + 1)[1:]
    grid = places.round() if by == "episode" else places
    curves = []
    for name, rows in frame.groupby("algorithm", sort=False, observed=True):
        runs = [_smoothed(run, by, smooth) for _, run in rows.groupby("run")]
        curves.append(_curve(str(name), runs, grid))
    return curves


def _longest(frame: pd.DataFrame) -> int:
    """Number of episodes of the longest run."""
    return int(frame.groupby(["algorithm", "run"], observed=True).size().max())


def _smoothed(run: pd.DataFrame, by: By, smooth: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a run's episodes, in increasing order, and the mean return of the last `smooth` at each."""
    run = run.sort_values([by, "episode"])
    means = run["return"].rolling(smooth, min_periods=1).mean()
    return run[by].to_numpy(float), means.to_numpy(float)


def _curve(name: str, runs: Sequence[tuple[np.ndarray, np.ndarray]], grid: np.ndarray) -> Curve:
    start, end = max(x[0] for x, _ in runs), min(x[-1] for x, _ in runs)
    shared = _between(grid, start, end)
    values = np.stack([np.interp(shared, x, y) for x, y in runs])
    low, high = band(values) if len(runs) > 1 and len(shared) else (None, None)
    own = []
    for x, y in runs:
        at = _between(grid, x[0], x[-1])
        at = at[:: -math.ceil(len(at) / RUN_POINTS)][::-1]  # thinned from the end, to keep the last point
        own.append((at, np.interp(at, x, y)))
    return Curve(name, shared, values.mean(axis=0), low, high, own)


def _between(grid: np.ndarray, start: float, end: float) -> np.ndarray:
    """The part of the grid from `start` to `end`, both included; empty if start > end."""
    if start > end:
        return grid[:0]
    return np.unique([start, *grid[(grid > start) & (grid < end)], end])


def band(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile bootstrap interval of the mean over runs at every point; `values` is `[R, T]`, the ends `[T]`.

    Whole runs are resampled, the same ones for all points.
    """
    runs = len(values)
    weights = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=RESAMPLES) / runs
    low, high = np.quantile(weights @ values, [0.025, 0.975], axis=0)
    return low, high


def panel(
    curves: Sequence[Curve], colours: Colours, by: By, threshold: int | float | None = None, for_file: bool = False
) -> Chart:
    """All algorithms in one chart: means over runs with bands; on a page, hovering over a curve shows its numbers.

    A file has a legend instead, which a page has outside the chart.
    """
    names = [curve.name for curve in curves]
    tint = tint_of({name: colours[name] for name in names})
    if for_file:
        tint = tint.legend(
            orient="top", title=None, symbolType="stroke", symbolOpacity=1, labelFontSize=13, columns=len(names)
        )
    longest = max(len(curve.x) for curve in curves)
    banded = any(curve.low is not None for curve in curves)
    scale, axis = alt.Scale(zero=False), alt.Axis(tickCount=5)
    base = _rows(curves, banded).encode(x=_x(by, _far(curves)), color=tint)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=axis)
    layers: list[Any] = []
    if threshold is not None:
        label = f"{threshold:g}".replace("-", wording.MINUS)
        at = alt.Chart(pd.DataFrame({"mean": [float(threshold)], "label": [label]})).encode(y=y)
        layers.append(at.mark_rule(strokeDash=[4, 4], strokeWidth=1))
        style: dict[str, Any] = {"align": "left", "baseline": "bottom", "dx": 4, "dy": -3, "fontSize": 12}
        layers.append(at.mark_text(color=theme.colour("muted"), **style).encode(text="label:N", x=alt.value(0)))
    if banded:
        low = alt.Y("low:Q", title=None, scale=scale, axis=axis)
        layers.append(base.mark_area(opacity=0.18, line=False, aria=False).encode(y=low, y2="high:Q"))
    layers.append(base.mark_line(strokeWidth=2, point=longest == 1).encode(y=y))
    if not for_file:
        near = alt.selection_point(
            nearest=True, on="pointerover", fields=["name", "x"], empty=False, clear="pointerout"
        )
        dots = base.mark_point(filled=True, size=60, aria=False, tooltip=alt.ExprRef(_tooltip(by, banded)))
        shown = alt.condition(near, alt.value(1), alt.value(0))
        layers.append(dots.encode(y=y, opacity=shown).add_params(near))
    spoken = f"Return against {X_TITLES[by]}. At the end of the curves: {_ends(curves)}."
    return alt.layer(*layers).properties(width="container", height=340, title=_title(curves), description=spoken)


def _title(curves: Sequence[Curve]) -> str:
    counts = sorted({len(curve.runs) for curve in curves})
    over = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Mean return of {over} runs" if counts[-1] > 1 else "Return"


def multiples(curves: Sequence[Curve], colours: Colours, by: By) -> list[Chart]:
    """One small chart per algorithm: every run as a thin line under their mean; all charts have the same axes."""
    values = np.concatenate([y for curve in curves for _, y in curve.runs])
    return [_multiple(curve, colours, by, (float(values.min()), float(values.max())), _far(curves)) for curve in curves]


def _multiple(curve: Curve, colours: Colours, by: By, domain: tuple[float, float], far: float) -> Chart:
    tint = tint_of({curve.name: colours[curve.name]})
    x, scale, axis = _x(by, far, ticks=4), alt.Scale(domain=list(domain), nice=True), alt.Axis(tickCount=4)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=axis)
    rows = [{"name": curve.name, "run": i, "x": _short(x), "mean": _short(y, 3)} for i, (x, y) in enumerate(curve.runs)]
    thin = alt.Chart(alt.InlineData(values=rows)).transform_flatten(["x", "mean"]).encode(x=x, y=y, color=tint)
    only = len(curve.runs) == 1
    layers: list[Any] = [
        thin.mark_line(strokeWidth=2 if only else 0.8, opacity=1 if only else 0.4, aria=False).encode(detail="run:Q")
    ]
    if not only:
        layers.append(_rows([curve]).mark_line(strokeWidth=2.5).encode(x=x, y=y, color=tint))
    last = [float(y[-1]) for _, y in curve.runs]
    spoken = f"{len(curve.runs)} runs of {curve.name}: they end between {min(last):.4g} and {max(last):.4g}."
    return alt.layer(*layers).properties(width="container", height=150, title=curve.name, description=spoken)


@dataclass(frozen=True)
class LightFigure(Figure):
    """A figure whose static SVG has whole-pixel coordinates, which halves the size of a page with many curves."""

    def drawing(self) -> Markup:
        """The chart as static SVG, for readers without scripts."""
        return Markup(_PATH.sub(lambda path: _NUMBER.sub(_whole, path[0]), super().drawing()))


def _whole(number: re.Match[str]) -> str:
    return f"{float(number[0]):.0f}"


def _rows(curves: Sequence[Curve], banded: bool = False) -> alt.Chart:
    """The mean curves as data, one row of arrays per algorithm: a third of the size of one row per point."""
    rows = []
    for curve in curves:
        row: dict[str, Any] = {"name": curve.name, "x": _short(curve.x), "mean": _short(curve.mean)}
        if banded:
            ends = {"low": curve.low, "high": curve.high}
            row |= {key: [None] * len(curve.x) if end is None else _short(end) for key, end in ends.items()}
        rows.append(row)
    columns: list[Any] = ["x", "mean", "low", "high"] if banded else ["x", "mean"]
    return alt.Chart(alt.InlineData(values=rows)).transform_flatten(columns)


def _x(by: By, far: float, ticks: int = 6) -> alt.X:
    label = "datum.value === 0 ? '0' : format(datum.value, '~s')" if by == "steps" else "format(datum.value, ',d')"
    axis = alt.Axis(labelExpr=label, grid=False, tickCount=ticks)
    return alt.X("x:Q", title=X_TITLES[by], axis=axis, scale=alt.Scale(nice=False, domain=[0, far]))


def _far(curves: Sequence[Curve]) -> float:
    """The end of the longest run."""
    return float(max(x[-1] for curve in curves for x, _ in curve.runs))


def _short(values: np.ndarray, digits: int = 4) -> list[int | float]:
    """Values with few significant digits, to save space; whole numbers as integers, where floats are exact."""
    rounded = [float(f"{value:.{digits}g}") for value in values]
    return [int(value) if value.is_integer() and abs(value) < EXACT else value for value in rounded]


def _ends(curves: Sequence[Curve]) -> str:
    return ", ".join(f"{curve.name} {curve.mean[-1]:.4g}" for curve in curves if len(curve.mean))


def _tooltip(by: By, banded: bool) -> str:
    """Tooltip expression for a nearest-point selection, whose Voronoi cells wrap the row in another `datum`."""
    row = "(datum.datum || datum)"
    shown = f"format({row}.mean, '.4~g')"
    if banded:
        ends = f"' (' + format({row}.low, '.4~g') + ' to ' + format({row}.high, '.4~g') + ')'"
        shown += f" + ({row}.low === null ? '' : {ends})"
    pairs = {"algorithm": f"{row}.name", X_TITLES[by]: f"format({row}.x, ',')", "return": shown}
    return "{" + ", ".join(f"'{key}': {found}" for key, found in pairs.items()) + "}"
