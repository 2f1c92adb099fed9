"""A study so small that it is computed in seconds: one layer, and a pupil that need not be right."""

from dataclasses import replace

from burnish.recipes.study.checked.plan import QUICK, Plan
from burnish.recipes.study.checked.pupil import Lessons, Shape

SHAPE = Shape(width=16, layers=1, heads=2, context=64)
LESSONS = Lessons(steps=2, batch_size=4, samples=1, least=0.0, most=1.0)
TINY: Plan = replace(
    QUICK,
    methods=("rloo", "reinforce_plus_plus", "rejection", "sft"),
    rollouts=2,
    completions=16,
    group=4,
    batch_size=8,
    eval_every=1,
    prompts=8,
    samples=4,
    shape=SHAPE,
    lessons=LESSONS,
)
