"""The page of one or several runs: `burnish report RUN…`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import theme
from burnish.report.figures import Colours
from burnish.report.language import reward_model
from burnish.report.language.curves import curves
from burnish.report.page import Figure, figure, write_page
from burnish.report.runs import RunFiles, read_runs, series
from burnish.report.wording import flatten
from burnish.run import read_jsonl

# key in metrics.jsonl, what a reader calls it, number format, whether it is noisy enough for a running mean
METRICS: list[tuple[str, str, str, bool]] = [
    ("loss", "Loss", ".4~g", True),
    ("objective/scores", "Score by the reward", ".3~g", True),
    ("objective/kl", "KL to the reference, nats a completion", ".3~g", True),
    ("objective/rlhf_reward", "Objective: score minus the price of KL", ".3~g", True),
    ("objective/kl_coef", "Price of KL: β", ".3~g", False),
    ("objective/scores_margin", "Score of the chosen less that of the rejected", ".3~g", True),
    ("objective/ties", "Share of pairs that are ties", ".0%", True),
    ("objective/best_scores", "Score of the best of a prompt's completions", ".3~g", True),
    ("objective/length", "Length of completions, tokens", ".3~g", True),
    ("policy/entropy_avg", "Entropy of the policy, nats a token", ".3~g", True),
    ("policy/approxkl_avg", "KL to the sampling policy, nats a token", ".2~e", True),
    ("policy/clipfrac_avg", "Share of tokens that were clipped", ".1%", True),
    ("loss/policy_avg", "Loss of the policy", ".3~g", True),
    ("loss/value_avg", "Loss of the critic", ".3~g", True),
    ("accuracy", "Pairs ordered as people did, by score", ".0%", True),
    ("margin", "Score margin, chosen over rejected", ".3~g", True),
    ("mean_reward", "Mean score of a pair", ".3~g", True),
    ("rewards/accuracies", "Pairs ordered as people did", ".0%", True),
    ("rewards/margins", "Reward margin, chosen over rejected", ".3~g", True),
    ("rewards/chosen", "Reward of the chosen", ".3~g", True),
    ("rewards/rejected", "Reward of the rejected", ".3~g", True),
    ("logps/chosen", "Log-probability of the chosen", ".4~g", True),
    ("logps/rejected", "Log-probability of the rejected", ".4~g", True),
    ("perplexity", "Perplexity", ".4~g", True),
    ("kl", "KL to the reference", ".3~g", True),
    ("entropy", "Entropy", ".3~g", True),
    ("scores", "Score", ".3~g", True),
    ("returns", "Return", ".4~g", True),
    ("grad_norm", "Gradient norm, unclipped", ".3~g", True),
    ("learning_rate", "Learning rate", ".2~e", False),
]
OF_A_METHOD = ("loss", "grad_norm")
"""Metrics that mean something else in every method, and so share no axis between methods."""
SETTINGS = ("objective/kl_coef",)
"""Metrics that are worth a figure only where they move."""
METHODS = {"reward": "reward model", "online_dpo": "online DPO", "rejection": "rejection sampling"}
"""What a reader calls a method whose name in capitals says too little."""
SAMPLES = 20
TEXTS = ["prompt", "response", "completion", "text"]  # the keys of samples that hold text, in reading order
SAMPLED = {
    "samples.jsonl": "Samples while training",
    "evaluation_samples.jsonl": "Samples of the evaluation",
}


def training_page(run_folders: Sequence[Path], out: Path) -> Path:
    """What reward models are worth, curves, settings, versions, samples and evaluation of runs on one page; `out`.

    Raises UserError for a folder that does not exist or holds no run.
    """
    runs = read_runs(run_folders)
    names = [run.name for run in runs]
    colours = theme.series_colours(names)
    curves = curve_figures({run.name: run.metrics for run in runs}, colours, methods=methods_of(runs))
    judged = reward_model.reward_figures({run.name: run.evaluation for run in runs}, colours)
    scorers = [run for run in runs if reward_model.is_reward_model(run.evaluation)]
    settings = comparison([flatten(run.config) for run in runs])
    return write_page(
        "runs.html.j2",
        out,
        [*judged, *curves],
        title=f"Training of {', '.join(names)}",
        names=names,
        swatches=colours,
        lengths={run.name: _steps(run) for run in runs},
        warnings={run.name: run.evaluation.get("warnings") or [] for run in runs},
        judged=judged,
        said={run.name: reward_model.sentences(run.name, run.evaluation) for run in scorers},
        curves=curves,
        tables=[
            ("Evaluation", "What the evaluation of each run found; ranges are its intervals.", names, evaluated(runs)),
            *_split("Settings", settings, names),
            *_split("Environment", comparison([flatten(run.environment) for run in runs]), names),
        ],
        texts=TEXTS,
        samples=[(title, found) for file, title in SAMPLED.items() if (found := sampled(runs, file))],
    )


def methods_of(runs: Sequence[RunFiles]) -> dict[str, str]:
    """Each run's method as a reader calls it, of one from outside Burnish the class; "" where nothing says."""
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
    """One figure for each metric that any of the runs has; `keys` chooses some of them, `heading` begins each title.

    Where `methods` tells the runs' methods and they differ, a metric that means something else in each, like the loss,
    has a figure a method.
    """
    found = []
    for key, title, number, noisy in METRICS:
        if keys and key not in keys:
            continue
        groups = by_method(list(records), methods or {}) if key in OF_A_METHOD else {"": list(records)}
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
    """Records without a held-out loss that is another quantity than the training loss: that of a policy which learns
    from a reward is the negative of its objective, or of its score, which have figures of their own."""
    other = "eval_objective/scores"
    return [{key: item for key, item in line.items() if key != "eval_loss" or other not in line} for line in lines]


