"""The schema of the demo's `summary.json`, and its validation.

An *interval* is `{"mean", "low", "high"}`, 95 % unless the notes say otherwise. Keys marked * are required; a section
of the page whose numbers are missing or null is left out.

    title*            the page's heading
    models*           a list, in the order of training, beginning with the starting model:
        name*             display name: "base", "SFT", "DPO", "best of 16"
        gold*             interval: mean gold score of its continuations, in the raters' points (−4…4)
        gold_vs_sft       interval: paired difference of gold scores to the baseline; null for the baseline itself
        win_rate          interval: fraction of prefixes where its text scores higher, ties half; null for the baseline
        kl                interval: KL of whole sequences to the baseline, in nats
        kl_is_bound       true if `kl` is a known upper bound without an interval, log n − (n − 1)/n for the best of
                          n; otherwise false
        proxy             interval: the reward model's score of the same continuations; null without a reward model
        length            {"mean"}: words per continuation
        distinct_2        distinct bigrams / all bigrams
        eos_rate          fraction of continuations that end with EOS
        distinct_2_nearby, repetition, same, entropy    see `burnish.evaluation.collapse`; entropy null if unknown
        gold_values       the gold score of every continuation
    warnings          sentences: which model may have collapsed, and why
    baseline          the name of the model that the others are compared with; default "SFT"
    prefixes          number of held-out prefixes; default: the length of `gold_values`
    runs              number of seeded repetitions; default 1
    accuracy          interval + "n": held-out accuracy of DPO's implicit reward
    reward_accuracy   interval + "n": held-out accuracy of the reward model
    ceiling           interval (+ "n"): agreement of a single rater with the mean of the others
    gold_quality      {"correlation", "low", "high"} of the judge with the mean ratings of held-out reviews
    climb             [{"run", "step", "proxy", "gold", "kl"}]: for each of PPO's rollouts the number of updates before
                      it, and intervals of its texts' reward-model score, gold score and KL to the baseline
    training          {"SFT": records or path, "DPO": …, "reward model": …, "PPO": …, "DPO on samples": …}: lines of
                      metrics.jsonl (`step`, `loss`, `eval_loss`, …; `run` separates repetitions), or the path of
                      the file, relative to the folder of the page
    samples           [{"prefix", NAME: text (with or without the prefix in front), "gold": {NAME: score}}]
    command, seconds, peak_memory_mb, stages [{"name", "seconds"}], data {…}, versions {…}, notes [sentences]
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.report.runs import Record
from burnish.run import UserError, read_jsonl

OPTIONAL = [
    *("baseline", "prefixes", "runs", "accuracy", "reward_accuracy", "ceiling", "gold_quality", "climb"),
    *("training", "samples", "warnings"),
    *("command", "seconds", "peak_memory_mb", "stages", "data", "versions", "notes"),
]
MODEL_KEYS = [
    "gold_vs_sft",
    "win_rate",
    "kl",
    "kl_is_bound",
    "proxy",
    "length",
    "distinct_2",
    "eos_rate",
    "distinct_2_nearby",
    "repetition",
    "same",
    "entropy",
    "gold_values",
]
_INTERVALS = ("gold", "gold_vs_sft", "win_rate", "kl", "proxy")


def complete(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with missing optional keys set to None; `baseline` and `runs` get their defaults.

    Raises UserError naming the first key that is missing or invalid.
    """
    _check(summary)
    models = [dict.fromkeys(MODEL_KEYS) | dict(model) for model in summary["models"]]
    filled = dict.fromkeys(OPTIONAL) | dict(summary) | {"models": models}
    filled["baseline"] = filled["baseline"] or "SFT"
    filled["runs"] = filled["runs"] or 1
    return filled


def _check(summary: Mapping[str, Any]) -> None:
    for key in ("title", "models"):
        if not summary.get(key):
            raise UserError(f"The summary has no `{key}`: see burnish.report.language.summary for the schema.")
    for i, model in enumerate(summary["models"]):
        for key in ("name", "gold"):
            if not model.get(key):
                raise UserError(
                    f"Model {i + 1} of the summary has no `{key}`: every model needs a name and a gold score."
                )
        for key in _INTERVALS:
            _check_interval(model.get(key), f"{key}` of model `{model['name']}")
    names = [model["name"] for model in summary["models"]]
    if len(set(names)) < len(names):
        raise UserError(f"Two models of the summary share a name ({', '.join(names)}): give each one its own.")
    for key in ("accuracy", "reward_accuracy", "ceiling"):
        _check_interval(summary.get(key), key)
    for i, rollout in enumerate(summary.get("climb") or []):
        if not isinstance(rollout.get("step"), int):
            raise UserError(f"Record {i + 1} of `climb` in the summary has no `step`: give the updates before it.")
        for key in ("proxy", "gold", "kl"):
            _check_interval(rollout.get(key), f"{key}` of record {i + 1} of `climb")


def _check_interval(interval: Any, key: str) -> None:
    if interval is None:
        return
    numbers = [interval.get(end) for end in ("mean", "low", "high")] if isinstance(interval, Mapping) else [None]
    if not all(isinstance(n, int | float) and n == n for n in numbers):
        raise UserError(f"`{key}` in the summary is not an interval: it needs the numbers mean, low and high.")


def training_records(summary: Mapping[str, Any], folder: Path) -> dict[str, list[Record]]:
    """The training records by model name, read from files if they are paths; names take the models' spelling."""
    spelling = {model["name"].lower(): model["name"] for model in summary["models"]}
    return {
        spelling.get(name.lower(), name): read_jsonl(folder / found) if isinstance(found, str | Path) else list(found)
        for name, found in (summary.get("training") or {}).items()
    }
