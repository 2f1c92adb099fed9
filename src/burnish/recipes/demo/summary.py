"""From measurements to the numbers that the demo's page and table show."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from burnish.data import builtin
from burnish.evaluation.collapse import collapse_warnings
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.statistics import Interval, bootstrap_interval, clustered_interval, correlation, win_scores
from burnish.recipes.demo.measure import Measured
from burnish.recipes.evaluate.written import statistics_of
from burnish.rewards.gold import GoldJudge
from burnish.run import read_jsonl
from burnish.run.versions import versions

BASELINE = "SFT"
SHOWN_SAMPLES = 10
TRAINED = {"SFT": "sft", "DPO": "dpo", "reward model": "reward", "PPO": "ppo", "DPO on samples": "dpo-samples"}


def summarise(
    plan: Any, prompts: list[str], repetitions: Sequence[Any], judge: GoldJudge, folders: list[Path]
) -> dict[str, Any]:
    """The summary, as `burnish.report.language.summary` describes it.

    Intervals are 95 % bootstrap intervals over prefixes; with several seeds, over seeds and then prefixes.
    """
    names = list(repetitions[0].measured)
    models = [model_summary(name, [r.measured for r in repetitions]) for name in names]
    ceiling = builtin.human_ceiling("held_out")
    accuracy = {name: held_out_accuracy([r.margins[name] for r in repetitions]) for name in repetitions[0].margins}
    return {
        "title": "A small language model learns what people like",
        "runs": len(repetitions),
        "prefixes": len(prompts),
        "baseline": BASELINE,
        "models": models,
        "warnings": [warning for r in repetitions for warning in warnings_of(r.measured)],
        "ceiling": {"mean": ceiling.agreement, "low": ceiling.low, "high": ceiling.high, "n": ceiling.pairs},
        "accuracy": accuracy["DPO"],
        "reward_accuracy": accuracy["reward model"],
        "climb": [{"run": f.name} | turn for f, r in zip(folders, repetitions, strict=True) for turn in r.climb],
        "gold_quality": gold_quality(judge),
        "training": {name: training(folders, stage) for name, stage in TRAINED.items()},
        "samples": [sample(i, prompt, repetitions[0].measured) for i, prompt in enumerate(prompts[:SHOWN_SAMPLES])],
        "data": data_counts(plan),
        "versions": versions("burnish", "torch", "transformers") | {"python": platform.python_version()},
    }


def model_summary(name: str, measured: list[dict[str, Measured]]) -> dict[str, Any]:
    """One model over all repetitions, beside the baseline on the same prefixes."""
    own, baseline = [m[name] for m in measured], [m[BASELINE] for m in measured]
    gold, other = np.stack([m.gold for m in own]), np.stack([m.gold for m in baseline])
    proxy = [m.proxy for m in own if m.proxy is not None]
    compared = name != BASELINE
    texts = [statistics_of(m) for m in own]
    entropies = [one.entropy for one in texts if one.entropy is not None]
    return {
        "name": name,
        "gold": interval(gold).as_dict(),
        "gold_vs_sft": interval(gold - other).as_dict() if compared else None,
        "win_rate": interval(win_scores(gold, other)).as_dict() if compared else None,
        "kl": interval(np.stack([m.kl for m in own])).as_dict(),
        "kl_is_bound": own[0].continuations.batch is None,
        "proxy": interval(np.stack(proxy)).as_dict() if proxy else None,
        "length": {"mean": float(np.mean([m.words.mean() for m in own]))},
        "distinct_2": float(np.mean([m.distinct_2 for m in own])),
        "eos_rate": float(np.mean([m.eos_rate for m in own])),
        "distinct_2_nearby": float(np.mean([one.distinct_2_nearby for one in texts])),
        "repetition": float(np.mean([one.repetition for one in texts])),
        "same": float(np.mean([one.same for one in texts])),
        "entropy": float(np.mean(entropies)) if entropies else None,
        "gold_values": [round(float(score), 3) for score in gold.ravel()],
    }


def warnings_of(measured: dict[str, Measured]) -> list[str]:
    """What looks like collapse in one repetition; models that were trained from the baseline are held against it."""
    names = list(measured)
    trained = names[names.index(BASELINE) + 1 :] if BASELINE in names else []
    start = statistics_of(measured[BASELINE]) if trained else None
    found = {name: statistics_of(one) for name, one in measured.items()}
    pairs = [(name, one, start if name in trained else None) for name, one in found.items()]
    return [line for name, one, before in pairs for line in collapse_warnings(one, before, name, BASELINE)]


def held_out_accuracy(margins: list[np.ndarray]) -> dict[str, float]:
    """The share of held-out comparisons whose order the margins have right."""
    scores = np.stack([accuracy_scores(values) for values in margins])
    return interval(scores).as_dict() | {"n": scores.shape[1]}


def interval(values: np.ndarray) -> Interval:
    """Of `values[runs, items]`: over items where there is one run, else over runs, then items."""
    return bootstrap_interval(values[0]) if len(values) == 1 else clustered_interval(values)


def gold_quality(judge: GoldJudge) -> dict[str, float]:
    """The judge's correlation with people's means on held-out reviews."""
    snippets = builtin.split("film", "held_out")
    found = correlation(judge.score([s.text for s in snippets]), [s.mean for s in snippets])
    return {"correlation": found.mean, "low": found.low, "high": found.high}


def training(folders: list[Path], stage: str) -> list[dict[str, Any]]:
    """The training records of a stage, each with the seed that it belongs to."""
    return [
        {"run": folder.name} | record for folder in folders for record in read_jsonl(folder / stage / "metrics.jsonl")
    ]


def sample(index: int, prompt: str, measured: dict[str, Measured]) -> dict[str, Any]:
    """One prefix with every model's continuation and its score."""
    texts: dict[str, Any] = {name: m.continuations.texts[index] for name, m in measured.items()}
    return {"prefix": prompt} | texts | {"gold": {name: float(m.gold[index]) for name, m in measured.items()}}


