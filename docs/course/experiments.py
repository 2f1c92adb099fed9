"""The experiments of the course's pages on language.

    .venv/bin/python docs/course/experiments.py sft --out runs/course/7

trains, measures, and writes `summary.json` and `figure.svg` into --out. An experiment begins with what those before it
left beside that folder: `7` has the model that imitates reviews, `8` the reward model.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from charts import lines
from measures import (
    PPO,
    REWARD,
    Job,
    Likelihoods,
    Orders,
    Point,
    Result,
    comparisons,
    described,
    gain,
    mean,
    without_texts,
)

from burnish.data import builtin
from burnish.evaluation.reward_models import score_texts
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.assets import resolve_model
from burnish.recipes.study.best import best_point
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.labels import feedback
from burnish.recipes.study.measure import completions_of, parts_of
from burnish.report import theme
from burnish.report.figures import save_figure, trade_off
from burnish.run import UserError, read_jsonl

DPO = {"batch_size": 16, "steps": 48, "learning_rate": 2e-4}
"""Of all trainings on comparisons but the last page's."""

ROLLOUTS = {"batch_size": 32, "rollout": 64, "update_epochs": 2, "learning_rate": 2e-4, "steps": 40}
"""Of PPO: four updates of each rollout."""


def sft(job: Job) -> Result:
    """Imitate film reviews, and measure how likely held-out reviews, and tweets, are on the way."""
    reviews = list(builtin.demonstrations("validation")["text"])[: job.few(192)]
    tweets = [one.text for one in builtin.split("tweets", "validation")][: job.few(192)]
    ruler = Likelihoods({"reviews": reviews, "tweets": tweets})
    before = load_policy(resolve_model("builtin"))
    points = [{"step": 0} | ruler.measured(before)]
    imitation = {"model": "builtin", "batch_size": 32, "learning_rate": 1e-4}
    points += job.trained("sft", "sft", ruler, every=12, steps=48, **imitation)
    models = {"before": before, "after": load_policy(job.out / "sft" / "model")}
    prompts = list(builtin.prefixes("held_out", 4)["prompt"])
    wrote = {name: lines_of(completions_of(model, prompts, 1, 0, 48, 128).texts) for name, model in models.items()}
    rows = [
        {"name": kind, "x": one["step"], "y": one[kind] - points[0][kind]} for kind in ruler.texts for one in points
    ]
    chart = lines(rows, "updates", "nats per token, less before", "How likely held-out reviews and tweets are")
    numbers = [{kind: one[kind] for kind in ruler.texts} for one in (points[0], points[-1])]
    return Result(dict(zip(models, numbers, strict=True)), chart, points, wrote)


def reward(job: Job) -> Result:
    """Learn a reward model from people's comparisons, and count which held-out ones it orders as people did."""
    ruler = Orders(comparisons("held_out", job.few(650)))
    pairs = job.rows("pairs", comparisons("train", job.few(1920)))
    learning = {"data": pairs, "batch_size": 32, "learning_rate": 3e-4}
    points = job.trained("reward", "reward", ruler, every=20, steps=60, **learning)
    rows = [{"name": "reward model", "x": 32 * one["step"]} | ends(one["right"]) for one in points]
    people = builtin.human_ceiling("held_out")
    chart = lines(
        rows,
        "comparisons seen",
        "accuracy on held-out comparisons",
        "Accuracy of the reward model against the comparisons that it has seen",
        (people.agreement, "one rater against the others"),
    )
    numbers = {f"after_{one['step']}": mean(one["right"], "accuracy") for one in points}
    numbers["last"] = mean(points[-1]["right"], "accuracy")
    numbers["people"] = {"accuracy": people.agreement, "accuracy_low": people.low, "accuracy_high": people.high}
    return Result(numbers, chart, points)


