"""Figures and sentences about the evaluation of reward models, made from `evaluation.json`."""

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt
import pandas as pd

from burnish.report import theme, wording
from burnish.report.figures import Chart, Colours, intervals, tint_of
from burnish.report.page import Figure, figure

Evaluations = Mapping[str, Mapping[str, Any]]
DRAWN = ("calibration.bins", "accuracy_by_gap", "ceiling_by_gap")
"""Keys of a flattened evaluation that are drawn as figures, and left out of the table."""
GUESSING = 0.5
HUMAN = "one rater"


def is_reward_model(evaluation: Mapping[str, Any]) -> bool:
    """Whether an evaluation is one of a reward model."""
    return "calibration" in evaluation and "accuracy" in evaluation


def reward_figures(evaluations: Evaluations, colours: Colours) -> list[Figure]:
    """Figures of accuracy, calibration and accuracy by gap for the reward models in `evaluations`, if there are any."""
    models = {name: found for name, found in evaluations.items() if is_reward_model(found)}
    if not models:
        return []
    ceiling = next((found["ceiling"] for found in models.values() if found.get("ceiling")), None)
    found = [figure("reward-accuracy", accuracy_chart(models, colours, ceiling))]
    found.append(figure("reward-calibration", calibration_chart(models, colours), _calibration_caption(models)))
    if any(one.get("accuracy_by_gap") for one in models.values()):
        caption = "Pairs by the gap between the raters’ mean ratings; the labels come from one rater per text."
        found.append(figure("reward-gap", gap_chart(models, colours, ceiling), caption))
    return found


def sentences(name: str, found: Mapping[str, Any]) -> list[str]:
    """The results of one reward model, in sentences."""
    pairs, share = found["rows"], found["accuracy"]
    lines = [
        f"{name} orders {wording.percent(share['mean'], 1)} of {pairs:,} held-out pairs as labelled "
        f"(95 % interval {wording.range_of(share, 1, shares=True)})."
    ]
    if ceiling := found.get("ceiling"):
        lines.append(
            f"One rater agrees with the mean of the other raters on {wording.percent(ceiling['mean'], 1)} of pairs "
            f"({wording.range_of(ceiling, 1, shares=True)}, n = {ceiling['n']:,}), about the best that a model can do."
        )
    if correlated := found.get("length_correlation"):
        lines.append(
            f"The correlation of {name}’s scores with length in tokens is {wording.number(correlated['mean'])} "
            f"({wording.range_of(correlated)})."
        )
    if level := (found.get("score") or {}).get("demonstrations"):
        lines.append(
            f"Held-out demonstrations score {wording.number(level['mean'], signed=True)} on average "
            f"({wording.range_of(level, signed=True)}); centring aims at 0."
        )
    return lines


def accuracy_chart(models: Evaluations, colours: Colours, ceiling: Mapping[str, Any] | None) -> Chart:
    """Each model's accuracy with its interval, that of one rater, and that of guessing."""
    rows: list[dict[str, Any]] = [{"name": name, **_ends(found["accuracy"])} for name, found in models.items()]
    tints = dict(colours)
    if ceiling:
        rows.append({"name": HUMAN, **_ends(ceiling)})
        tints[HUMAN] = theme.colour("ink")
    spoken = ", ".join(f"{row['name']} {row['mean']:.0%}" for row in rows)
    low = min(0.45, *(row["low"] - 0.03 for row in rows), 1.0)
    return intervals(
        pd.DataFrame(rows),
        tints,
        "accuracy on held-out pairs",
        f"Held-out accuracy: {spoken}; guessing gives 50 %.",
        reference=(GUESSING, "guessing"),
        domain=(low, 1.0),
        number=".0%",
    )


def calibration_chart(models: Evaluations, colours: Colours) -> Chart:
    """Observed over predicted agreement, one point per bin; a calibrated model's points lie on the diagonal."""
    table = _table({name: found["calibration"]["bins"] for name, found in models.items()})
    low = min(GUESSING, float(table.low.min())) - 0.02
    x_scale, y_scale = alt.Scale(domain=[0.5, 1], nice=False), alt.Scale(domain=[low, 1], nice=False)
    axis = alt.Axis(format="%", tickCount=5)
    x = alt.X("x:Q", title="predicted agreement (vertical: observed)", scale=x_scale, axis=axis)
    diagonal = _line([(1.0, 1.0), (0.5, 0.5)], x, y_scale, axis, "calibrated", align="right", dx=-28, dy=12)
    errors = ", ".join(f"{name} {found['calibration']['error']:.3f}" for name, found in models.items())
    layers = [*diagonal, *_points(table, x, y_scale, axis, colours)]
    return alt.layer(*layers).properties(
        width="container",
        height=280,
        title="Calibration",
        description=f"Calibration curve; expected calibration error: {errors}.",
    )


