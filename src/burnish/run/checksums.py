"""Checksums of what a finished run leaves, in the format of sha256sum: `sha256sum --check SHA256SUMS` compares them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from burnish.run.atomic import UserError, write_atomically
from burnish.run.surroundings import refuse_special

SUMS = "SHA256SUMS"
METRICS = "metrics.jsonl"
BLOCK = 1 << 20
FREE = ("README.md",)
"""Files that may change: people edit model cards, and `burnish evaluate` adds what it finds."""


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_first(path: Path, length: int) -> str:
    """The SHA-256 of a file's first `length` bytes."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (block := file.read(min(length, BLOCK))):
            found.update(block)
            length -= len(block)
    return found.hexdigest()


def has_digest(path: Path, length: int, digest: str | None) -> bool:
    """Whether a file's first `length` bytes have this SHA-256; True where there is none to compare with.

    Raises UserError if the file cannot be read.
    """
    try:
        return digest is None or sha256_of_first(path, length) == digest
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): restore it or choose another --out") from error


def write_checksums(run: Path, folders: Mapping[str, Path]) -> None:
    """Write the checksums of all files in `folders`, by the names that these have or will have in `run`, and of
    `metrics.jsonl`, which looks whole where it is cut at a line's end."""
    lines = [
        f"{sha256(path)}  {name}/{path.relative_to(folder).as_posix()}\n"
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in FREE
    ]
    if (run / METRICS).is_file():
        lines.append(f"{sha256(run / METRICS)}  {METRICS}\n")
    write_atomically(run / SUMS, "".join(lines))


def read_checksums(run: Path) -> dict[str, str]:
    """The checksums by name; empty for a run of a version that wrote none."""
    path = run / SUMS
    refuse_special(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return {name: found for found, _, name in (line.partition("  ") for line in lines)}


def unfinished(run: Path) -> bool:
    """Whether a finished run was made longer since, and its model is that of the shorter run."""
    return (run / SUMS).exists() and not read_checksums(run)


def check_metrics(run: Path) -> None:
    """Raise UserError where the metrics of a finished run have changed: nothing can write them again. Of an unfinished
    run the metrics and samples that it had at its newest checkpoint are compared."""
    if read_checksums(run):
        if problem := damage(run, METRICS):
            raise UserError(f"{problem}; restore it, or remove its line there to use it as it is")
        return
    saved, offsets, digests = newest_digests(run)
    for name in ("metrics", "samples"):
        path = run / f"{name}.jsonl"
        if name in digests and not (path.is_file() and has_digest(path, offsets[name], digests[name])):
            raise UserError(f"{path} is damaged: its checksum is not the one in {saved}; restore it")


def newest_digests(run: Path) -> tuple[Path, dict[str, int], dict[str, str]]:
    """Lengths and checksums of the append-only files in the newest checkpoint's state, which is the first; both are
    empty where there is none, or one that is damaged or of a version that wrote none."""
    states = [path for path in run.glob("checkpoints/step-*/state.json") if path.parent.name[5:].isdecimal()]
    newest = max(states, key=lambda path: int(path.parent.name[5:]), default=run)
    try:
        state = json.loads(newest.read_bytes())
        return newest, dict(state["offsets"]), dict(state["digests"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return newest, {}, {}


def damage(run: Path, part: str = "") -> str | None:
    """What is wrong with the files that `run` wrote, as a phrase that names one; None where nothing is.

    Only files whose names begin with `part` are compared. Without checksums, only the model's weights are opened.
    """
    known = read_checksums(run)
    for name, was in known.items():
        path = run / name
        if name.startswith(part):
            if not path.is_file():
                return f"{path} is missing"
            if sha256(path) != was:
                return f"{path} is damaged: its checksum is not the one in {run / SUMS}"
    return None if known else unreadable(run / "model")


def unreadable(model: Path) -> str | None:
    """A phrase for a model's folder without weights, or with weights that are cut."""
    weights = sorted(model.glob("*.safetensors"))
    for path in weights:
        try:
            with safe_open(path, "np"):
                pass
        except (OSError, SafetensorError) as error:
            return f"{path} is damaged ({error})"
    return None if weights else f"{model} has no weights"
