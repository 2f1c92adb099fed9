"""Curves over training steps: raw values, their running mean, and held-out values."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from burnish.report.figures import Chart, Colours, tint_of

_POINT = {"filled": True, "size": 36}


def curves(
    table: pd.DataFrame,
    colours: Colours,
    title: str,
    description: str,
    x_title: str = "optimizer step",
    number: str = ".4~g",
    height: int = 190,
) -> Chart:
    """Lines over `step`, one per `name`: raw values as faint dots under their running mean, held-out values dashed.

    Columns: `name, step, value, smooth, kind` with kind `training` or `held-out` (see `runs.series`). Hovering over the
    chart shows the nearest value.
    """
    tint = tint_of(colours)
    axis = alt.Axis(format="%" if number.endswith("%") else ",~f", tickCount=4)
    if not number.endswith("%") and float(table.value.abs().max()) < 1e-2:
        axis = alt.Axis(labelExpr="datum.value === 0 ? '0' : format(datum.value, '.1~e')", tickCount=4)
    scale = alt.Scale(zero=False)
    x = alt.X("step:Q", title=x_title, axis=alt.Axis(format="~s", grid=False), scale=alt.Scale(nice=False))
    table = table.assign(**{column: [float(f"{v:.5g}") for v in table[column]] for column in ("value", "smooth")})
    training = table[table.kind == "training"]
    everything = alt.Chart(table).encode(x=x, color=tint, detail="run:N")
    raw, smooth = alt.Y("value:Q", title=None, scale=scale, axis=axis), alt.Y("smooth:Q", title=None, scale=scale)
    layers: list[Any] = []
    if len(training):
        drawn = everything.transform_filter("datum.kind == 'training'")
        if not np.allclose(training.value, training.smooth):
            layers.append(drawn.mark_point(filled=True, size=10, opacity=0.28, aria=False).encode(y=raw))
            layers.append(drawn.mark_line().encode(y=smooth))
        else:
            # A line through a single value is invisible: draw a point.
            alone = training.groupby("run").step.transform("size").eq(1).any()
            layers.append(drawn.mark_line(point=_POINT if alone else False).encode(y=raw))
    if len(training) < len(table):
        drawn = everything.transform_filter("datum.kind == 'held-out'").encode(y=raw)
        layers.append(drawn.mark_line(strokeDash=[5, 3]))
        layers.append(drawn.mark_point(filled=True, size=36, opacity=1))
    near = alt.selection_point(nearest=True, on="pointerover", fields=["step"], empty=False, clear="pointerout")
    shown = alt.condition(near, alt.value(1), alt.value(0))
    layers.append(
        everything.mark_point(filled=True, size=70, aria=False, tooltip=alt.ExprRef(_nearest_tooltip(number)))
        .encode(y=raw, opacity=shown)
        .add_params(near)
    )
    return alt.layer(*layers).properties(width="container", height=height, title=title, description=description)


def _nearest_tooltip(number: str) -> str:
    """Tooltip expression for a nearest-point selection, whose Voronoi cells wrap the row in another `datum`.

    Written out because Vega-Lite 6.4 looks for text columns in the cell itself and shows them as undefined.
    """
    row = "(datum.datum || datum)"
    pairs = {
        "run": f"{row}.run",
        "data": f"{row}.kind",
        "step": f"{row}.step",
        "value": f"format({row}.value, '{number}')",
        "running mean": f"format({row}.smooth, '{number}')",
    }
    return "{" + ", ".join(f"'{key}': {found}" for key, found in pairs.items()) + "}"
