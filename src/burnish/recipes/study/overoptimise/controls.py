"""Trainings of the monitor's own, beside the study's PPO: on the gold score itself, and DPO on and off its samples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from burnish.algorithms.table import load
from burnish.config import build
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.study.cell import SHARED, Found
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.measure import DivergedError, Ruler, rounded
from burnish.recipes.study.overoptimise.plan import DPO, GOLD, PPO, Plan, control_options, controls_of
from burnish.recipes.study.overoptimise.proxies import agreements, labels_of, relabelled, reward_of
from burnish.recipes.study.start import START, ruler_of, write_rows
from burnish.recipes.study.watch import Watch, watched
from burnish.rewards.builtin import TextReward


def controlled(seed: int, method: str, labels: int | None, plan: Plan, out: Path, work: Path) -> Found:
    """Train for the monitor, measured before it and as it goes.

    What a method with a reward learns from is the proxy of so many `labels`, or the gold score where there is none. DPO
    learns from pairs of the start that the proxy has labelled, and each of its points has as `own` the margins of the
    held-out pairs with the proxy's labels.
    """
    options = SHARED | control_options(plan, method, controls_of(plan)[method, labels], seed)
    options |= {"out": str(work / "run"), "model": str(out / START / "model")}
    options["data"] = str(out / START / "prompts.jsonl")
    scorer = None if labels is None else load_scorer(reward_of(seed, labels, out), "cpu")
    ruler = ruler_of(plan, seed, out, scorer, texts=True)
    if labels is None:
        options["reward"] = TextReward("gold", study_judge().score)
    elif method != DPO:
        options["reward"] = str(reward_of(seed, labels, out))
    else:
        data = work / "labels.jsonl"
        write_rows(data, relabelled(scorer, labels_of(seed, max(plan.labels), plan, out), plan.max_length))
        options["data"] = str(data)
    found = begun_and_watched(ruler, plan, 0 if method == DPO else plan.rollout, method, options)
    if method == DPO:
        agrees, _ = agreements(scorer, ruler.pairs, plan.max_length)
        found["points"] = [one | {"own": owned(one["margins"], agrees)} for one in found["points"]]
    return found


def begun_and_watched(ruler: Ruler, plan: Plan, each: int, method: str, options: Found) -> Found:
    """Train with a method, whose rollouts have `each` completions, measured before it and as it goes. Where it
    diverges, what was measured is kept."""
    try:
        first = {"step": 0} | ruler.measured(ruler.start)
    except DivergedError:
        return {"points": [], "diverged": 0}
    algorithm = load(PPO if method == GOLD else method)
    return watched(Watch(ruler, plan.eval_every, each, [first]), *build(algorithm, options))


def owned(margins: Sequence[float], agrees: Float[np.ndarray, "N"]) -> list[float]:
    """The margins of pairs with a proxy's labels: of a pair that it orders otherwise it has the other sign, and of a
    tie it is 0."""
    return rounded(np.array(margins) * (2 * agrees - 1))