def by_method(names: Sequence[str], methods: Mapping[str, str]) -> dict[str, list[str]]:
    """The runs of each method, in the order in which they first come; all under "" where there is one method."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(methods.get(name, ""), []).append(name)
    return groups if len(groups) > 1 else {"": list(names)}


def comparison(columns: Sequence[dict[str, Any]], mark: bool = True) -> list[dict[str, Any]]:
    """Rows `{"key", "values", "differs"}` over all keys of all columns: first those that all columns have and that
    differ, then those that some column lacks, then the same ones; within each as they first come.

    `mark=False` for numbers that differ as a matter of course: these keep their order."""
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = []
    for key in keys:
        values = [column.get(key) for column in columns]
        rows.append({"key": key, "values": values, "differs": mark and any(value != values[0] for value in values[1:])})
    lacking = {key for key in keys if any(key not in column for column in columns)}
    return sorted(rows, key=lambda row: (not row["differs"], row["key"] in lacking)) if mark else rows


def evaluated(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """The rows of the evaluations' table; what is drawn instead is left out."""
    flat = [flatten(run.evaluation) for run in runs]
    kept = [{key: item for key, item in found.items() if key not in reward_model.DRAWN} for found in flat]
    return comparison(kept, mark=False)


def sampled(runs: Sequence[RunFiles], file: str) -> dict[str, list[dict[str, Any]]]:
    """The last samples of a file of each run while training, the first of an evaluation, prompts as text."""
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
    """A prompt as text: of messages a paragraph each, with who speaks."""
    if not isinstance(prompt, list):
        return str(prompt)
    messages = [one if isinstance(one, Mapping) else {"content": one} for one in prompt]
    return "".join(f"{one.get('role', '')}: {one.get('content', '')}\n" for one in messages)


def _split(
    heading: str, rows: list[dict[str, Any]], names: list[str]
) -> Iterator[tuple[str, str, list[str], list[dict[str, Any]]]]:
    """A table of what differs between the runs, with a column each, and one of what they share, with one column."""
    if len(names) == 1:
        caption = {"Settings": "The resolved configuration."}.get(heading, "Versions, seed and data of the run.")
        yield heading, caption, names, rows
        return
    differ, same = [row for row in rows if row["differs"]], [row for row in rows if not row["differs"]]
    yield f"{heading} that differ", "", names, differ
    yield f"{heading} that all runs share", "", names[:1], [row | {"values": row["values"][:1]} for row in same]


def _slug(place: str, key: str, method: str) -> str:
    """The id of a figure: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", f"{place}-{key}-{method}".lower()).strip("-")


def _steps(run: RunFiles) -> int:
    return max((int(record["step"]) for record in run.metrics if "step" in record), default=len(run.metrics))


def _last_values(table: pd.DataFrame) -> str:
    last = table.groupby(["run", "kind"], sort=False).tail(1)
    return ", ".join(f"{row.run} ends at {row.smooth:.3g} ({row.kind})" for row in last.itertuples())
