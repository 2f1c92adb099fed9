"""The page of learning from comparisons: return by number of labels, compared with PPO on the true reward.

It reads the files of the study's folder: `returns.parquet` (one row per episode), `summary.json` and, if they exist,
`config.yaml` and `environment.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from burnish.report import theme, wording
from burnish.report.control.classic_figures import LightFigure, curves_of, panel
from burnish.report.figures import Chart, Colours, intervals, save_figure, tint_of
from burnish.report.figures import to_spec as spec_of
from burnish.report.page import figure, write_page
from burnish.run import UserError, read_mapping

TRUE = "true_reward"
WAYS = {
    ("learning", "variance"): "Labels during training, pairs with most ensemble disagreement",
    ("start", "random"): "Labels at the start, random pairs",
    ("learning", "random"): "Labels during training, random pairs",
    ("start", "variance"): "Labels at the start, pairs with most ensemble disagreement",
}
CORRELATIONS = {
    "late": "over the rollouts after the last label, with the rewards that the policy received",
    "ever": "over a sample of the whole run, with the rewards of its last predictor",
}


def comparisons_page(folder: Path) -> Path:
    """Write `report.html` and the figures `labels`, `curves` and `correlation` (PNG, SVG) to `folder`; the page's path.

    Raises UserError if the table of returns or the summary is missing.
    """
    found = _summary(folder / "summary.json")
    config, environment = (_mapping(folder / name) for name in ("config.yaml", "environment.json"))
    models = found["variants"]
    colours = theme.series_colours([one["label"] for one in models.values()])
    curves = curves_of(_returns(folder / "returns.parquet", found), "episode")
    kind = correlated(models)
    correlations = correlation_chart(models, colours, kind)
    save_figure(labels_chart(found, for_file=True), folder / "labels", 760)
    save_figure(correlations, folder / "correlation", 760)
    save_figure(panel(curves, colours, "episode", for_file=True), folder / "curves", 760)
    figures = {
        "labels": figure("labels", labels_chart(found), labels_caption(found)),
        "curves": LightFigure("curves", spec_of(panel(curves, colours, "episode"))),
        "correlation": figure("correlation", correlations, f"Per step, {CORRELATIONS[kind]}."),
    }
    return write_page(
        "comparisons.html.j2",
        folder / "report.html",
        list(figures.values()),
        title=title(found),
        result=result(found),
        found=found,
        models=models,
        swatches=colours,
        ways=ways(models),
        plots=figures,
        correlations=CORRELATIONS,
        settings=wording.flatten(config.get("ppo") or {}),
        knobs=_knobs(config),
        command=found.get("command"),
        versions={k.removeprefix("packages."): wording.value(v) for k, v in wording.flatten(environment).items()},
    )


def title(found: Mapping[str, Any]) -> str:
    """The page's title: how PPO with each number of labels compares with PPO on the true reward."""
    place = found["env"]
    asked = {name: one for name, one in found["variants"].items() if name != TRUE}
    if TRUE not in found["variants"] or any(one["difference"] is None for one in asked.values()) or not asked:
        return f"PPO trained on comparisons on {place}: too few runs to compare with the true reward"
    sides: dict[str, list[str]] = {"undecided": [], "worse": [], "better": []}
    for one in asked.values():
        sides[wording.verdict(one["difference"])].append(one["label"])
    ends = {"undecided": "cannot be told apart from", "worse": "ends below", "better": "ends above"}
    claims, reference = [], "PPO on the true reward"
    for side, names in sides.items():
        if names:
            claims.append(f"with {wording.listed(names)} it {ends[side]} {reference}")
            reference = "that"
    return f"PPO trained on comparisons on {place}: {', and '.join(claims)}"


def result(found: Mapping[str, Any]) -> str:
    """The final returns with the true reward, the fewest and the most labels, in one sentence."""
    models = found["variants"]
    asked = [one for name, one in models.items() if name != TRUE]
    chosen = ([models[TRUE]] if TRUE in models else []) + sorted(asked, key=lambda one: one["labels"])[
        :: len(asked) - 1 or 1
    ]
    digits = found["digits"]
    parts = []
    for one in {one["label"]: one for one in chosen}.values():
        ends = wording.range_of(one["final"], digits)
        parts.append(
            f"{wording.number(one['final']['mean'], digits)}{f' ({ends})' if ends else ''} "
            f"{'on the true reward' if one['labels'] == 0 else 'with ' + one['label']}"
        )
    return (
        f"Mean true return over the last {found['last']} of {found['episodes']:,} episodes: {wording.listed(parts)}. "
        "A policy trained on comparisons never receives the environment’s rewards."
    )


def ways(models: Mapping[str, Any]) -> dict[str, str]:
    """The ways in which labels were collected, with their colours."""
    found = [WAYS[one["when"], one["choose"]] for name, one in models.items() if name != TRUE]
    return theme.series_colours(["reference", *dict.fromkeys(found)]) | {}


