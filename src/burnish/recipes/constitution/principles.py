"""The principles file, and which of its principles a pair of answers is judged by, or an answer revised by."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from burnish.data import cells
from burnish.run import UserError, first_line, refuse_special
from burnish.run.plain_yaml import read_yaml

T = TypeVar("T")

LARGEST = 2**20
CRITIQUE = (
    "Criticize your last answer by this principle: {principle}\n\nSay where the answer falls short of it, and why."
)
REVISION = (
    "Write your last answer again, so that it follows the principle and your critique. Give the new answer alone, with "
    "nothing before or after it."
)


@dataclass(frozen=True)
class Principle:
    """A principle, with the requests for a critique and for a revision by it."""

    text: str
    critique: str
    revision: str

    @classmethod
    def of(cls, text: str) -> "Principle":
        """A principle without requests of its own."""
        return cls(text, CRITIQUE.replace("{principle}", text), REVISION)


def principles_of(given: str | Path | Sequence[Any], requests: bool = False) -> tuple[Principle, ...]:
    """The principles of a YAML file or of a list, as `checked` reads them."""
    if isinstance(given, str | Path):
        return checked(content_of(Path(given)), str(given), requests)
    return checked(list(given), "the list", requests)


def content_of(path: Path) -> Any:
    """What is in a YAML file. Raises UserError for a file that cannot be read."""
    refuse_special(path)
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has more than {LARGEST // 2**20} MiB: shorten it")
        return read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path} cannot be read ({reason}): give a YAML file with a list of principles") from error


def checked(content: Any, name: str, requests: bool = False) -> tuple[Principle, ...]:
    """The principles of a parsed file: a list of texts, alone or under the key `principles`. With `requests` a
    principle may also be a mapping with the texts `critique` and `revision`.

    Raises UserError for a list without any, and for a principle that is empty, of another kind, or there twice.
    """
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
    found: dict[Principle, int] = {}
    for number, one in enumerate(content, 1):
        where = f"{name}, principle {number},"
        principle = principle_of(one, where, requests)
        if principle in found:
            raise UserError(f"{where} is the same as principle {found[principle]}: remove one of them")
        found[principle] = number
    return tuple(found)


def principle_of(one: Any, where: str, requests: bool) -> Principle:
    """One principle of a list."""
    if one is None or (isinstance(one, str) and not one.strip()):
        raise UserError(f"{where} is empty: write it, or remove the line")
    if isinstance(one, str):
        return Principle.of(one.strip())
    if not isinstance(one, dict):
        raise UserError(f"{where} is {cells.kind_of(one)}, not text: put it in quotation marks")
    if not requests:
        raise UserError(f"{where} has requests, which are for --part supervised: write one text, in quotation marks")
    if set(one) != {"critique", "revision"}:
        listed = ", ".join(map(str, one)) or "none"
        raise UserError(f"{where} must have the keys critique and revision, and has {listed}: correct it")
    for key, text in one.items():
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where} has no text for {key}: write it, or remove the principle")
    critique = one["critique"].strip()
    return Principle(critique, critique, one["revision"].strip())


def drawn(principles: Sequence[T], seed: int, what: str) -> T:
    """The principle for the pair, or the prompt and round, with this key: a function of the seed, the key and the
    principles, so that it does not depend on the others or on their order."""
    return random.Random(f"{seed}/{what}").choice(list(principles))
