"""The page of `burnish demo`: what the models learned from human preferences, with confidence intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import figures, theme, wording
from burnish.report.figures import Chart
from burnish.report.language import summary
from burnish.report.language.climb import climb_figures, climb_sentences
from burnish.report.language.training import curve_figures
from burnish.report.page import Figure, figure, write_page
from burnish.report.runs import Record

OFFLINE = ["loss", "accuracy", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected"]
ONLINE = ["objective/scores", "objective/kl", "policy/entropy_avg"]
BOUND = "hollow: best of n, upper bound on KL"
GOLD = "gold score (points on the raters’ scale, −4 to 4)"


def demo_page(found: Mapping[str, Any], out: Path) -> Path:
    """Write the page of a summary (schema: `burnish.report.language.summary`); returns `out`.

    Raises UserError if the summary lacks a required key.
    """
    found = summary.complete(found)
    baseline = found["baseline"]
    records = summary.training_records(found, out.parent)
    names = [model["name"] for model in found["models"]]
    colours = theme.series_colours([*names, *(name for name in records if name not in names)])
    drawn = [
        *_when("main", main_figure(found, colours), _main_caption(found, baseline)),
        *_when("accuracy", accuracy_figure(found, colours)),
        *_when("gold", gold_figure(found, colours)),
    ]
    climbed, climber = found["climb"] or [], next((name for name in names if name == "PPO"), names[-1])
    climb = climb_figures(climbed, colours, climber, baseline)
    curves = {name: training_curves(name, lines, colours, i) for i, (name, lines) in enumerate(records.items())}
    return write_page(
        "demo.html.j2",
        out,
        [*drawn, *climb, *(one for several in curves.values() for one in several)],
        title=found["title"],
        result=result(found),
        summary=found,
        baseline=baseline,
        prefixes=prefix_count(found),
        swatches=colours,
        proxies=any(model["proxy"] for model in found["models"]),
        bounds=any(model["kl_is_bound"] for model in found["models"]),
        climb=climb,
        climber=climber,
        climb_sentences=climb_sentences(climbed, climber),
        curves={name: several for name, several in curves.items() if several},
        stages={stage["name"]: wording.duration(stage["seconds"]) for stage in found.get("stages") or []},
        data=_facts(found.get("data")),
        versions=_facts(found.get("versions")),
        samples=[_sample(sample, shown_names(found["models"])) for sample in found.get("samples") or []],
    )


def result(found: Mapping[str, Any]) -> str:
    """The page's first sentence: which models trained from the baseline beat it; empty if none is compared.

    Models before the baseline and best of n, which is not a trained model, are only mentioned if nothing else is
    compared.
    """
    baseline, models = found.get("baseline") or "SFT", found["models"]
    place = next((i for i, model in enumerate(models) if model["name"] == baseline), -1)
    compared = [model for model in models if model.get("gold_vs_sft")]
    trained = [model for model in models[place + 1 :] if model in compared and not model.get("kl_is_bound")]
    if len(trained) > 1:
        differences = {model["name"]: model["gold_vs_sft"] for model in trained}
        return wording.results_sentences(differences, baseline, prefix_count(found))
    if not compared:
        return ""
    last = (trained or compared)[-1]
    return wording.result_sentence(
        last["name"], baseline, last["gold_vs_sft"], last.get("win_rate"), prefix_count(found)
    )


def training_curves(name: str, lines: list[Record], colours: figures.Colours, number: int) -> list[Figure]:
    """Curves of one stage; an online method's progress shows in its scores, not in its loss."""
    online = any("objective/scores" in line for line in lines)
    return curve_figures({name: lines}, colours, keys=ONLINE if online else OFFLINE, place=f"curve-{number}")


