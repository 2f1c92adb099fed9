"""The figures of the experiments on language."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from burnish.report import theme
from burnish.report.figures import Chart

Row = dict[str, Any]


def lines(
    rows: Sequence[Row], x_title: str, y_title: str, description: str, rule: tuple[float, str] | None = None
) -> Chart:
    """A line per `name` through its points `x`, `y`, with a band from `low` to `high` where a row has them.

    `rule` is a dashed line at a height, with what it stands for.
    """
    table = pd.DataFrame(rows)
    names = list(dict.fromkeys(table.name))
    colours = theme.series_colours(names)
    x = alt.X("x:Q", title=x_title, axis=alt.Axis(grid=False), scale=alt.Scale(nice=False, zero=True))
    scale = alt.Scale(zero=False)
    key = (
        alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=300, symbolOpacity=1)
        if len(names) > 1
        else None
    )
    tint = alt.Color("name:N", scale=alt.Scale(domain=names, range=[colours[one] for one in names]), legend=key)
    base = alt.Chart(table).encode(x=x, color=tint)
    y = alt.Y("y:Q", title=y_title, scale=scale)
    layers: list[Any] = []
    if "low" in table:
        band = base.mark_area(opacity=0.18, line=False, aria=False)
        layers.append(band.encode(y=alt.Y("low:Q", title=y_title, scale=scale), y2="high:Q"))
    layers.append(base.mark_line(strokeWidth=2.5).encode(y=y))
    layers.append(base.mark_point(filled=True, size=40, opacity=1).encode(y=y))
    if rule is not None:
        at = alt.Chart(pd.DataFrame({"at": [rule[0]], "label": [rule[1]]}))
        height = alt.Y("at:Q", title=y_title, scale=scale)
        layers.append(at.mark_rule(strokeDash=[4, 4]).encode(y=height))
        words = at.mark_text(align="left", dx=4, dy=-8, color=theme.colour("muted"))
        layers.append(words.encode(y=height, x=alt.value(0), text="label:N"))
    return alt.layer(*layers).properties(height=300, description=description)
