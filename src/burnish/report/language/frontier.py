"""The page of `burnish study frontier`, made from the `summary.json` of its folder."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import altair as alt
import pandas as pd

from burnish.report import theme, wording
from burnish.report.figures import Chart, save_figure
from burnish.report.language.frontier_words import (
    TEST,
    displaced,
    end_seeds,
    figure_notes,
    of_seeds,
    result_sentences,
    title_of,
    warnings,
)
from burnish.report.language.gaps import CROSS
from burnish.report.page import figure, write_page
from burnish.run import UserError, read_mapping

X_TITLE, Y_TITLE = "KL divergence from the start (nats per completion)", "gold score"
SECONDS = "CPU seconds of training, the reward model's included"
TITLE = "Reward against KL"
SHORT, SMALL = "KL (nats)", 300
"""The title in charts of a smaller height."""

STEPS: Literal["step-after"] = "step-after"
"""Of lines and bands: a Pareto line rises where a point is."""

DOT = ("name", "x", "y", "kind", "setting", "gold", "KL")
"""What is known of a point that is drawn."""

DOTS: dict[str, Any] = {"size": 30, "opacity": 0.75, "clip": True}
MARKS: dict[str, dict[str, Any]] = {
    "measured": {"filled": True},
    "bound": {"filled": False},
    "diverged": CROSS,
}
"""How points are drawn: a measurement, one whose KL is a bound, and one of a training that diverged afterwards."""

BEYOND = 3.0
"""The picture ends at so many times the largest level: what lies beyond is named under it."""


def frontier_page(folder: Path) -> Path:
    """Write `report.html` and the figures `frontier` and `frontier_seconds` (PNG, SVG) to `folder`; returns the page's
    path.

    Raises UserError if the summary is missing.
    """
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder} has no summary.json: give the folder of burnish study frontier")
    found = read_mapping(folder / "summary.json")
    colours = colours_of(found["labels"])
    shown = [name for name in found["labels"] if any(one["name"] == name for one in found["points"])]
    main = frontier_chart(found, shown, colours, "", 420)
    save_figure(frontier_chart(found, shown, colours, TITLE, 420, legend=True), folder / "frontier", 720)
    save_figure(seconds_chart(found, colours, 360, legend=True), folder / "frontier_seconds", 720)
    panels = [
        figure(f"panel-{name}", frontier_chart(found, beside(name, found), colours, found["labels"][name], 220))
        for name in shown
    ]
    picture, spent = figure("frontier", main), figure("seconds", seconds_chart(found, colours, 320))
    return write_page(
        "frontier.html.j2",
        folder / "report.html",
        [picture, *panels, spent],
        title=title_of(found),
        sentences=result_sentences(found),
        warnings=warnings(found),
        displaced=displaced(found),
        picture=picture,
        panels=panels,
        spent=spent,
        outside=outside(found),
        crosses=any(one["diverged"] is not None for one in found["points"]),
        unfinished=partial(unfinished, found),
        of_seeds=partial(of_seeds, found),
        end_seeds=partial(end_seeds, found),
        shown=[found["labels"][name] for name in shown],
        found=found,
        swatches=colours,
        reference=found["labels"][found["reference"]],
        rival=found["labels"].get(found["rival"]),
        test=TEST,
        costs=costs(found),
        scale=found["plan"]["scale"],
    )


def beside(name: str, found: Mapping[str, Any]) -> list[str]:
    """A method, and the reference that it is compared with."""
    return list(dict.fromkeys([name, found["reference"]]))


def colours_of(labels: Mapping[str, str]) -> dict[str, str]:
    """A colour per label; those that train nothing new, and those that only imitate, are black and grey."""
    own = {"sft": theme.colour("series-0"), "best_of_n": theme.colour("ink")}
    loud = theme.series_colours([label for name, label in labels.items() if name not in own])
    return {label: own.get(name) or loud[label] for name, label in labels.items()}


def far(found: Mapping[str, Any]) -> float:
    """Where the picture's KL axis ends."""
    most = max((one["kl"] for one in found["points"]), default=1.0)
    return max(min(1.05 * most, BEYOND * max(found["plan"]["levels"])), 1e-3)


