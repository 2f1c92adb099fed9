"""The page of `burnish report RUN…`: one or several training runs side by side."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import theme
from burnish.report.figures import Colours
from burnish.report.language import reward_model
from burnish.report.language.curves import curves
from burnish.report.language.reward_model import is_reward_model
from burnish.report.page import Figure, figure, write_page
from burnish.report.runs import RunFiles, as_written, read_runs, series
from burnish.report.wording import flatten
from burnish.run import read_jsonl, writable_file
from burnish.run.folder import WATCH

# key in metrics.jsonl, figure title, number format, whether it is noisy enough for a running mean
METRICS: list[tuple[str, str, str, bool]] = [
    ("loss", "Loss", ".4~g", True),
    ("objective/scores", "Reward score", ".3~g", True),
    ("objective/kl", "KL to the reference, nats per completion", ".3~g", True),
    ("objective/rlhf_reward", "Objective: score minus KL penalty", ".3~g", True),
    ("objective/kl_coef", "KL coefficient β", ".3~g", False),
    ("objective/scores_margin", "Score margin, chosen minus rejected", ".3~g", True),
    ("objective/ties", "Fraction of tied pairs", ".0%", True),
    ("objective/best_scores", "Best score per prompt", ".3~g", True),
    ("objective/length", "Completion length, tokens", ".3~g", True),
    ("policy/entropy_avg", "Policy entropy, nats per token", ".3~g", True),
    ("policy/approxkl_avg", "KL to the sampling policy, nats per token", ".2~e", True),
    ("policy/clipfrac_avg", "Fraction of clipped tokens", ".1%", True),
    ("loss/policy_avg", "Policy loss", ".3~g", True),
    ("loss/value_avg", "Critic loss", ".3~g", True),
    ("accuracy", "Accuracy: pairs scored as labelled", ".0%", True),
    ("margin", "Score margin, chosen minus rejected", ".3~g", True),
    ("mean_reward", "Mean score of pairs", ".3~g", True),
    ("rewards/accuracies", "Accuracy: pairs rewarded as labelled", ".0%", True),
    ("rewards/margins", "Reward margin, chosen minus rejected", ".3~g", True),
    ("rewards/chosen", "Reward of chosen", ".3~g", True),
    ("rewards/rejected", "Reward of rejected", ".3~g", True),
    ("logps/chosen", "Log-probability of chosen", ".4~g", True),
    ("logps/rejected", "Log-probability of rejected", ".4~g", True),
    ("watch/length", "Watched: length, times the start's", ".3~g", False),
    ("watch/repetition", "Watched: repetition, less the start's", ".3~g", False),
    ("watch/distinct_2", "Watched: distinct-2, times the start's", ".3~g", False),
    ("watch/entropy", "Watched: entropy, times the start's", ".3~g", False),
    ("watch/disagreement", "Watched: disagreement, times the start's", ".3~g", False),
    ("watch/gap", "Watched: claims less labels", ".3~g", False),
    ("watch/own_gap", "Watched: own pairs less labels", ".3~g", False),
    ("perplexity", "Perplexity", ".4~g", True),
    ("kl", "KL to the reference", ".3~g", True),
    ("entropy", "Entropy", ".3~g", True),
    ("scores", "Score", ".3~g", True),
    ("returns", "Return", ".4~g", True),
    ("aux_loss", "Load-balancing loss of the routers", ".4~g", True),
    ("grad_norm", "Gradient norm before clipping", ".3~g", True),
    ("learning_rate", "Learning rate", ".2~e", False),
]
METHOD_SPECIFIC = ("loss", "grad_norm")
"""Metrics that are not comparable between methods, and so have a figure per method."""
SETTINGS = ("objective/kl_coef",)
"""Metrics that get a figure only if they change."""
METHODS = {
    "reward": "reward model",
    "online_dpo": "online DPO",
    "rejection": "rejection sampling",
    "distil": "distillation",
    "reinforce_plus_plus": "REINFORCE++",
}
"""Display names of methods; others are shown in capitals."""
SAMPLES = 20
TEXTS = ["prompt", "response", "completion", "text"]  # the keys of samples that hold text, in reading order
SAMPLED = {
    "samples.jsonl": "Samples during training",
    "evaluation_samples.jsonl": "Samples of the evaluation",
}


def training_page(run_folders: Sequence[Path], out: Path) -> Path:
    """Write a page with curves, settings, versions, samples and evaluations of runs; returns `out`.

    Raises UserError if a folder does not exist or is not a run folder.
    """
    runs = read_runs(run_folders)
    writable_file(out)
    names = [run.name for run in runs]
    colours = theme.series_colours(names)
    curves = curve_figures({run.name: run.metrics for run in runs}, colours, methods=methods_of(runs))
    evaluations = {run.name: run.evaluation for run in runs}
    with as_written(f"evaluation.json of {' or '.join(names)}"):
        judged = reward_model.reward_figures(evaluations, colours)
        said = {name: reward_model.sentences(name, one) for name, one in evaluations.items() if is_reward_model(one)}
        warnings = {name: [str(one) for one in found.get("warnings") or []] for name, found in evaluations.items()}
    with as_written(f"{WATCH} of {' or '.join(names)}"):
        for run in runs:
            warnings[run.name] += [str(one["sentence"]) for one in run.watch.get("warnings", [])]
    settings = comparison([flatten(run.config) for run in runs])
    return write_page(
        "runs.html.j2",
        out,
        [*judged, *curves],
        title=f"Training of {', '.join(names)}",
        names=names,
        swatches=colours,
        lengths={run.name: _steps(run) for run in runs},
        warnings=warnings,
        judged=judged,
        said=said,
        curves=curves,
        tables=[
            ("Evaluation", "Results of evaluating each run, with intervals in parentheses.", names, evaluated(runs)),
            *_split("Settings", settings, names),
            *_split("Environment", comparison([flatten(run.environment) for run in runs]), names),
        ],
        texts=TEXTS,
        samples=[(title, found) for file, title in SAMPLED.items() if (found := sampled(runs, file))],
    )


def methods_of(runs: Sequence[RunFiles]) -> dict[str, str]:
    """The display name of each run's method, the class for one from outside Burnish; "" if none is named."""
    names = {run.name: str(run.config.get("algorithm") or "") for run in runs}
    return {
        run: name.partition(":")[2] if ":" in name else METHODS.get(name, name.upper()) for run, name in names.items()
    }


