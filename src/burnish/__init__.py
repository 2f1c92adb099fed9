"""Burnish: post-training for language models, from REINFORCE to DPO."""

from typing import Any

from burnish.algorithms.table import classes

__version__ = "0.1.0"

_HOMES = classes() | {
    "Algorithm": "burnish.algorithms.interface",
    "Experience": "burnish.experience.interface",
    "Loss": "burnish.algorithms.terms",
    "Models": "burnish.policies.interface",
    "Term": "burnish.algorithms.terms",
    "classic": "burnish.recipes.control.classic",
    "fit": "burnish.training.fit",
    "option": "burnish.options",
    "train": "burnish.recipes.train.run",
}
"""Public names and their modules; every method of the table is among them."""

__all__ = ["__version__", "functional", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import burnish` costs nothing and `burnish.functional` no more than torch."""
    from importlib import import_module

    if name == "functional":
        return import_module("burnish.functional")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
