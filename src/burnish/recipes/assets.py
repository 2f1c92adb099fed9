"""The model that ships with Burnish."""

from importlib.resources import files
from pathlib import Path

from burnish.policies.language.adapters import is_adapter


def resolve_model(name: str | Path) -> str:
    """The model to load for `--model`: the embedded one for "builtin", a run folder's model, or the name itself."""
    if name == "builtin":
        return str(files("burnish") / "assets" / "film")
    model = Path(name) / "model"
    if (model / "config.json").exists() or is_adapter(model):
        return str(model)
    return str(name)
