"""What growth.py measures and how it is shown: a curve, its points, a table and a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from burnish.report import theme


@dataclass(frozen=True)
class Shape:
    """A model and a batch: `completions` answers to each of `batch` prompts; `rows` of data on disk."""

    layers: int = 4
    width: int = 256
    vocabulary: int = 4096
    prompt: int = 32
    response: int = 32
    batch: int = 8
    completions: int = 2
    rows: int = 0


@dataclass(frozen=True)
class Curve:
    """What is varied, over which values, and from which shape; what an update is, and what its cost is divided by. With
    `command`, a whole command is started, and its time is that of the clock."""

    title: str
    field: str
    values: tuple[int, ...]
    shape: Shape = Shape()
    work: str = "DPO, 8 pairs"
    parameters: bool = False
    command: bool = False

    @property
    def timed(self) -> str:
        """What has the time of a point."""
        return "a start" if self.command else "a pair" if self.field == "rows" else "an update"


@dataclass(frozen=True)
class Point:
    """What one value costs. `seconds` is CPU time of an update, or of reading a pair, or the time on the clock until a
    command's first update; `start` the CPU time before the first batch."""

    x: int
    seconds: float
    mib: float
    start: float = 0.0


Found = Sequence[tuple[Curve, Sequence[Point]]]
"""Curves with their points."""


def exponent(points: Sequence[Point], name: str) -> float:
    """How fast the cost grows at the end of a curve: log(cost₂/cost₁) / log(x₂/x₁) of the last two points."""
    one, other = points[-2:]
    costs = [max(getattr(point, name), 1e-9) for point in (one, other)]
    return math.log(costs[1] / costs[0]) / math.log(other.x / one.x)


def table(found: Found) -> str:
    """A Markdown table: a row per point, and the growth at the end of each curve."""
    lines = ["| varied | value | ms | memory, MiB |", "|---|---|---|---|"]
    for curve, points in found:
        clock = "ms on the clock of" if curve.command else "CPU ms"
        for i, point in enumerate(points):
            first = f"{curve.title}; {curve.work}; {clock} {curve.timed}" if i == 0 else ""
            start = f"; first batch after {point.start:.2f} s" if point.start else ""
            lines.append(f"| {first} | {point.x:,} | {point.seconds * 1000:,.2f}{start} | {point.mib:,.0f} |")
        if len(points) > 1:
            grow = [exponent(points, key) for key in ("seconds", "mib")]
            lines.append(f"| grows at the end as x to the power | | {grow[0]:.2f} | {grow[1]:.2f} |")
    return "\n".join(lines) + "\n"


def figure(found: Found) -> alt.VConcatChart:
    """A row per curve: time on the left, memory on the right, with the axes from 0."""
    rows = []
    for curve, points in found:
        data = pd.DataFrame([{"x": p.x, "ms": p.seconds * 1000, "MiB": p.mib} for p in points])
        on_disk = curve.field == "rows"
        scale = alt.Scale(type="log") if on_disk else alt.Scale(zero=True, nice=False)
        x = alt.X("x:Q", title=curve.title, scale=scale, axis=alt.Axis(format="~s", grid=False, tickCount=4))
        clock = "ms" if curve.command else "CPU ms"
        titles = {"ms": f"{clock} per {curve.timed.split()[1]} ({curve.work})", "MiB": "memory (MiB)"}
        sides = []
        for number, (key, title) in enumerate(titles.items(), 1):
            y = alt.Y(f"{key}:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4))
            colour = theme.colour(f"series-{number}")
            line = alt.Chart(data).mark_line(color=colour, point={"filled": True, "size": 40, "color": colour})
            sides.append(line.encode(x=x, y=y).properties(width=300, height=150, title=title))
        rows.append(alt.hconcat(*sides))
    return alt.vconcat(*rows)
