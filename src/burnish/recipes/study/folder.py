"""The folder of a study: its plan, what it was computed with, its cells, and a summary that the page is made from."""

import hashlib
import json
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish.policies.language.fingerprint import tokenizer_hash
from burnish.policies.language.loading import Loading, load_tokenizer
from burnish.recipes.assets import resolve_model
from burnish.recipes.study.cell import WORK
from burnish.run import RunFolder, hushed, make_folder, warn, write_atomically
from burnish.run.versions import versions

SUMMARY = "summary.json"
PACKAGES = ("burnish", "torch", "transformers", "numpy")


@contextmanager
def opened(
    out: Path,
    config: dict[str, Any],
    free: Collection[str],
    resume: bool,
    quiet: bool,
    inputs: Mapping[str, str] | None = None,
) -> Iterator[RunFolder]:
    """The folder of a study with this configuration, locked; with `resume` what is there is kept.

    Raises UserError where `out` holds something else, or a study whose configuration differs in a key that is not
    `free`, or that was begun with other `inputs`, which are hashes; the sentence says what differs. Other versions of
    Python and of packages are a warning.
    """
    with hushed(quiet), RunFolder.open(out, resume=resume) as run:
        run.claim(config, free=free)
        packages = versions(*PACKAGES)
        differences = run.describe({"python": platform.python_version(), "packages": packages, **(inputs or {})})
        if differences:
            warn(f"{out} was begun with other versions, {', '.join(differences)}: its cells are of both")
        run.write_config(config)
        make_folder(run.path / WORK)
        yield run


def input_hashes(texts: Sequence[Any], model: str) -> dict[str, str]:
    """Hashes of the data, and of the weights and the tokenizer, that a study begins with, see `opened`."""
    folder = Path(resolve_model(model))
    weights = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        weights.update(file.read_bytes())
    tokenizer = tokenizer_hash(load_tokenizer(str(folder), Loading()))
    data = hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()
    return {"data_sha256": data, "model_sha256": weights.hexdigest(), "tokenizer_sha256": tokenizer}


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write the numbers that the page shows. They are finite, or None."""
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n")


def reasons(failures: Mapping[str, str]) -> str:
    """The failed cells and why, in one phrase."""
    return "; ".join(f"{label}: {reason}" for label, reason in failures.items())
