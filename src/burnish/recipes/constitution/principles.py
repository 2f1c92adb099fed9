"""The principles file, and which of its principles a pair of answers is judged by."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.data import cells
from burnish.run import UserError, first_line, refuse_special
from burnish.run.plain_yaml import read_yaml

LARGEST = 2**20


def principles_in(path: str | Path) -> tuple[str, ...]:
    """The principles of a YAML file: a list of texts, alone or under the key `principles`.

    Raises UserError for a file that cannot be read or has none, and for a principle that is empty, no text, or there
    twice.
    """
    path = Path(path)
    refuse_special(path)
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has more than {LARGEST // 2**20} MiB: shorten it")
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path} cannot be read ({reason}): give a YAML file with a list of principles") from error
    return checked(content, str(path))


def checked(content: Any, name: str) -> tuple[str, ...]:
    """The principles of a parsed file."""
    if isinstance(content, dict):
        others = [str(key) for key in content if key != "principles"]
        if others:
            raise UserError(
                f"{name}: the key {cells.shown(others[0])} is unknown: give a list under `principles` alone"
            )
        content = content.get("principles")
    if content in (None, "", []):
        raise UserError(f"{name} has no principles: write one per line, each behind a dash")
    if not isinstance(content, list):
        raise UserError(f"{name} is {cells.kind_of(content)}, not a list: write one principle per line behind a dash")
    found: dict[str, int] = {}
    for number, one in enumerate(content, 1):
        where = f"{name}, principle {number},"
        if one is None or (isinstance(one, str) and not one.strip()):
            raise UserError(f"{where} is empty: write it, or remove the line")
        if not isinstance(one, str):
            raise UserError(f"{where} is {cells.kind_of(one)}, not text: put it in quotation marks")
        text = one.strip()
        if text in found:
            raise UserError(f"{where} is the same as principle {found[text]}: remove one of them")
        found[text] = number
    return tuple(found)


def drawn(principles: Sequence[str], seed: int, pair: str) -> str:
    """The principle for the pair with this key: a function of the seed, the key and the principles, so that it does
    not depend on the other pairs or on their order."""
    return random.Random(f"{seed}/{pair}").choice(list(principles))