def rlhf(job: Job) -> Result:
    """PPO on the reward model, with a penalty on the KL divergence from the start."""
    proxy = job.earlier(REWARD) / "model"
    ruler = job.ruler(32, proxy)
    points = [{"step": 0} | ruler.measured(ruler.start)]
    points += job.trained("ppo", "ppo", ruler, every=10, data=job.prompts(), reward=proxy, beta=0.1, **ROLLOUTS)
    rows = []
    for label, key in (("reward model", "proxy"), ("gold judge", "gold")):
        for one in points:
            rows.append({"name": label, "x": one["step"]} | ends(gain(one, points[0], key)))
    chart = lines(rows, "updates", "mean score, less the start's", "The reward model's and the gold judge's scores")
    return result({"start": points[0], "ppo": points[-1]}, chart, points)


def dpo(job: Job) -> Result:
    """DPO on people's comparisons, and how likely the held-out ones' responses become."""
    pairs = job.rows("pairs", comparisons("train", job.few(768)))
    ruler = job.ruler(192)
    points = [{"step": 0} | ruler.measured(ruler.start)]
    points += job.trained("dpo", "dpo", ruler, every=12, data=pairs, beta=0.1, **DPO)
    rows = [
        {"name": side, "x": one["step"], "y": one[side] - points[0][side]}
        for side in ("chosen", "rejected")
        for one in points
    ]
    chart = lines(rows, "updates", "log-probability, less the start's (nats)", "Log-probabilities of held-out pairs")
    return result({"start": points[0], "dpo": points[-1]}, chart, points)


def frontier(job: Job) -> Result:
    """Gold score against KL: DPO at several β, PPO of page 9, and the best of n by the reward model."""
    pairs, ruler = job.earlier("10/pairs.jsonl"), job.ruler(32)
    start = {"step": 0} | ruler.measured(ruler.start)
    found = {"start": start, "PPO": job.points_of(PPO)[-1], "DPO β 0.1": job.points_of("10")[-1]}
    for beta in (0.02, 0.5):
        learning = DPO | {"data": pairs, "every": DPO["steps"], "beta": beta}
        found[f"DPO β {beta:g}"] = job.trained("dpo", f"dpo-{beta:g}", ruler, **learning)[-1]
    pool = job.few(8)
    drawn = completions_of(ruler.start, ruler.prompts, pool, 1, ruler.max_new_tokens, ruler.max_length)
    scorer = load_scorer(job.earlier(REWARD) / "model")
    proxy = score_texts(scorer, parts_of(drawn.batch)).reshape(-1, pool)
    gold = study_judge().score(drawn.texts).reshape(-1, pool)
    bests = {f"best of {n}": best_point(n, drawn, proxy, gold) for n in (2, 4, 8) if n <= pool}
    return Result(*against_kl(found, bests))


def overoptimise(job: Job) -> Result:
    """PPO without a KL penalty on a reward model of few comparisons: what it claims, and what the judge says."""
    few = job.rows("few", comparisons("train", job.few(256)))
    held = Orders(comparisons("held_out", job.few(650)))
    learning = {"batch_size": 32, "learning_rate": 3e-4, "data": few}
    trusted = job.trained("reward", "reward", held, every=16, steps=16, **learning)[-1]
    proxy = job.out / "reward" / "model"
    ruler = job.ruler(32, proxy)
    points = [{"step": 0} | ruler.measured(ruler.start)]
    points += job.trained("ppo", "ppo", ruler, every=10, data=job.prompts(), reward=proxy, beta=0.0, **ROLLOUTS)
    rows = []
    for label, key in (("reward model", "proxy"), ("gold judge", "gold")):
        for one in points:
            distance = max(0.0, float(np.mean(one["kl"]))) ** 0.5
            rows.append({"name": label, "x": distance} | ends(gain(one, points[0], key, deviations=True)))
    title = "mean score, less the start's (standard deviations)"
    chart = lines(rows, "√KL from the start", title, "The reward model's and the gold judge's scores against √KL")
    made = result({"start": points[0], "ppo": points[-1]}, chart, points)
    return Result(made.variants | {"reward": mean(trusted["right"], "accuracy")}, chart, made.points, made.texts)


