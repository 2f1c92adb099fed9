"""The model that ships with Burnish."""

from pathlib import Path

import burnish


def resolve_model(name: str | Path) -> str:
    """What to load for `--model`: the embedded model for "builtin", the model of a run folder, else the name itself."""
    if name == "builtin":
        return str(Path(burnish.__file__).parent / "assets" / "film")
    if (Path(name) / "model" / "config.json").exists():
        return str(Path(name) / "model")
    return str(name)
