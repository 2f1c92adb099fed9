"""Models by name: what `--model` accepts."""

from importlib.resources import files
from pathlib import Path

from burnish.policies.language import smollm2
from burnish.policies.language.adapters import is_adapter
from burnish.run import UserError, damage
from burnish.run.checksums import SUMS

BUILTIN = "builtin"
NAMES = (BUILTIN, smollm2.NAME)
"""Models that are neither a folder nor on the hub."""


PARTS = ("model", "critic")
"""The folders of a run with a model in each."""


def resolve_model(name: str | Path) -> str:
    """The model to load for `--model`: a model of `NAMES`, a run folder's model, or the name itself.

    The first use of "smollm2" downloads and converts it; raises UserError where it cannot, and for a run's model that
    is not as the run wrote it.
    """
    if name == smollm2.NAME:
        return str(smollm2.smollm2())
    found = location(name)
    check_intact(Path(found))
    return found


def check_intact(model: Path) -> None:
    """Raise UserError where `model` is the model of a run whose checksums say that it has changed since."""
    run = model.parent
    if model.name in PARTS and (run / SUMS).exists() and (problem := damage(run, f"{model.name}/")):
        raise UserError(
            f"{problem}; give --resume to the training command to write it again, or delete {run / SUMS} to use it as "
            "it is"
        )


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
