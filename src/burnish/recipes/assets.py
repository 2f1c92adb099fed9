"""Models by name: what `--model` accepts."""

from importlib.resources import files
from pathlib import Path

from burnish.policies.language import smollm2
from burnish.policies.language.adapters import is_adapter

BUILTIN = "builtin"
NAMES = (BUILTIN, smollm2.NAME)
"""Models that are neither a folder nor on the hub."""


def resolve_model(name: str | Path) -> str:
    """The model to load for `--model`: a model of `NAMES`, a run folder's model, or the name itself.

    The first use of "smollm2" downloads and converts it; raises UserError where it cannot.
    """
    return str(smollm2.smollm2()) if name == smollm2.NAME else location(name)


def location(name: str | Path) -> str:
    """`resolve_model` without making sure that the model is there: to compare models, not to load them."""
    if name == BUILTIN:
        return str(files("burnish") / "assets" / "film")
    if name == smollm2.NAME:
        return str(smollm2.cached_folder())
    model = Path(name) / "model"
    if (model / "config.json").exists() or is_adapter(model):
        return str(model)
    return str(name)
