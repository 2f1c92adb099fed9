"""A study of on- and off-policy learning that is computed in seconds: one narrow layer, and few steps."""

from dataclasses import replace

from burnish.recipes.study.onoff.plan import QUICK, Plan

TINY: Plan = replace(
    QUICK,
    runs=1,
    language_runs=1,
    learners={"CartPole-v1": ("ppo", "dqn")},
    steps={"CartPole-v1": 300},
    late_steps=1024,
    lags=(0, 1),
    language_lags=(0, 1),
    anchors=(1,),
    language_anchors=(1,),
    counts=(1, 5, 8, 200),
    episodes=8,
    updates=2,
    texts=4,
    group=2,
    prefixes=6,
    held_out=6,
    max_new_tokens=8,
    max_length=32,
)
