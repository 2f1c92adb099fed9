"""A study of over-optimisation that is computed in seconds: one narrow layer, two proxies and two updates."""

from dataclasses import replace

from burnish.recipes.study.overoptimise.plan import QUICK, Plan

TINY: Plan = replace(
    QUICK,
    labels=(2, 4),
    sizes=(1, 2, 3),
    seeds=1,
    sft_steps=1,
    prefixes=6,
    completions=4,
    steps=2,
    texts=4,
    rollout=4,
    eval_every=1,
    held_out=12,
    held_pairs=4,
    shown=2,
    max_new_tokens=8,
    max_length=32,
)
