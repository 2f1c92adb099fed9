"""The model that ships with Burnish."""

from importlib.resources import files
from pathlib import Path


def resolve_model(name: str | Path) -> str:
    """What to load for `--model`: the embedded model for "builtin", the model of a run folder, else the name itself."""
    if name == "builtin":
        return str(files("burnish") / "assets" / "film")
    if (Path(name) / "model" / "config.json").exists():
        return str(Path(name) / "model")
    return str(name)
