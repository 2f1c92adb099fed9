"""One method of each kind: what does not depend on a formula is tried with these alone.

tests/recipes/train/test_several.py holds that the others differ from them in formulas about single rows, and
tests/recipes/train/test_run.py trains every method.
"""

from burnish.algorithms.table import LANGUAGE

SAME = {
    "dpo": ("robust_dpo", "hinge", "ipo", "simpo", "apo_zero", "apo_down", "exo", "nca", "sppo"),
    "cpo": ("orpo",),
    "grpo": ("gspo", "cispo"),
}
"""Methods that differ from another one in formulas about single rows alone."""
KINDS = [name for name in LANGUAGE if not any(name in others for others in SAME.values())]
