"""A study of selections that is computed in seconds: one narrow layer, and few pairs."""

from dataclasses import replace

from burnish.recipes.study.selection.plan import QUICK, Plan

TINY: Plan = replace(
    QUICK, seeds=1, pool=24, held_out=8, first=4, labels=(8, 12), batch_size=4, max_length=24, learning_rate=0.01
)
