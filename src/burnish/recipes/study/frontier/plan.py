"""What the study of the frontier compares: its methods, their grids, and its sizes."""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Method:
    """An algorithm with what differs from its defaults, and the option `key` that its grid is over.

    `feed` says what it learns from: the labelled "pairs", both responses of each as "feedback", the "chosen" ones
    alone, its own completions scored by a "reward" model or by the "gold" judge; or nothing, a "pool" of samples.
    """

    label: str
    algorithm: str
    feed: str
    key: str
    options: dict[str, Any] = field(default_factory=dict)


METHODS = {
    "dpo": Method("DPO", "dpo", "pairs", "beta"),
    "ipo": Method("IPO", "ipo", "pairs", "tau"),
    "kto": Method("KTO", "kto", "feedback", "beta"),
    "simpo": Method("SimPO", "simpo", "pairs", "beta"),
    "cdpo": Method("cDPO", "dpo", "pairs", "label_smoothing", {"beta": 0.1}),
    "ppo": Method("PPO", "ppo", "reward", "kl_target", {"beta": 0.1}),
    "ppo_gold": Method("PPO on the gold score", "ppo", "gold", "kl_target", {"beta": 0.1}),
    "rloo": Method("RLOO", "rloo", "reward", "beta"),
    "grpo": Method("GRPO", "grpo", "reward", "beta"),
    "online_dpo": Method("Online DPO", "online_dpo", "reward", "beta"),
    "best_of_n": Method("Best of n", "", "pool", "n"),
    "sft": Method("SFT on the preferred", "sft", "chosen", "learning_rate"),
}
FIXED = {"update_epochs": 2}
"""What all of PPO's trainings have in common, beside what the plan says."""

Grid = dict[str, tuple[float, ...]]
"""By method, the values of its key."""

ALL: Grid = {
    "dpo": (0.05, 0.1, 0.3, 1.0, 5.0),
    "ipo": (0.03, 0.1, 0.3),
    "kto": (0.05, 0.1, 0.5),
    "simpo": (2.0, 10.0),
    "cdpo": (0.1, 0.3),
    "ppo": (3.0, 6.0, 9.0, 12.0),
    "ppo_gold": (3.0, 9.0),
    "rloo": (0.05, 0.1),
    "grpo": (0.04, 0.2),
    "online_dpo": (0.1, 0.5),
    "best_of_n": (2, 4, 16, 64),
    "sft": (1e-4,),
}


@dataclass(frozen=True)
class Plan:
    """Sizes of the study.

    SFT of `model` for `sft_steps` updates gives the start, which completes each of `prefixes` prefixes
    `completions` times; every two completions of a prefix are a pair, labelled with the gold judge's scores divided by
    `scale`. Each method has `steps` updates of `texts` texts: of pairs half as many. Those that sample have rollouts of
    `rollout` completions, in groups of `group` where they have groups. Every `eval_every` updates the policy completes
    `held_out` prefixes once, and the log-probabilities of `held_pairs` labelled pairs are taken. Methods are compared
    at the KL divergences `levels`, in nats per completion.
    """

    grid: Grid = field(default_factory=lambda: ALL)
    seeds: int = 3
    model: str = "builtin"
    sft_steps: int = 100
    prefixes: int = 512
    completions: int = 4
    scale: float = 0.5
    reward_steps: int = 96
    reward_rate: float = 3e-4
    steps: int = 192
    texts: int = 64
    rollout: int = 128
    group: int = 4
    learning_rate: float = 1e-4
    warmup: float = 0.1
    kl_horizon: int = 256
    eval_every: int = 24
    held_out: int = 192
    held_pairs: int = 96
    max_new_tokens: int = 48
    max_length: int = 128
    levels: tuple[float, ...] = (0.5, 1.5, 3.0, 6.0)


FULL = Plan()
REDUCED = replace(
    FULL,
    grid={
        "dpo": (0.1, 1.0),
        "ipo": (0.1,),
        "kto": (0.1,),
        "ppo": (3.0, 9.0),
        "ppo_gold": (9.0,),
        "rloo": (0.05,),
        "grpo": (0.04,),
        "online_dpo": (0.1,),
        "best_of_n": (4, 16),
        "sft": (1e-4,),
    },
    steps=80,
    eval_every=16,
)
QUICK = replace(
    REDUCED,
    grid={"dpo": (0.1,), "ppo": (3.0,), "rloo": (0.05,), "best_of_n": (2, 4), "sft": (1e-4,)},
    seeds=2,
    sft_steps=4,
    prefixes=24,
    reward_steps=6,
    steps=4,
    texts=16,
    rollout=32,
    learning_rate=3e-4,
    eval_every=2,
    held_out=24,
    held_pairs=12,
    max_new_tokens=24,
    levels=(0.05, 0.2, 0.5),
)
"""Shows that everything works, not how well."""


def plan_for(quick: bool, full: bool, seeds: int | None) -> Plan:
    """The plan of these flags, with so many seeds."""
    plan = QUICK if quick else FULL if full else REDUCED
    return plan if seeds is None else replace(plan, seeds=seeds)


def name_of(method: str, value: float | None = None) -> str:
    """A setting for readers: DPO, β 0.1."""
    one = METHODS[method]
    if value is None:
        return one.label
    if method == "best_of_n":
        return f"Best of {value:g}"
    key = {"beta": "β", "tau": "τ", "kl_target": "KL target", "label_smoothing": "ε", "learning_rate": "rate"}[one.key]
    return f"{one.label}, {key} {value:g}"


def options_of(plan: Plan, method: str, value: float, seed: int) -> dict[str, Any]:
    """The options of a method's training but its data, its reward, its model and its run folder."""
    one = METHODS[method]
    sampled = one.feed in ("reward", "gold")
    options: dict[str, Any] = {
        "seed": seed,
        "steps": plan.steps,
        "batch_size": plan.texts // 2 if one.feed == "pairs" or method == "online_dpo" else plan.texts,
        "max_length": plan.max_length,
        "learning_rate": plan.learning_rate,
        "warmup": plan.warmup,
        "save_every": 0,
    }
    if sampled:
        options |= {"max_new_tokens": plan.max_new_tokens, "keep_samples": 0, "rollout": plan.rollout}
    if one.algorithm == "ppo":
        options |= FIXED | {"kl_horizon": plan.kl_horizon}
    elif sampled:
        group = 2 if method == "online_dpo" else plan.group
        options |= {"completions_per_prompt": group, "rollout": plan.rollout // group}
    return options | one.options | {one.key: value}