def after(job: Job) -> Result:
    """DPO, IPO and KTO on the same few comparisons, over and over: how far the log-ratios of a pair go apart."""
    pairs = comparisons("train", job.few(64))
    data = {"pairs": job.rows("pairs", pairs), "feedback": job.rows("feedback", feedback(pairs))}
    ruler = job.ruler(128)
    start = {"step": 0} | ruler.measured(ruler.start)
    settings = {"DPO": {"beta": 0.1}, "IPO": {"tau": 0.1}, "KTO": {"beta": 0.1}}
    rows, found = [], {"start": start}
    for name, own in settings.items():
        folder, kind = name.lower(), "feedback" if name == "KTO" else "pairs"
        learning = {"batch_size": 32 if name == "KTO" else 16, "learning_rate": 2e-4, "data": data[kind]}
        found[name] = job.trained(folder, folder, ruler, every=40, steps=40, **learning | own)[-1]
        for one in read_jsonl(job.out / folder / "metrics.jsonl"):
            apart = (one["rewards/chosen"] - one["rewards/rejected"]) / sum(own.values())
            rows.append({"name": name, "x": one["step"], "y": apart})
    title = "Δ of the chosen less Δ of the rejected (nats)"
    chart = lines(rows, "updates", title, "Differences of log-ratios", (5.0, "IPO's target, 1/(2τ)"))
    made = result(found, chart, [])
    for name in settings:  # of the last pass
        made.variants[name] |= {"apart": float(np.mean([row["y"] for row in rows if row["name"] == name][-4:]))}
    return made


def ends(values: Sequence[float]) -> dict[str, float]:
    """A mean and its 95 % interval, as a point of a line."""
    found = mean(values, "y")
    return {"y": found["y"], "low": found["y_low"], "high": found["y_high"]}


def lines_of(texts: Sequence[str]) -> list[str]:
    """Each text as one line."""
    return [" ".join(text.split()) for text in texts]


def result(found: dict[str, Point], chart: Any, points: Sequence[Point]) -> Result:
    """The numbers of policies, the start's first, and what they wrote."""
    start = next(iter(found.values()))
    wrote = {name: lines_of(one["texts"][:4]) for name, one in found.items() if "texts" in one}
    return Result({name: described(one, start) for name, one in found.items()}, chart, without_texts(points), wrote)


def against_kl(found: dict[str, Point], bests: dict[str, Point]) -> tuple[dict[str, Any], Any]:
    """The numbers of policies and of the best of n, and the figure of gold score against KL."""
    import pandas as pd

    start = found["start"]
    numbers = {name: mean(one["gold"], "gold") | mean(one["kl"], "kl") for name, one in (found | bests).items()}
    for name, one in (found | bests).items():
        numbers[name] |= mean(gain(one, start, "gold"), "gain")
    rows = []
    for name, one in numbers.items():
        place = {"x": max(0.0, one["kl"]), "x_low": max(0.0, one["kl_low"]), "x_high": one["kl_high"]}
        place |= {"y": one["gold"], "y_low": one["gold_low"], "y_high": one["gold_high"], "bound": name in bests}
        rows.append({"name": name} | place)
    families = list(dict.fromkeys(name.split(" ")[0] for name in numbers))
    tints = theme.series_colours(families)
    colours = {name: tints[name.split(" ")[0]] for name in numbers}
    axes = "KL divergence from the start (nats per completion)", "gold score"
    return numbers, trade_off(pd.DataFrame(rows), colours, *axes, "Gold score against KL divergence")


EXPERIMENTS: dict[str, Callable[[Job], Result]] = {
    one.__name__: one for one in (sft, reward, rlhf, dpo, frontier, overoptimise, after)
}


def run(name: str, job: Job) -> None:
    """An experiment, and its files."""
    if job.out.exists():
        raise UserError(f"{job.out} exists: choose another --out, or remove it")
    found = EXPERIMENTS[name](job)
    summary = {"variants": found.variants, "texts": found.texts, "points": found.points}
    (job.out / "summary.json").write_text(json.dumps(summary, ensure_ascii=False) + "\n", encoding="utf-8")
    save_figure(found.chart, job.out / "figure")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run an experiment of the course.")
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; the others' are beside it")
    parser.add_argument("--quick", action="store_true", help="show that it works, not how well")
    options = parser.parse_args(arguments)
    try:
        run(options.name, Job(options.out, options.quick))
    except UserError as error:
        print(f"course: {error}", file=sys.stderr)
        return 1
    print(options.out / "figure.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
