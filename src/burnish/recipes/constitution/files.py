"""What both parts of `burnish constitution` share: where results go, and a model in this process."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.evaluation.readings import is_unicode
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


def identity_of(policy: LanguagePolicy, checksum: str) -> str:
    """Which model it is whose answers are kept: another precision gives others."""
    return checksum if policy.precision == "float32" else f"{checksum}, {policy.precision}"


def write(rows: Sequence[dict[str, Any]], found: dict[str, Any], path: Path) -> None:
    """Write the rows, and beside them what became of the data."""
    write_rows(rows, path)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if not is_unicode(text):  # half a surrogate pair, which JSON can only represent as an ASCII escape
        text = json.dumps(found, indent=1)
    write_atomically(companion(path, SUMMARY), f"{text}\n")


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a JSONL file, complete or not at all."""
    write_atomically(path, b"".join(map(encoded, rows)))