def gap_chart(models: Evaluations, colours: Colours, ceiling: Mapping[str, Any] | None) -> Chart:
    """Accuracy over the gap between the raters' means, beside that of one rater, and with a line for guessing."""
    bins = {name: found.get("accuracy_by_gap") or [] for name, found in models.items()}
    if people := next((one["ceiling_by_gap"] for one in models.values() if one.get("ceiling_by_gap")), None):
        bins[HUMAN], colours, ceiling = people, {**colours, HUMAN: theme.colour("ink")}, None
    table = _table(bins)
    right = float(table.x.max()) * 1.1
    low = min(GUESSING, float(table.low.min())) - 0.02
    x_scale, y_scale = alt.Scale(domain=[0, right], nice=False), alt.Scale(domain=[low, 1], nice=False)
    axis = alt.Axis(format="%", tickCount=5)
    x = alt.X("x:Q", title="gap between the raters’ means", scale=x_scale, axis=alt.Axis(grid=False, tickCount=5))
    layers = _line([(right, GUESSING), (0.0, GUESSING)], x, y_scale, axis, "guessing", align="right")
    if ceiling:
        ends = [(0.0, float(ceiling["mean"])), (right, float(ceiling["mean"]))]
        layers += _line(ends, x, y_scale, axis, f"{HUMAN}, over all pairs", align="left")
    layers += _points(table, x, y_scale, axis, colours)
    spoken = "; ".join(f"{name} " + ", ".join(f"{v:.0%}" for v in rows["mean"]) for name, rows in table.groupby("name"))
    return alt.layer(*layers).properties(
        width="container",
        height=280,
        title="Accuracy by rating gap",
        description=f"Accuracy from the closest pairs to those farthest apart: {spoken}.",
    )


def _table(bins_by_name: Mapping[str, Iterable[Mapping[str, Any]]]) -> pd.DataFrame:
    """One row per bin: `name, x, from, to, mean, low, high, pairs, text`."""
    rows = [
        {"name": name, "x": one["mean"], "from": one["low"], "to": one["high"], "pairs": one["count"]}
        | _ends(one["agreement"])
        for name, bins in bins_by_name.items()
        for one in bins
    ]
    table = pd.DataFrame(rows)
    return table.assign(text=[f"{m:.0%} ({a:.0%} to {b:.0%})" for m, a, b in table[["mean", "low", "high"]].to_numpy()])


def _points(table: pd.DataFrame, x: alt.X, scale: alt.Scale, axis: alt.Axis, colours: Colours) -> list[Any]:
    """Points with their intervals, connected from bin to bin."""
    base, tint = alt.Chart(table).encode(x=x), tint_of(colours)
    tips = [
        alt.Tooltip("name:N", title="run"),
        alt.Tooltip("x:Q", title="mean", format=".2f"),
        alt.Tooltip("text:N", title="right"),
        alt.Tooltip("pairs:Q", title="pairs"),
    ]
    y = alt.Y("mean:Q", title=None, scale=scale, axis=axis)
    ends = alt.Y("low:Q", title=None, scale=scale, axis=axis)
    return [
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(y=y, color=tint),
        base.mark_rule(strokeWidth=2, strokeCap="round").encode(y=ends, y2="high:Q", color=tint),
        base.mark_point(filled=True, size=70, opacity=1).encode(y=y, color=tint, tooltip=tips),
    ]


def _line(
    ends: list[tuple[float, float]],
    x: alt.X,
    scale: alt.Scale,
    axis: alt.Axis,
    label: str,
    align: str,
    dx: int = 0,
    dy: int = -4,
) -> list[Any]:
    """A dashed line between two points, labelled at the first of them."""
    y = alt.Y("mean:Q", title=None, scale=scale, axis=axis)
    drawn = alt.Chart(pd.DataFrame(ends, columns=["x", "mean"])).encode(x=x, y=y)
    first = {"x": ends[0][0], "mean": ends[0][1], "label": label}
    text = alt.Chart(pd.DataFrame([first])).encode(x=x, y=y, text="label:N")
    muted = theme.colour("muted")
    style: dict[str, Any] = {"align": align, "baseline": "bottom", "dx": dx, "dy": dy, "fontSize": 12, "color": muted}
    return [drawn.mark_line(strokeDash=[4, 4], strokeWidth=1.2, color=muted), text.mark_text(**style)]


def _calibration_caption(models: Evaluations) -> str:
    """The expected calibration errors, and that of a calibrated model on as many pairs."""
    parts = []
    for name, found in models.items():
        one = found["calibration"]
        chance = (
            f" (a calibrated model has {wording.number(one['chance'], 3)} on as many pairs)" if "chance" in one else ""
        )
        parts.append(f"{name} {wording.number(one['error'], 3)}{chance}")
    return (
        "Below the diagonal a model is overconfident. Expected calibration error: "
        f"{'; '.join(parts)}. Bars are 95 % intervals."
    )


def _ends(interval: Mapping[str, Any]) -> dict[str, float]:
    return {end: float(interval[end]) for end in ("mean", "low", "high")}