def outside(found: Mapping[str, Any]) -> str | None:
    """A sentence about the points beyond the axis."""
    limit = far(found)
    away = [one for one in found["points"] if one["kl"] > limit]
    if not away:
        return None
    names = wording.listed(list(dict.fromkeys(found["labels"][one["name"]] for one in away)))
    most = wording.number(max(one["kl"] for one in away), 1)
    return f"{len(away)} points lie beyond {limit:.3g} nats and are not drawn, of {names}: up to {most} nats."


def frontier_chart(
    found: Mapping[str, Any],
    names: Sequence[str],
    colours: Mapping[str, str],
    title: str,
    height: int,
    legend: bool = False,
) -> Chart:
    """Gold score against KL on a square-root scale: every measured point, and each method's Pareto line with its band.

    Estimates of KL below 0 are drawn at 0; points whose KL is a bound are hollow, and those of trainings that diverged
    afterwards are crosses. Where there are more methods than
    colours, lines that share one are dashed. The page has a legend of its own.
    """
    labels, limit = found["labels"], far(found)
    shown = [dot(one, labels) for one in found["points"] if one["name"] in names and one["kl"] <= limit]
    points = pd.DataFrame(shown, columns=list(DOT))
    rows = [
        {"name": labels[name], "x": max(0.0, one["kl"]), "y": one["mean"], "low": one["low"], "high": one["high"]}
        for name in names
        for one in found["lines"].get(name, [])
        if one["kl"] <= limit
    ]
    x_title = SHORT if height < SMALL else X_TITLE
    x = alt.X("x:Q", title=x_title, scale=alt.Scale(type="sqrt", domain=[0, limit], nice=False))
    scale = alt.Scale(domain=gold_range(found), nice=False, zero=False)
    key = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolOpacity=1) if legend else None
    tints, dashes = list(colours.values()), dashes_of(colours)
    tint = alt.Color("name:N", scale=alt.Scale(domain=list(colours), range=tints), legend=key)
    y = alt.Y("y:Q", title=Y_TITLE, scale=scale)
    layers: list[Any] = []
    if known := [row for row in rows if row["low"] is not None]:
        low = alt.Y("low:Q", title=Y_TITLE, scale=scale)
        band = alt.Chart(pd.DataFrame(known)).mark_area(
            opacity=0.15, line=False, interpolate=STEPS, aria=False, clip=True
        )
        layers.append(band.encode(x=x, y=low, y2="high:Q", color=tint, detail="name:N"))
    if rows:
        dash = alt.StrokeDash("name:N", scale=alt.Scale(domain=list(colours), range=dashes), legend=key)
        line = alt.Chart(pd.DataFrame(rows)).mark_line(strokeWidth=2, interpolate=STEPS, clip=True)
        layers.append(line.encode(x=x, y=y, color=tint, strokeDash=dash, detail="name:N"))
    tips = [alt.Tooltip(f"{one}:N", title=one) for one in ("setting", "gold", "KL")]
    for kind, looks in MARKS.items():
        if len(some := points[points["kind"] == kind]):
            mark = alt.Chart(some).mark_point(**DOTS | looks)
            layers.append(mark.encode(x=x, y=y, color=tint, tooltip=tips))
    spoken = f"{Y_TITLE} against {X_TITLE}. " + "; ".join(spoken_of(found, name) for name in names) + "."
    lines = figure_notes(found) if legend else []
    heading: Any = alt.Title(title, subtitle=lines) if lines else title
    return alt.layer(*layers).properties(width="container", height=height, title=heading, description=spoken)


