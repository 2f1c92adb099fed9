"""What both parts of `burnish constitution` share: where results go, and a model in this process."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.policies.language.fingerprint import fingerprint, hash_of
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.recipes.answers import writer
from burnish.recipes.constitution.calls import ENDING
from burnish.recipes.train.models import loading_of, pick_device
from burnish.recipes.train.run import prepare_torch
from burnish.run import UserError, companion, writable_file, write_atomically
from burnish.run.lines import encoded

SUMMARY = ".summary.json"


def begun(out: str | Path, what: str) -> Path:
    """The file to write. Raises UserError for one that is there without the calls that it would have been made of."""
    path = writable_file(out)
    if path.exists() and not companion(path, ENDING).exists():
        raise UserError(f"{path} exists, without the calls that {what} are made from: choose another --out")
    return path


def loaded(model: str | Path, base: Settings) -> tuple[LanguagePolicy, str, str]:
    """A language model in this process, its name with the beginning of its checksum, and the checksum."""
    prepare_torch(base)
    policy = load_policy(writer(model), pick_device(base.device), base.precision, loading=loading_of(base))
    checksum = hash_of(fingerprint(policy))
    return policy, f"{model} ({checksum[:12]})", checksum


def write(rows: Sequence[dict[str, Any]], found: dict[str, Any], path: Path) -> None:
    """Write the rows, and beside them what became of the data."""
    write_rows(rows, path)
    write_atomically(companion(path, SUMMARY), json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a JSONL file, complete or not at all."""
    write_atomically(path, b"".join(map(encoded, rows)))