def labels_chart(found: Mapping[str, Any], for_file: bool = False) -> Chart:
    """Final true return against the number of labels, with a horizontal band for PPO on the true reward.

    A file has a legend, which a page has outside the chart.
    """
    models = found["variants"]
    colours = {name: colour for name, colour in ways(models).items() if name != "reference"}
    rows = []
    for name, one in models.items():
        if name != TRUE:
            way = WAYS[one["when"], one["choose"]]
            rows.append({"name": way, "labels": one["labels"], "at": 0, **_ends(one["final"])})
    table = pd.DataFrame(rows, columns=["name", "labels", "at", "mean", "low", "high"])
    # Points with the same number of labels are drawn side by side, 1/50 of the axis apart.
    table["at"] = table.labels + table.groupby("labels").cumcount() * table.labels.max() / 50
    table["text"] = [f"{m:.4g} ({a:.4g} to {b:.4g})" for m, a, b in table[["mean", "low", "high"]].to_numpy()]
    far = 1.06 * float(table["at"].max())
    x = alt.X("at:Q", title="labels", scale=alt.Scale(domain=[0, far], nice=False), axis=alt.Axis(grid=False))
    scale, axis = alt.Scale(zero=False), alt.Axis(tickCount=6)
    y = alt.Y("mean:Q", title="true return at the end", scale=scale, axis=axis)
    low = alt.Y("low:Q", title="true return at the end", scale=scale, axis=axis)
    tint: Any = tint_of(colours)
    layers: list[Any] = []
    if for_file:
        tint = tint.legend(orient="top", title=None, symbolOpacity=1, labelLimit=0, labelFontSize=13, columns=1)
    if TRUE in models:
        truth = pd.DataFrame(
            [{"from": 0.0, "to": far, "label": "PPO on the true reward", **_ends(models[TRUE]["final"])}]
        )
        base = alt.Chart(truth).encode(x=alt.X("from:Q", title="labels", scale=alt.Scale(domain=[0, far], nice=False)))
        layers += [
            base.mark_rect(opacity=0.18, color=theme.colour("series-0")).encode(x2="to:Q", y=low, y2="high:Q"),
            base.mark_rule(strokeDash=[4, 4], strokeWidth=1.5).encode(x2="to:Q", y=y),
            base.mark_text(align="left", dx=6, dy=-8, color=theme.colour("muted")).encode(y=y, text="label:N"),
        ]
    base = alt.Chart(table).encode(color=tint)
    tips = [alt.Tooltip("name:N", title=" "), alt.Tooltip("labels:Q"), alt.Tooltip("text:N", title="return")]
    line = alt.Chart(table[table.name == WAYS["learning", "variance"]]).encode(color=tint)
    layers += [
        line.mark_area(opacity=0.15, line=False, aria=False).encode(x=x, y=low, y2="high:Q"),
        line.mark_line(strokeWidth=2).encode(x=x, y=y),
        base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(x=x, y=low, y2="high:Q"),
        base.mark_point(filled=True, size=110, opacity=1).encode(x=x, y=y, tooltip=tips),
    ]
    spoken = "; ".join(f"{one['label']}: {one['final']['mean']:.4g}" for one in models.values())
    spoken = f"True return at the end against the number of labels. {spoken}."
    return alt.layer(*layers).properties(width="container", height=340, description=spoken)


def labels_caption(found: Mapping[str, Any]) -> str:
    runs = max(one["runs"] for one in found["variants"].values())
    if runs == 1:
        return f"The mean over the last {found['last']} episodes of one run."
    return (
        f"Means over the last {found['last']} episodes of each run and over {runs} runs, with 95 % bootstrap "
        "intervals over runs; the grey band is PPO on the true reward."
    )


def correlated(models: Mapping[str, Any]) -> str:
    """Which correlation to show: `late`, or `ever` if the true rewards at the end do not vary."""
    return "late" if all(one["correlation_late"] for name, one in models.items() if name != TRUE) else "ever"


def correlation_chart(models: Mapping[str, Any], colours: Colours, kind: str) -> Chart:
    """Correlation of predicted and true rewards, one row per variant."""
    asked = {name: one for name, one in models.items() if name != TRUE}
    rows = [
        {"name": one["label"], **_ends(one[f"correlation_{kind}"])}
        for one in asked.values()
        if one[f"correlation_{kind}"]
    ]
    table = pd.DataFrame(rows, columns=["name", "mean", "low", "high"])
    spoken = f"Correlation of predicted and true rewards, {CORRELATIONS[kind]}"
    return intervals(table, {name: colours[name] for name in table.name}, "correlation", spoken)


def _ends(interval: Mapping[str, Any]) -> dict[str, float]:
    """An interval with its missing ends replaced by the mean."""
    mean = interval["mean"]
    ends = {end: mean if interval[end] is None else interval[end] for end in ("low", "high")}
    return {key: float(value) for key, value in ({"mean": mean} | ends).items()}


def _knobs(config: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison settings that all variants share."""
    some = [one for one in (config.get("variants") or {}).values() if "labels" in one]
    shared = some[0] if some else {}
    return {k: v for k, v in shared.items() if all(one.get(k) == v for one in some)}


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}: give the folder of burnish classic --reward comparisons.")
    found = read_mapping(path)
    for key in ("env", "episodes", "last", "variants"):
        if not found.get(key):
            raise UserError(f"{path} has no `{key}`: run the study again.")
    largest = max(abs(one["final"]["mean"]) for one in found["variants"].values())
    return {"command": None} | found | {"digits": 0 if largest >= 100 else 1 if largest >= 10 else 2}


def _returns(path: Path, found: Mapping[str, Any]) -> pd.DataFrame:
    """The episodes that the summary counts, with the variants' labels as `algorithm`."""
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}: give the folder of burnish classic --reward comparisons.")
    frame = pd.read_parquet(path)
    labels = {name: one["label"] for name, one in found["variants"].items()}
    frame = frame[frame.variant.isin(list(labels)) & (frame.episode <= found["episodes"])]
    frame = frame[frame.groupby(["variant", "run"]).episode.transform("size") == found["episodes"]]
    frame = frame.assign(algorithm=frame.variant.map(labels))
    return frame.sort_values("algorithm", key=lambda c: c.map(list(labels.values()).index), kind="stable")


def _mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path) if path.is_file() else {}
