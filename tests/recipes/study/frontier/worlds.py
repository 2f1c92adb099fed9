"""A study of the frontier that is computed in seconds: one narrow layer, and two settings."""

from dataclasses import replace

from burnish.recipes.study.frontier.plan import QUICK, Plan

TINY: Plan = replace(
    QUICK,
    grid={"dpo": (0.1,), "ppo": (3.0,), "best_of_n": (2, 3)},
    seeds=1,
    sft_steps=1,
    prefixes=6,
    reward_steps=1,
    steps=2,
    texts=4,
    rollout=4,
    eval_every=1,
    held_out=12,
    held_pairs=4,
    max_new_tokens=8,
    max_length=32,
    levels=(1e-6, 100.0),
)
