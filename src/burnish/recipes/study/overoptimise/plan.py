"""What the study of over-optimisation compares, and its sizes."""

import math
from dataclasses import dataclass, replace
from typing import Any

PPO, BEST, MONITOR = "ppo", "best_of_n", "monitor"
METHODS = {BEST: "Best of n", PPO: "PPO"}
GOLD, DPO, ONLINE = "ppo_gold", "dpo", "online_dpo"
CONTROLS = {GOLD: "PPO on the gold score", ONLINE: "Online DPO", DPO: "DPO"}
"""Trainings that are run for the monitor alone."""


@dataclass(frozen=True)
class Plan:
    """Sizes of the study.

    SFT of `model` for `sft_steps` updates gives the start, which completes each of `prefixes` prefixes `completions`
    times; its first and second completion are a pair, its third and fourth, and so on. They are labelled with the gold
    judge's scores divided by `scale`. A proxy is a reward model after `epochs` passes over one of the numbers of
    `labels`. It is optimised by the best of n for the `sizes`, and by `steps` updates of PPO on `texts` texts from
    rollouts of `rollout` completions, with a KL penalty of `beta`. Both are measured on `held_out` prefixes, PPO every
    `eval_every` updates.

    For the monitor there is also, per seed, PPO on the gold score itself, as long as the others; and `control_steps`
    updates of DPO and of online DPO, each with β `loose` on the proxy of the fewest labels, and with β `strict` on that
    of the most.
    """

    labels: tuple[int, ...] = (250, 1000, 4000)
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    seeds: int = 3
    model: str = "builtin"
    sft_steps: int = 100
    prefixes: int = 2048
    completions: int = 8
    scale: float = 0.5
    epochs: int = 3
    reward_rate: float = 3e-4
    steps: int = 192
    texts: int = 64
    rollout: int = 128
    beta: float = 0.0
    control_steps: int = 96
    loose: float = 0.01
    strict: float = 1.0
    learning_rate: float = 1e-4
    warmup: float = 0.1
    eval_every: int = 12
    held_out: int = 128
    held_pairs: int = 96
    shown: int = 3
    max_new_tokens: int = 48
    max_length: int = 128


FULL = Plan()
QUICK = replace(
    FULL,
    labels=(16, 48),
    sizes=(1, 2, 4),
    seeds=2,
    sft_steps=4,
    prefixes=160,
    completions=4,
    epochs=1,
    steps=4,
    control_steps=4,
    texts=16,
    rollout=32,
    learning_rate=3e-4,
    eval_every=2,
    held_out=24,
    held_pairs=12,
    max_new_tokens=24,
)
"""Shows that everything works, not how well."""

FIXED = {"update_epochs": 2, "keep_samples": 0, "save_every": 0}
"""What all of PPO's trainings have in common, beside what the plan says."""

KEPT = ("texts", "tokens", "margins")
"""What is kept of each measurement of a training, so that the monitor can be applied to it."""


def plan_for(quick: bool, seeds: int | None) -> Plan:
    """The plan of these flags, with so many seeds."""
    plan = QUICK if quick else FULL
    return plan if seeds is None else replace(plan, seeds=seeds)


def reward_steps(plan: Plan, labels: int) -> int:
    """The updates of a reward model: whole passes over its labels."""
    return plan.epochs * math.ceil(labels / (plan.texts // 2))


def options_of(plan: Plan, seed: int) -> dict[str, Any]:
    """The options of PPO's training but its data, its reward, its model and its run folder."""
    return {
        "seed": seed,
        "steps": plan.steps,
        "batch_size": plan.texts,
        "rollout": plan.rollout,
        "beta": plan.beta,
        "learning_rate": plan.learning_rate,
        "warmup": plan.warmup,
        "max_new_tokens": plan.max_new_tokens,
        "max_length": plan.max_length,
    } | FIXED


def controls_of(plan: Plan) -> dict[tuple[str, int | None], float]:
    """By method and its proxy's number of labels, None for the gold score itself, the β of each training that is run
    for the monitor."""
    betas = ((min(plan.labels), plan.loose), (max(plan.labels), plan.strict))
    found: dict[tuple[str, int | None], float] = {(GOLD, None): plan.beta}
    return found | {(method, labels): beta for method in (ONLINE, DPO) for labels, beta in betas}


def control_options(plan: Plan, method: str, beta: float, seed: int) -> dict[str, Any]:
    """The options of such a training but its data, its reward, its model and its run folder. A pair of DPO is two
    texts."""
    options = options_of(plan, seed)
    if method == GOLD:
        return options
    kept = ("seed", "learning_rate", "warmup", "max_length", "save_every")
    options = {key: options[key] for key in kept} | {"steps": plan.control_steps, "batch_size": plan.texts // 2}
    if method == ONLINE:
        options |= {"max_new_tokens": plan.max_new_tokens, "rollout": plan.rollout // 2, "keep_samples": 0}
        options |= {"completions_per_prompt": 2}
    return options | {"beta": beta}