def shown_names(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """The models whose samples are shown: of several best of n only the last."""
    bounds = [model["name"] for model in models if model.get("kl_is_bound")]
    return [model["name"] for model in models if model["name"] not in bounds[:-1]]


def prefix_count(found: Mapping[str, Any]) -> int:
    """Number of held-out prefixes behind the gold scores; 0 if the summary does not say."""
    runs = found.get("runs") or 1
    return found.get("prefixes") or len(found["models"][0].get("gold_values") or []) // runs


def main_figure(found: Mapping[str, Any], colours: figures.Colours) -> Chart | None:
    """Gold score against KL to the baseline, one point per model."""
    models = [model for model in found["models"] if model.get("kl")]
    if not models:
        return None
    baseline = found.get("baseline", "SFT")
    table = pd.DataFrame(
        [
            {
                "name": m["name"],
                "bound": bool(m.get("kl_is_bound")),
                **{f"x{end}": m["kl"][key] for end, key in _ENDS},
                **{f"y{end}": m["gold"][key] for end, key in _ENDS},
            }
            for m in models
        ]
    )
    points = [
        f"{m['name']}: gold {m['gold']['mean']:.2f} at a KL of {'at most ' * bound}{m['kl']['mean']:.2f} nats"
        for m, bound in zip(models, table.bound, strict=True)
    ]
    spoken = f"Gold score against KL to {baseline}. {'; '.join(points)}."
    title = ["gold score", "(points on the raters’ scale, −4 to 4)"]
    distance = [f"KL to {baseline} (nats per continuation)"] + [BOUND] * bool(table.bound.any())
    return figures.trade_off(table, colours, distance, title, spoken)


def accuracy_figure(found: Mapping[str, Any], colours: figures.Colours) -> Chart | None:
    """Accuracy of DPO's implicit reward, of the reward model and of one human rater."""
    kinds = [
        ("DPO’s reward", "accuracy", colours.get("DPO", theme.colour("series-2"))),
        ("reward model", "reward_accuracy", colours.get("reward model", theme.colour("series-7"))),
        ("one rater", "ceiling", theme.colour("ink")),
    ]
    rows = [{"name": label} | {end: found[key][end] for _, end in _ENDS} for label, key, _ in kinds if found.get(key)]
    if not rows:
        return None
    low = min(0.45, *(row["low"] - 0.03 for row in rows))
    spoken = ", ".join(f"{row['name']} {row['mean']:.0%}" for row in rows)
    return figures.intervals(
        pd.DataFrame(rows),
        {label: tint for label, _, tint in kinds},
        "accuracy on held-out pairs",
        f"Held-out accuracy: {spoken}; guessing gives 50 %.",
        reference=(0.5, "guessing"),
        domain=(low, 1.0),
        number=".0%",
    )


def gold_figure(found: Mapping[str, Any], colours: figures.Colours) -> Chart | None:
    """Distribution of each model's gold scores."""
    scored = {m["name"]: [float(v) for v in m.get("gold_values") or [] if v is not None] for m in found["models"]}
    values = {name: scores for name, scores in scored.items() if scores}
    if not values:
        return None
    spoken = ", ".join(f"{name} has mean {sum(v) / len(v):.2f}" for name, v in values.items())
    return figures.densities(values, colours, GOLD, f"Distribution of gold scores: {spoken}.")


_ENDS = [("", "mean"), ("_low", "low"), ("_high", "high")]


def _when(key: str, chart: Chart | None, caption: str = "") -> list[Figure]:
    return [] if chart is None else [figure(key, chart, caption)]


def _main_caption(found: Mapping[str, Any], baseline: str) -> str:
    runs = found.get("runs") or 1
    over = (
        "They include the choice of prefixes, not the variation between seeds."
        if runs == 1
        else f"They include the choice of prefixes and the {runs} seeded runs."
    )
    bounds = (
        "Hollow points are the best of n samples by the reward model: their KL is only known to be at most "
        "log n − (n − 1)/n. "
        if any(model.get("kl_is_bound") for model in found["models"])
        else ""
    )
    return (
        "Vertical: the score by the judge, which was fitted on ratings by other people. Horizontal: the model’s KL "
        f"to {baseline}, measured on its own texts, on a square-root scale. {bounds}"
        f"Bars are 95 % bootstrap intervals. {over}"
    )


def _sample(sample: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """A prefix with each model's continuation, without the prefix in front of it."""
    prefix, gold = sample["prefix"], sample.get("gold") or {}
    texts = [
        {"name": name, "text": sample[name].removeprefix(prefix), "gold": gold.get(name)}
        for name in names
        if sample.get(name) is not None
    ]
    return {"prefix": prefix, "texts": texts}


def _facts(tree: Mapping[str, Any] | None) -> dict[str, str]:
    """Counts and versions as text, integers with thousands separators."""
    flat = wording.flatten(tree or {})
    integers = {key: f"{item:,}" for key, item in flat.items() if isinstance(item, int) and not isinstance(item, bool)}
    return {key: integers.get(key) or wording.value(item) for key, item in flat.items()}
