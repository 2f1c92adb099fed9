"""What both parts of `burnish constitution` share: where results go, and a model in this process."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.data.names import parts, text_of
from burnish.evaluation.readings import is_unicode
from burnish.policies.language.fingerprint import fingerprint, hash_of
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.recipes.answers import writer
from burnish.recipes.compare import LONGEST_TIMEOUT
from burnish.recipes.constitution.asking import first_unread
from burnish.recipes.constitution.calls import ENDING, FEEDBACK, SUPERVISED
from burnish.recipes.train.models import loading_of, pick_device
from burnish.recipes.train.prepare import prepare_torch
from burnish.run import UserError, companion, writable_file, write_atomically
from burnish.run.lines import encoded

SUMMARY, CHAINS = ".summary.json", ".chains.jsonl"
BESIDE = {FEEDBACK: (SUMMARY,), SUPERVISED: (SUMMARY, CHAINS)}
"""What each part writes beside its rows and calls."""


def begun(out: str | Path, part: str, *read: Any) -> Path:
    """The file to write. Raises UserError where a file that would be written is there without calls, or is of the other
    part, or is among the data and files that are `read`."""
    path = writable_file(out)
    calls = companion(path, ENDING)
    written = [path, *(companion(path, ending) for ending in BESIDE[part])]
    inputs = {one.resolve() for given in read for one in paths_of(given)}
    if both := [one for one in (*written, calls) if one.resolve() in inputs]:
        raise UserError(f"{both[0]} is read by this command, which would write it: choose another --out")
    there = [one for one in written if one.exists()]
    if there and not calls.exists():
        raise UserError(f"{there[0]} exists, without the calls that it would be made from: choose another --out")
    if (other := part_of(companion(path, SUMMARY))) not in (None, part):
        raise UserError(f"{path} is of --part {other}: choose another --out, or give that part")
    return path


def paths_of(data: Any) -> list[Path]:
    """The paths among names of data; of a Python object none."""
    text = text_of(data)
    return [] if text is None else [one.path for one in parts(text)]


def part_of(summary: Path) -> str | None:
    """The part of the command that wrote a summary; None where it does not say."""
    try:
        found = json.loads(summary.read_bytes())
    except (OSError, ValueError):
        return None
    said = found.get("part") if isinstance(found, dict) else None
    return said if isinstance(said, str) and said in BESIDE else None


def check_limits(budget: int | None, tokens: int | None, timeout: float, option: str) -> None:
    """Raise UserError for a budget of nothing, in requests or in tokens, and for seconds, given by this option, that no
    request can take."""
    if budget is not None and budget < 1:
        raise UserError(f"--budget must be at least 1, not {budget}")
    if tokens is not None and tokens < 1:
        raise UserError(f"--budget-tokens must be at least 1, not {tokens}")
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise UserError(f"{option} must lie in (0, {LONGEST_TIMEOUT}] seconds, not {timeout:g}")


def loaded(model: str | Path, base: Settings) -> tuple[LanguagePolicy, str, str]:
    """A language model in this process, its name with the beginning of its checksum, and the checksum."""
    prepare_torch(base)
    policy = load_policy(writer(model), pick_device(base.device), base.precision, loading=loading_of(base))
    checksum = hash_of(fingerprint(policy))
    return policy, f"{model} ({checksum[:12]})", checksum


def identity_of(policy: LanguagePolicy, checksum: str) -> str:
    """Which model it is whose answers are kept: another precision gives others."""
    return checksum if policy.precision == "float32" else f"{checksum}, {policy.precision}"


def check_rows(rows: Sequence[Any], found: Mapping[str, Any], path: Path) -> None:
    """Raise UserError where there are no rows, but a file that has some: it stays as it is."""
    if rows or not path.exists() or not path.stat().st_size:
        return
    why = "the budget is used up: raise it" if found["not_asked"] else first_unread(found)
    raise UserError(f"there is no row to write, and {path} stays as it is ({why}; or choose another --out)")


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
