"""Data sets in the format of the Hugging Face hub, with configurations and splits: on the hub, or in a local folder.

A local folder is one where the YAML header of its README.md has `configs:`, as `datasets.load_dataset` reads it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import yaml
from datasets import Dataset, IterableDataset
from huggingface_hub import metadata_load

from burnish import hub
from burnish.data.files import ENDINGS, ending
from burnish.run import UserError, first_line

SPLIT_WORDS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval")
CARD = "README.md"
_OWN_KEYS = {"config_name", "data_files", "data_dir", "default"}
_NAMED = 40  # an error message lists at most this many configurations


def has_configurations(folder: Path) -> bool:
    """Whether the folder's README.md declares configurations. Raises UserError where its header is not valid YAML."""
    return bool(_declared(folder))


def plain_files(folder: Path, suffixes: Sequence[str], split: str) -> list[Path] | None:
    """The files of a split of a local configuration; None where only `datasets` can read them, as with a separator.

    Raises UserError for a configuration or split that does not exist.
    """
    config, split = resolve(str(folder), suffixes, split)
    try:
        builder = datasets.load_dataset_builder(str(folder), config)
    except Exception as error:
        raise _explained(str(folder), config, split, error) from error
    entry = next((one for one in _declared(folder) if one.get("config_name", "default") == builder.config.name), {})
    splits = builder.config.data_files or {}
    if split not in splits:
        raise _explained(str(folder), config, split, ValueError(f"Unknown split {split!r}"))
    files = [Path(file) for file in splits[split]]
    return files if entry.keys() <= _OWN_KEYS and {ending(file) for file in files} <= {*ENDINGS} else None


def load_repository(
    path: str, suffixes: Sequence[str], split: str, streaming: bool = False
) -> Dataset | IterableDataset:
    """A split of a data set on the hub or of a local folder, by `datasets.load_dataset`.

    `suffixes` are what follows the name after colons: nothing, a configuration or a split, or both. One word is the
    configuration of that name if there is one. Raises UserError, which lists what there is, for a configuration or
    split that is missing or does not exist.
    """
    if not Path(path).exists():
        hub.reachable()
    config, split = resolve(path, suffixes, split)
    try:
        return datasets.load_dataset(**hub_arguments(path, split, config), streaming=streaming)
    except Exception as error:  # the hub's client raises many types; the user needs the name and the reason
        raise _explained(path, config, split, error) from error


def resolve(path: str, suffixes: Sequence[str], split: str) -> tuple[str | None, str]:
    """The configuration (None: the only one) and the split that a name's suffixes mean."""
    if len(suffixes) > 2:
        raise UserError(f"{':'.join([path, *suffixes])} has too many colons; write name:configuration:split.")
    if len(suffixes) == 2:
        return suffixes[0], suffixes[1]
    if not suffixes or suffixes[0] in SPLIT_WORDS:
        return None, suffixes[0] if suffixes else split
    return (suffixes[0], split) if suffixes[0] in _configurations(path) else (None, suffixes[0])


def hub_arguments(name: str, split: str, config: str | None = None) -> dict[str, Any]:
    """The arguments of `datasets.load_dataset`, with the split names of data sets that differ from the usual ones."""
    if (
        name == "openai/summarize_from_feedback"
    ):  # its loading script is no longer supported; the hub converted the tables
        return {"path": name, "name": config or "comparisons", "revision": "refs/convert/parquet", "split": split}
    if name == "HuggingFaceH4/ultrafeedback_binarized":
        split = {"train": "train_prefs", "test": "test_prefs"}.get(split, split)
    return {"path": name, "split": split} | ({} if config is None else {"name": config})


def _declared(folder: Path) -> list[dict[str, Any]]:
    card = folder / CARD
    if not card.is_file():
        return []
    try:
        header = metadata_load(card) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{card}: its YAML header is not valid ({first_line(error)}); fix it.") from error
    return [one for one in header.get("configs") or [] if isinstance(one, dict)]


def _configurations(path: str) -> list[str]:
    """The names of a data set's configurations; none where they cannot be found out."""
    try:
        return datasets.get_dataset_config_names(path, revision=hub_arguments(path, "train").get("revision"))
    except Exception:  # loading the data set says what is wrong
        return []


def _explained(path: str, config: str | None, split: str, error: Exception) -> UserError:
    """What went wrong, as a sentence that lists what the data set has."""
    configs = _configurations(path) if isinstance(error, ValueError) else []
    listed = ", ".join(configs[:_NAMED]) + (f" and {len(configs) - _NAMED} more" if len(configs) > _NAMED else "")
    if configs and config is None and "Config name is missing" in str(error):
        if split not in SPLIT_WORDS:
            return UserError(f"{path} has no configuration {split!r}; it has {listed}.")
        return UserError(f"{path} needs a configuration, as in {path}:{configs[0]}:{split}; it has {listed}.")
    if configs and config is not None and config not in configs:
        return UserError(f"{path} has no configuration {config!r}; it has {listed}.")
    if configs and str(error).startswith(("Unknown split", "Bad split")):
        splits = ", ".join(datasets.get_dataset_split_names(path, config))
        of = "" if config is None else f", configuration {config},"
        return UserError(f"{path}{of} has no split {split!r}; it has {splits}.")
    if Path(path).exists():
        return UserError(f"{path} cannot be read as a data set ({first_line(error)}); check its {CARD} and its files.")
    reason = "it does not answer" if hub.silent() else first_line(error)
    return UserError(
        f"{path} is not a local file or folder, and loading its split {split!r} from the hub failed ({reason}); check "
        "the name and the connection."
    )
