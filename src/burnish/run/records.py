"""Reading a run's files, and comparing two configs."""

import contextlib
import json
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Any

from burnish.run.atomic import UserError
from burnish.run.surroundings import refuse_special
from burnish.run.user_code import first_line

HARMLESS = frozenset(
    {
        *("out", "resume", "overwrite", "quiet", "debug", "save_every", "keep_checkpoints", "track"),
        *("gradient_checkpointing", "sampler_timeout"),
    }
)
"""Config keys that a resumed run may change: they affect neither the model nor `metrics.jsonl`."""


CHECKSUM = "# sha256 of the lines below: "


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the records of a `.jsonl` file, except a last line that a killed writer left unfinished.

    Raises `UserError` for a missing file, and for any other broken line, with its number.
    """
    refuse_special(path)
    try:
        *lines, last = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): pass the folder of a run") from error
    records = [parse_line(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    if last.strip():
        with contextlib.suppress(UserError):
            records.append(parse_line(last, path, len(lines) + 1))
    return records


def parse_line(
    line: bytes,
    path: Path,
    number: int,
    what: str = "a JSON object",
    remedy: str = "restore the file or remove that line",
) -> dict[str, Any]:
    """The record of a line of a `.jsonl` file. Raises UserError where it is not `what` it must be."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number}, is not JSON ({first_line(error)}): {remedy}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number}, is not {what}: {remedy}")
    return record


def config_differences(old: dict[str, Any], new: dict[str, Any], free: Collection[str] = HARMLESS) -> list[str]:
    """Differences between two configs that would change a run's results, as phrases that name the key.

    Nested keys are joined with dots. Keys in `free` are ignored; all others count, including `steps`, which sets the
    length of the learning-rate schedule, and `threads`, which changes the rounding of sums.
    """
    before, after = _flatten(plain(old)), _flatten(plain(new))
    keys = [key for key in {**before, **after} if key not in free]
    show = {key: tuple(repr(side[key]) if key in side else "not set" for side in (before, after)) for key in keys}
    return [f"{key} (was {was}, now {now})" for key, (was, now) in show.items() if was != now]


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def plain(value: Any) -> Any:
    """`value` as YAML and JSON would return it: tuples become lists, paths become strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def yaml_with_checksum(config: dict[str, Any]) -> str:
    """A mapping as YAML, with the SHA-256 of the text in its first line: `read_mapping` refuses one that has changed.

    A YAML file that is cut at the end of a line would otherwise look whole.
    """
    from burnish.run.plain_yaml import write_yaml

    text = write_yaml(plain(config))
    return f"{CHECKSUM}{sha256(text.encode()).hexdigest()}\n{text}"


def has_changed(text: str) -> bool:
    """Whether a YAML text has a checksum that is not its own."""
    first, _, rest = text.partition("\n")
    return first.startswith(CHECKSUM) and first != f"{CHECKSUM}{sha256(rest.encode()).hexdigest()}"


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a `.yaml` or `.json` file; raise `UserError` if it does not contain one mapping."""
    from burnish.run.plain_yaml import read_yaml

    refuse_special(path)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json" and has_changed(text):
            raise UserError(
                f"{path} has changed since Burnish wrote it: restore it, or delete its first line, which begins with "
                f"'{CHECKSUM.strip()}', to use the file as it is now"
            )
        content = json.loads(text) if path.suffix == ".json" else read_yaml(text)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({reason}): restore it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a mapping of keys to values: restore it")
    return {str(key): value for key, value in content.items()}