def data_counts(plan: Any) -> dict[str, Any]:
    """How much data went where, and the plan."""
    return {
        "demonstrations": len(builtin.demonstrations("train")),
        "comparisons": len(builtin.comparisons("train")),
        "held-out comparisons": len(builtin.comparisons("held_out")),
        "plan": asdict(plan),
    }


def to_json(summary: dict[str, Any]) -> str:
    return json.dumps(summary, indent=1, ensure_ascii=False) + "\n"


def print_table(summary: dict[str, Any]) -> None:
    """The summary's table in a terminal of 80 columns: the page has the other intervals."""
    table = Table(
        title=f"{summary['prefixes']} held-out prefixes, 95 % intervals",
        box=box.SIMPLE_HEAD,
        padding=0,  # the box has a space between columns
        pad_edge=False,
        show_edge=False,
    )
    titles = ("model", "gold", f"gold − {BASELINE}", "wins, %", "reward", f"KL to {BASELINE}", "words", "dist-2")
    for column in titles:
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for m in summary["models"]:
        kl = ".1f" if m["kl"]["high"] < 100 else ".0f"
        table.add_row(
            m["name"],
            f"{m['gold']['mean']:.2f}",
            shown(m["gold_vs_sft"], "\n", "+.2f"),
            shown(percent(m["win_rate"]), "\n", ".0f"),
            f"{m['proxy']['mean']:.2f}" if m["proxy"] else "—",
            f"≤ {m['kl']['mean']:{kl}}" if m["kl_is_bound"] else shown(m["kl"], "\n", kl),
            f"{m['length']['mean']:.1f}",
            f"{m['distinct_2']:.2f}",
        )
    console = Console()
    console.print(table)
    accuracy, ceiling, quality = summary["accuracy"], summary["ceiling"], summary["gold_quality"]
    console.print(
        f"Of {accuracy['n']} held-out human comparisons DPO has {shown(accuracy, ' ', '.1%')} right, the reward model "
        f"{shown(summary['reward_accuracy'], ' ', '.1%')}; one rater agrees with the others on "
        f"{shown(ceiling, ' ', '.1%')}.\n"
        f"The gold judge's correlation with people: {quality['correlation']:.2f} "
        f"[{quality['low']:.2f}, {quality['high']:.2f}]. "
        f"{summary['seconds']:.0f} s, peak memory {summary['peak_memory_mb']:,} MB.",
        highlight=False,
    )
    for warning in summary.get("warnings") or []:
        console.print(f"warning: {warning}", style="bold red", highlight=False, markup=False)


def percent(interval: dict[str, float] | None) -> dict[str, float] | None:
    return interval and {key: 100 * interval[key] for key in ("mean", "low", "high")}


def shown(interval: dict[str, float] | None, between: str, form: str = ".2f") -> str:
    """An interval as text, `between` its mean and its ends."""
    if interval is None:
        return "—"
    mean, low, high = (format(interval[key], form) for key in ("mean", "low", "high"))
    return f"{mean}{between}[{low}, {high}]"
