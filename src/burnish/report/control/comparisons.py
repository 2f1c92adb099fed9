"""The page of learning from comparisons: what labels buy, held against PPO on the true reward.

It reads what the study left in its folder: `returns.parquet` (a row an episode), `summary.json`, and, where they are,
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
    ("learning", "variance"): "Asked while learning, where the ensemble disagrees",
    ("start", "random"): "Asked at the start, random pairs",
    ("learning", "random"): "Asked while learning, random pairs",
    ("start", "variance"): "Asked at the start, where the ensemble disagrees",
}
CORRELATIONS = {
    "late": "over the rollouts after the last label, as the policy was paid",
    "ever": "over a sample of all that the run lived through, by its last predictor",
}


def comparisons_page(folder: Path) -> Path:
    """Write `report.html` and the figures `labels`, `curves` and `correlation` (PNG and SVG) into `folder`; its path.

    Raises UserError where the table of returns or the summary is missing.
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
        "correlation": figure("correlation", correlations, f"Step by step, {CORRELATIONS[kind]}."),
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
    """What was found, from the intervals of the differences to PPO on the true reward."""
    place = found["env"]
    asked = {name: one for name, one in found["variants"].items() if name != TRUE}
    if TRUE not in found["variants"] or any(one["difference"] is None for one in asked.values()) or not asked:
        return f"PPO paid by comparisons on {place}: too few runs to hold it against the true reward"
    sides: dict[str, list[str]] = {"undecided": [], "worse": [], "better": []}
    for one in asked.values():
        sides[wording.verdict(one["difference"])].append(one["label"])
    ends = {"undecided": "cannot be told apart from", "worse": "ends below", "better": "ends above"}
    said, whom = [], "PPO on the true reward"
    for side, names in sides.items():
        if names:
            said.append(f"{ends[side]} {whom} with {wording.listed(names)}")
            whom = "it"
    return f"On {place}, PPO paid by comparisons {', and '.join(said)}"


def result(found: Mapping[str, Any]) -> str:
    """The final returns in a sentence: true reward, fewest labels, most labels."""
    models = found["variants"]
    asked = [one for name, one in models.items() if name != TRUE]
    chosen = ([models[TRUE]] if TRUE in models else []) + sorted(asked, key=lambda one: one["labels"])[
        :: len(asked) - 1 or 1
    ]
    digits = found["digits"]
    said = []
    for one in {one["label"]: one for one in chosen}.values():
        ends = wording.range_of(one["final"], digits)
        said.append(
            f"{wording.number(one['final']['mean'], digits)}{f' ({ends})' if ends else ''} "
            f"{'on the true reward' if one['labels'] == 0 else 'with ' + one['label']}"
        )
    return (
        f"Mean true return over the last {found['last']} of {found['episodes']:,} episodes: {wording.listed(said)}. "
        "No environment’s reward reached a policy that was paid by comparisons."
    )


def ways(models: Mapping[str, Any]) -> dict[str, str]:
    """The ways in which labels were asked for, and their colours."""
    found = [WAYS[one["when"], one["choose"]] for name, one in models.items() if name != TRUE]
    return theme.series_colours(["reference", *dict.fromkeys(found)]) | {}


def labels_chart(found: Mapping[str, Any], for_file: bool = False) -> Chart:
    """Final true return against the number of labels, and the band of PPO on the true reward across it.

    A file has a legend, which a page writes beside the chart.
    """
    models = found["variants"]
    colours = {name: colour for name, colour in ways(models).items() if name != "reference"}
    rows = []
    for name, one in models.items():
        if name != TRUE:
            way = WAYS[one["when"], one["choose"]]
            rows.append({"name": way, "labels": one["labels"], "at": 0, **_ends(one["final"])})
    table = pd.DataFrame(rows, columns=["name", "labels", "at", "mean", "low", "high"])
    # Points that would lie on one another stand side by side, a fiftieth of the axis apart.
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
        tint = tint.legend(orient="top", title=None, labelLimit=0, labelFontSize=13, columns=1)
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
        f"The mean over the last {found['last']} episodes of each run and over {runs} runs, with 95 % bootstrap "
        "intervals over runs; the grey band is that of PPO on the true reward."
    )


def correlated(models: Mapping[str, Any]) -> str:
    """Where predictions are held against true rewards: at the end, or in all of a run where the end does not vary."""
    return "late" if all(one["correlation_late"] for name, one in models.items() if name != TRUE) else "ever"


def correlation_chart(models: Mapping[str, Any], colours: Colours, kind: str) -> Chart:
    """How predicted and true rewards go together."""
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
    """An interval whose missing ends are its mean."""
    mean = interval["mean"]
    ends = {end: mean if interval[end] is None else interval[end] for end in ("low", "high")}
    return {key: float(value) for key, value in ({"mean": mean} | ends).items()}


def _knobs(config: Mapping[str, Any]) -> dict[str, Any]:
    """What all variants' comparisons have alike."""
    some = [one for one in (config.get("variants") or {}).values() if "labels" in one]
    shared = some[0] if some else {}
    return {k: v for k, v in shared.items() if all(one.get(k) == v for one in some)}


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}: give the folder that learning from comparisons wrote.")
    found = read_mapping(path)
    for key in ("env", "episodes", "last", "variants"):
        if not found.get(key):
            raise UserError(f"{path} has no `{key}`: let the study write it anew.")
    largest = max(abs(one["final"]["mean"]) for one in found["variants"].values())
    return {"command": None} | found | {"digits": 0 if largest >= 100 else 1 if largest >= 10 else 2}


def _returns(path: Path, found: Mapping[str, Any]) -> pd.DataFrame:
    """The episodes that the summary counts, under the labels of their variants as `algorithm`."""
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}: give the folder that learning from comparisons wrote.")
    frame = pd.read_parquet(path)
    labels = {name: one["label"] for name, one in found["variants"].items()}
    frame = frame[frame.variant.isin(list(labels)) & (frame.episode <= found["episodes"])]
    frame = frame[frame.groupby(["variant", "run"]).episode.transform("size") == found["episodes"]]
    frame = frame.assign(algorithm=frame.variant.map(labels))
    return frame.sort_values("algorithm", key=lambda c: c.map(list(labels.values()).index), kind="stable")


def _mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path) if path.is_file() else {}