def seconds_chart(found: Mapping[str, Any], colours: Mapping[str, str], height: int, legend: bool = False) -> Chart:
    """Gold score against CPU seconds: a line per setting, through the means over seeds of its measurements. A
    measurement that not all of a setting's seeds have is left out, as is the best of n, which trains nothing."""
    means = over_time(found)
    rows = pd.DataFrame(means, columns=["name", "setting", "x", "y", "seeds"])
    key = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolOpacity=1) if legend else None
    looks = {name: (colours[name], dash) for name, dash in zip(colours, dashes_of(colours), strict=True)}
    domain = [name for name in colours if any(one["name"] == name for one in means)]
    tints, dashes = ([looks[name][i] for name in domain] for i in (0, 1))
    tint = alt.Color("name:N", scale=alt.Scale(domain=domain, range=tints), legend=key)
    x = alt.X("x:Q", title=SECONDS, scale=alt.Scale(zero=True, nice=False))
    y = alt.Y("y:Q", title=Y_TITLE, scale=alt.Scale(zero=False))
    dash = alt.StrokeDash("name:N", scale=alt.Scale(domain=domain, range=dashes), legend=key)
    line = alt.Chart(rows).mark_line(strokeWidth=2).encode(x=x, y=y, color=tint, strokeDash=dash, detail="setting:N")
    tips = [alt.Tooltip("setting:N", title="setting"), alt.Tooltip("seeds:Q", title="seeds")]
    tips += [alt.Tooltip("x:Q", title=SECONDS, format=",.0f"), alt.Tooltip("y:Q", title=Y_TITLE, format=".2f")]
    dots = alt.Chart(rows).mark_point(filled=True, size=30, opacity=0.75).encode(x=x, y=y, color=tint, tooltip=tips)
    ends = {row["setting"]: row for row in means}.values()
    said = "; ".join(f"{one['setting']}: {one['y']:.2f} after {one['x']:.0f} seconds" for one in ends)
    spoken = f"{Y_TITLE} against {SECONDS}. {said or 'Not finished'}."
    return alt.layer(line, dots).properties(width="container", height=height, title="", description=spoken)


def over_time(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Means over seeds of the measurements that all seeds of a setting have."""
    by: dict[tuple[str, float], dict[int, list[Mapping[str, Any]]]] = {}
    for one in found["points"]:
        if one["seconds"] is not None:
            by.setdefault((one["name"], one["value"]), {}).setdefault(one["step"], []).append(one)
    rows = []
    for (name, value), steps in by.items():
        most = max(map(len, steps.values()))
        for some in (some for some in steps.values() if len(some) == most):
            x, y = (sum(one[key] for one in some) / most for key in ("seconds", "gold"))
            label = found["labels"][name]
            rows.append({"name": label, "setting": f"{label} {value:g}", "x": x, "y": y, "seeds": most})
    return rows


def dot(one: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """A point with what is shown when it is pointed at."""
    kl = f"at most {one['kl']:.2f}" if one["bound"] else f"{one['kl']:.2f} ± {one['kl_se']:.2f}"
    where = f"{labels[one['name']]} {one['value']:g}, seed {one['seed']}, step {one['step']}"
    if (lost := one["diverged"]) is not None:
        where += f" (diverged at step {lost})"
    kind = "diverged" if lost is not None else "bound" if one["bound"] else "measured"
    shown = {"setting": where, "gold": f"{one['gold']:.2f} ± {one['gold_se']:.2f}", "KL": kl}
    place: dict[str, Any] = {"x": max(0.0, one["kl"]), "y": one["gold"], "kind": kind}
    return {"name": labels[one["name"]]} | place | shown


def gold_range(found: Mapping[str, Any]) -> list[float]:
    """The vertical axis of all charts: all points within the KL axis, and the bands."""
    values = [one["gold"] for one in found["points"] if one["kl"] <= far(found)]
    lines = [point for line in found["lines"].values() for point in line if point["kl"] <= far(found)]
    values += [point[end] for point in lines for end in ("mean", "low", "high") if point[end] is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.06 * (high - low) or 0.5
    return [low - room, high + room]


def dashes_of(colours: Mapping[str, str]) -> list[list[int]]:
    """A solid line for the first method of each colour, dashes for the next."""
    seen: dict[str, int] = {}
    out = []
    for tint in colours.values():
        out.append([[1, 0], [6, 4], [2, 3]][min(seen.get(tint, 0), 2)])
        seen[tint] = seen.get(tint, 0) + 1
    return out


def spoken_of(found: Mapping[str, Any], name: str) -> str:
    """The end of a method's line, for screen readers."""
    line, label = found["lines"].get(name), found["labels"][name]
    if not line:
        return f"{label}: {unfinished(found, name)}"
    few = "" if found["seeds"][name] >= found["plan"]["seeds"] else f" ({of_seeds(found, found['seeds'][name])})"
    return f"{label}: {line[-1]['mean']:.2f} within {line[-1]['kl']:.2g} nats{few}"


def unfinished(found: Mapping[str, Any], name: str) -> str:
    """Why a method has no line: all of its seeds that are there diverged, or none is there."""
    return "diverged" if name in found["without"] else "not finished"


def costs(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per method, and the start and the reward model last."""
    names = found["labels"] | {"reward": "A reward model", "start": "The start and its pairs"}
    return [{"label": label} | found["costs"][name] for name, label in names.items() if name in found["costs"]]
