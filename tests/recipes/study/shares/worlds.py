"""A study of AI feedback that is computed in seconds: one narrow layer, and few pairs."""

from dataclasses import replace

from burnish.recipes.study.shares.plan import QUICK, Plan

TINY: Plan = replace(
    QUICK, seeds=1, budget=4, price=0.5, held_out=8, members=2, chunk=5, batch_size=4, max_length=24, learning_rate=0.01
)
"""Of shares 0, ¼, ½ and 1 these are 4 and 0, 3 and 1, 2 and 3, and 0 and 8 labels of people and of the judge."""
