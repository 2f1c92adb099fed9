"""Which trackers there are, and whether their libraries are installed."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from burnish.run.atomic import UserError


@dataclass(frozen=True)
class Library:
    """A tracker's module in this folder, and the package that it needs; the extra that installs it is its name."""

    module: str
    package: str


TRACKERS = {
    "tensorboard": Library("burnish.run.trackers.tensorboard", "tensorboard"),
    "wandb": Library("burnish.run.trackers.wandb", "wandb"),
    "trackio": Library("burnish.run.trackers.trackio", "trackio"),
    "mlflow": Library("burnish.run.trackers.mlflow", "mlflow"),
}


def tracker_names(text: str) -> tuple[str, ...]:
    """The trackers that a text names, separated by commas. Raises UserError for a name that is not in `TRACKERS`."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in TRACKERS:
            near = difflib.get_close_matches(name.lower(), TRACKERS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the trackers are {', '.join(TRACKERS)}"
            raise UserError(f"track: no such tracker '{name}': {hint}")
    return names


def check_installed(names: Iterable[str]) -> None:
    """Raise UserError, with the extra to install, for a tracker whose library is not installed."""
    for name in names:
        package = TRACKERS[name].package
        if (spec := find_spec(package)) is None or spec.origin is None:  # a folder of that name is no library
            raise UserError(f"--track {name} needs the package {package}: pip install 'burnish[{name}]'")
