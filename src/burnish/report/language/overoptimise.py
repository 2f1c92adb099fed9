"""The page of `burnish study overoptimise`, made from the `summary.json` of its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from burnish.report import theme
from burnish.report.figures import Chart, save_figure
from burnish.report.language.gaps import CROSS
from burnish.report.language.overoptimise_words import (
    end_of,
    figure_notes,
    monitor_rows,
    monitor_sentences,
    peak_range,
    proxy_name,
    reach_of,
    result_sentences,
    title_of,
    warnings,
)
from burnish.report.page import figure, write_page
from burnish.run import UserError, read_mapping

X_TITLE, Y_TITLE = "d = √KL from the start (KL in nats per completion)", "gain over the start (gold points)"
GOLD, PROXY, FIT = "gold", "the proxy's claim", "gold, fitted"
MARKS = "Filled points are gold, hollow ones what the proxy claims."
DOT = ("name", "x", "y", "kind", "lost", "point", "gold", "claim", "KL")
"""What is known of a point that is drawn."""


def overoptimise_page(folder: Path) -> Path:
    """Write `report.html` and a figure per method, `overoptimise_ppo` and `overoptimise_best_of_n` (PNG, SVG), to
    `folder`; returns the page's path.

    Raises UserError if the summary is missing.
    """
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder} has no summary.json: give the folder of burnish study overoptimise")
    found = read_mapping(folder / "summary.json")
    colours = theme.series_colours([proxy_name(labels) for labels in found["plan"]["labels"]])
    for method in found["methods"]:
        save_figure(distance_chart(found, method, colours, legend=True), folder / f"overoptimise_{method}", 720)
    pictures = [figure(f"d-{method}", distance_chart(found, method, colours)) for method in found["methods"]]
    return write_page(
        "overoptimise.html.j2",
        folder / "report.html",
        pictures,
        title=title_of(found),
        sentences=result_sentences(found),
        warnings=warnings(found),
        pictures=pictures,
        found=found,
        swatches=colours,
        proxy_name=proxy_name,
        peak_range=peak_range,
        reach_of=reach_of,
        monitor=monitor_rows(found),
        monitored=monitor_sentences(found),
        crosses=any(one["diverged"] is not None for one in found["points"]),
        costs=costs(found),
    )


def distance_chart(
    found: Mapping[str, Any], method: str, colours: Mapping[str, str], legend: bool = False, height: int = 320
) -> Chart:
    """Gains against √KL by one method: a filled point per measurement of gold, with a cross where the training diverged
    afterwards, the fit with its band, and a dashed line per seed of what the proxy claims. The page has a legend of its
    own; with `legend` the figure says all, also what it does not have."""
    dots = pd.DataFrame([one for point in found["points"] for one in both(point, method)], columns=list(DOT))
    curves = pd.DataFrame(
        [
            {"name": proxy_name(row["labels"]), "x": one["d"], "y": one["gold"], "kind": FIT}
            | {end: one[end] for end in ("low", "high")}
            for row in found["rows"]
            if row["method"] == method and row["fit"]
            for one in row["fit"]["curve"]
        ],
        columns=["name", "x", "y", "kind", "low", "high"],
    )
    key = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolOpacity=1) if legend else None
    tint = alt.Color("name:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=key)
    dash = alt.StrokeDash("kind:N", scale=alt.Scale(domain=[FIT, PROXY], range=[[1, 0], [4, 3]]), legend=key)
    x = alt.X("x:Q", title=X_TITLE, scale=alt.Scale(zero=True, nice=False))
    scale = alt.Scale(zero=True)
    y = alt.Y("y:Q", title=Y_TITLE, scale=scale)
    tips = [alt.Tooltip(f"{one}:N", title=one) for one in ("point", "gold", "claim", "KL")]
    layers: list[Any] = []
    if len(known := curves.dropna()):
        band = alt.Chart(known).mark_area(opacity=0.15, line=False, aria=False)
        layers.append(band.encode(x=x, y=alt.Y("low:Q", title=Y_TITLE, scale=scale), y2="high:Q", color=tint))
    if len(curves):
        layers.append(alt.Chart(curves).mark_line(strokeWidth=2).encode(x=x, y=y, color=tint, strokeDash=dash))
    claims = dots[dots["kind"] == PROXY].assign(run=lambda rows: rows["point"].str.split(",").str[0])
    line = alt.Chart(claims).mark_line(strokeWidth=1.5, opacity=0.8)
    layers.append(line.encode(x=x, y=y, color=tint, strokeDash=dash, detail="run:N", order="x:Q"))
    gold, lost = dots["kind"] == GOLD, dots["lost"].astype(bool)
    for some, filled in ((~gold, False), (gold & ~lost, True)):
        mark = alt.Chart(dots[some]).mark_point(filled=filled, size=28, opacity=0.75)
        layers.append(mark.encode(x=x, y=y, color=tint, tooltip=tips))
    if (gold & lost).any():
        cross = alt.Chart(dots[gold & lost]).mark_point(**CROSS)
        layers.append(cross.encode(x=x, y=y, color=tint, tooltip=tips))
    title: Any = found["methods"][method]
    if legend:
        lines = figure_notes(found, method)
        title = alt.Title(title, subtitle=[MARKS, *lines] if lines else MARKS)
    return alt.layer(*layers).properties(
        width="container", height=height, title=title, description=spoken_of(found, method)
    )


def both(one: Mapping[str, Any], method: str) -> list[dict[str, Any]]:
    """A measurement as a point of gold and a point of the proxy, with what is shown when it is pointed at."""
    if one["method"] != method:
        return []
    bound = method == "best_of_n"
    kl = f"at most {one['kl']:.2f}" if bound else f"{one['kl']:.2f} ± {one['kl_se']:.2f}"
    step = f"n = {one['step']}" if bound else f"update {one['step']}"
    if (lost := one["diverged"]) is not None:
        step += f" (diverged at update {lost})"
    shown: dict[str, Any] = {"point": f"seed {one['seed']}, {step}", "KL": kl, "lost": lost is not None}
    shown |= {"gold": f"{one['gold']:+.2f} ± {one['gold_se']:.2f}"}
    shown |= {"claim": f"{one['proxy']:+.2f} ± {one['proxy_se']:.2f}"}
    place = {"name": proxy_name(one["labels"]), "x": one["d"]}
    return [place | shown | {"y": one[key], "kind": kind} for key, kind in (("gold", GOLD), ("proxy", PROXY))]


def spoken_of(found: Mapping[str, Any], method: str) -> str:
    """The ends of a method's lines, for screen readers."""
    rows = [row for row in found["rows"] if row["method"] == method]
    ends = [
        f"{proxy_name(row['labels'])}: gold {row['end']['mean']:+.2f} and the proxy {row['claimed']['mean']:+.2f} "
        f"{end_of(row, row['last'])}, {reach_of(row)}"
        for row in rows
    ]
    return f"{found['methods'][method]}: {Y_TITLE} against {X_TITLE}. " + ("; ".join(ends) or "Not finished") + "."


def costs(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per kind of cell."""
    names = {"start": "The start and its pairs", "reward": "A reward model"}
    names |= {"ppo": "PPO on one of them", "best_of_n": "Best of n by all of a seed's"}
    names |= {"ppo_gold": "PPO on the gold score", "online_dpo": "Online DPO on one of them"}
    names |= {"dpo": "DPO on one's labels", "monitor": "A training's texts by the reward models of all seeds"}
    return [{"label": label} | found["costs"][name] for name, label in names.items() if name in found["costs"]]