def curve_figures(
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    colours: Colours,
    keys: Sequence[str] = (),
    place: str = "curve",
    heading: str = "",
    methods: Mapping[str, str] | None = None,
) -> list[Figure]:
    """One figure per metric that any of the runs has; `keys` selects metrics, `heading` is prepended to each title.

    If the runs' `methods` differ, a metric that is not comparable between methods, such as the loss, has one figure per
    method.
    """
    found = []
    for key, title, number, noisy in METRICS:
        if keys and key not in keys:
            continue
        groups = by_method(list(records), methods or {}) if key in METHOD_SPECIFIC else {"": list(records)}
        for method, names in groups.items():
            table = series({name: comparable(records[name]) for name in names}, key, smooth=noisy)
            if table.empty or (key in SETTINGS and table.value.nunique() == 1):
                continue
            whole = f"{heading}{title}, {method}" if method else heading + title
            spoken = f"{whole} over training steps: {_last_values(table)}."
            chart = curves(table, colours, whole, spoken, number=number)
            found.append(figure(_slug(place, key, method), chart))
    return found


def comparable(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records without held-out losses that are not comparable with the training loss.

    The held-out loss of a policy that learns from a reward is the negative of its objective or score, which have
    figures of their own.
    """
    other = "eval_objective/scores"
    return [{key: item for key, item in line.items() if key != "eval_loss" or other not in line} for line in lines]


def by_method(names: Sequence[str], methods: Mapping[str, str]) -> dict[str, list[str]]:
    """The runs of each method, in order of first appearance; all under "" if there is only one method."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(methods.get(name, ""), []).append(name)
    return groups if len(groups) > 1 else {"": list(names)}


def comparison(columns: Sequence[dict[str, Any]], mark: bool = True) -> list[dict[str, Any]]:
    """Table rows `{"key", "values", "differs"}` over the keys of all columns.

    Rows that differ come first, then equal ones; of both, rows that some column lacks come last. `mark=False` is for
    numbers that are expected to differ: no row is marked, and all keep their order.
    """
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = []
    for key in keys:
        values = [column.get(key) for column in columns]
        rows.append({"key": key, "values": values, "differs": mark and any(value != values[0] for value in values[1:])})
    lacking = {key for key in keys if any(key not in column for column in columns)}
    return sorted(rows, key=lambda row: (not row["differs"], row["key"] in lacking)) if mark else rows


def evaluated(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """Rows of the evaluation table, without the values that are drawn as figures."""
    flat = [flatten(run.evaluation) for run in runs]
    kept = [{key: item for key, item in found.items() if key not in reward_model.DRAWN} for found in flat]
    return comparison(kept, mark=False)


def sampled(runs: Sequence[RunFiles], file: str) -> dict[str, list[dict[str, Any]]]:
    """Samples of each run from `file`: the last ones of training or the first ones of an evaluation."""
    found = {}
    for run in runs:
        if file == "samples.jsonl":
            lines = run.samples[-SAMPLES:]
        else:
            path = run.folder / file
            lines = read_jsonl(path)[:SAMPLES] if path.is_file() else []
        if lines:
            found[run.name] = [
                line | {"prompt": spoken(line["prompt"])} if "prompt" in line else line for line in lines
            ]
    return found


def spoken(prompt: Any) -> str:
    """A prompt as text; messages have one line each, starting with the role."""
    if not isinstance(prompt, list):
        return str(prompt)
    messages = [one if isinstance(one, Mapping) else {"content": one} for one in prompt]
    return "".join(f"{one.get('role', '')}: {one.get('content', '')}\n" for one in messages)


def _split(
    heading: str, rows: list[dict[str, Any]], names: list[str]
) -> Iterator[tuple[str, str, list[str], list[dict[str, Any]]]]:
    """A table of rows that differ, with a column per run, and a table of rows that all runs share."""
    if len(names) == 1:
        caption = {"Settings": "The resolved configuration."}.get(heading, "Versions, seed and data of the run.")
        yield heading, caption, names, rows
        return
    differ, same = [row for row in rows if row["differs"]], [row for row in rows if not row["differs"]]
    yield f"{heading}: differences", "", names, differ
    yield f"{heading}: shared by all runs", "", names[:1], [row | {"values": row["values"][:1]} for row in same]


def _slug(place: str, key: str, method: str) -> str:
    """A figure id of lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", f"{place}-{key}-{method}".lower()).strip("-")


def _steps(run: RunFiles) -> int:
    return max((int(record["step"]) for record in run.metrics if "step" in record), default=len(run.metrics))


def _last_values(table: pd.DataFrame) -> str:
    last = table.groupby(["run", "kind"], sort=False).tail(1)
    return ", ".join(f"{row.run} ends at {row.smooth:.3g} ({row.kind})" for row in last.itertuples())
