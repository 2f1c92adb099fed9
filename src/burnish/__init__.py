"""Burnish: post-training for language models, from REINFORCE to DPO."""

from typing import Any

from burnish.algorithms.table import classes

__version__ = "0.1.0"

_HOMES = classes() | {
    "Algorithm": "burnish.algorithms.interface",
    "Experience": "burnish.experience.interface",
    "Loss": "burnish.algorithms.terms",
    "Models": "burnish.policies.interface",
    "Settings": "burnish.config",
    "Term": "burnish.algorithms.terms",
    "UserError": "burnish.run",
    "classic": "burnish.recipes.control.classic",
    "compare": "burnish.recipes.functions",
    "evaluate": "burnish.recipes.functions",
    "fit": "burnish.training.fit",
    "load": "burnish.recipes.load",
    "option": "burnish.options",
    "play": "burnish.recipes.control.play",
    "sample": "burnish.recipes.functions",
    "train": "burnish.recipes.train.run",
}
"""Public names and their modules; every method of the table is among them."""

_PACKAGES = ("functional", "report")

__all__ = ["__version__", *_PACKAGES, *_HOMES]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import burnish` costs nothing and `burnish.functional` no more than torch."""
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f"burnish.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
