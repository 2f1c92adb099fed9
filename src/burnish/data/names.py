"""Names of data: one data set, `name[:configuration][:split]`, or a mixture of several, `a.jsonl:0.7,b.jsonl:0.3`.

A task is `task:NAME[:options][:split]`, with options as in `terms=2,digits=1`: what has the form `key=value` between
two commas after a task is an option of it, and no name.

A file or folder that exists has precedence over every other reading, so that its name may contain commas and colons.
"""

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.options import quoted
from burnish.run import UserError, without_keys

IN_MEMORY = "(in memory)"
"""The name of data that are a Python object, and the beginning of the names of other objects."""

HELD_OUT = "(held out)"
"""The name of the rows of the training data that are kept for evaluation."""

TASK = "task"
"""What the name of a task begins with, before a colon."""

TASK_SPLITS = ("train", "validation", "held_out", "test")
"""Splits of a task: what it trains on, and three names for the prompts that are held out."""

_OPTION = re.compile(r"\s*[\w-]+=")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def in_memory(name: str) -> str:
    """How a configuration names an object that no file can hold."""
    return f"{IN_MEMORY} {name}"


def is_in_memory(value: Any) -> bool:
    """Whether a configuration's value names an object that no file can hold."""
    return isinstance(value, str) and value.startswith(IN_MEMORY)


@dataclass(frozen=True)
class Part:
    """One data set by name: `base` is a path or a hub name, `suffixes` the configuration or split after colons.

    `name` is the part as it was written, without the weight.
    """

    name: str
    base: str
    suffixes: tuple[str, ...] = ()
    weight: float | None = None

    @property
    def path(self) -> Path:
        return Path(self.base).expanduser()

    @property
    def is_task(self) -> bool:
        return self.base == TASK and not _exists(TASK)


def parts(text: str) -> tuple[Part, ...]:
    """The parts of a mixture, or the only one. In a mixture a number after the last colon is the part's weight.

    Raises UserError for an empty part, a weight that is not positive, and weights for some parts only.
    """
    pieces = split(text)
    if len(pieces) == 1:
        return (_part(pieces[0], weighted=False),)
    found = tuple(_part(piece, weighted=True) for piece in pieces)
    without = [part.name for part in found if part.weight is None]
    if 0 < len(without) < len(found):
        raise UserError(
            f"{text}: {without[0]} has no weight, but other parts have one; give every part a weight, or none."
        )
    return found


def single(text: str) -> Part:
    """The one data set that a text names. Raises UserError for a mixture."""
    found = parts(text)
    if len(found) > 1:
        raise UserError(f"{text} is a mixture of {len(found)} data sets, but only one can be read here; name one.")
    return found[0]


def unweighted(text: str) -> tuple[Part, ...]:
    """The parts of data that every row is read from once. Raises UserError for weights."""
    found = parts(text)
    if any(part.weight is not None for part in found):
        raise UserError(f"{text} has weights, but weights only apply to training data; leave them out.")
    return found


def named(data: Any) -> str:
    """What data are called in a sentence, without keys in addresses, and without the rows of a Python object."""
    return without_keys(text_of(data) or IN_MEMORY)


def text_of(data: Any) -> str | None:
    """The text of data given by name, or as a list of names; None for data that are a Python object.

    Raises UserError for a list of texts that look like rows.
    """
    if isinstance(data, str | Path):
        return str(data)
    if not (isinstance(data, list | tuple) and data and all(isinstance(one, str | Path) for one in data)):
        return None
    if row := next((one for one in map(str, data) if re.search(r"\s", one) and not _exists(one)), None):
        raise UserError(
            f"a list of texts is a list of names of data sets, and there is no {quoted(row)}: give each row as a dict, "
            'such as {"prompt": …} or {"text": …}'
        )
    return joined(data)


def held_out_tasks(text: str) -> str | None:
    """The held-out prompts of data that are all tasks, by name and without weights; None for other data.

    A split that is named stays.
    """
    found = parts(text)
    if not all(part.is_task for part in found):
        return None
    return ",".join(
        part.name if part.suffixes[-1:] and part.suffixes[-1] in TASK_SPLITS else f"{part.name}:held_out"
        for part in found
    )


def split(text: str) -> list[str]:
    """The text at its commas, except those in the name of a file or folder that exists."""
    pieces, start = text.split(","), 0
    found: list[str] = []
    while start < len(pieces):
        ends = (end for end in range(len(pieces), start + 1, -1) if _begins_with_path(pieces[start:end]))
        end = next(ends, start + 1)
        if found and found[-1].startswith(f"{TASK}:") and end == start + 1 and _OPTION.match(pieces[start]):
            found[-1] += f",{pieces[start].strip()}"
            start = end
            continue
        found.append(",".join(pieces[start:end]).strip())
        start = end
    if "" in found:
        raise UserError(f"data '{text}' has an empty part; write names separated by single commas.")
    return found


def joined(texts: Iterable[str | Path]) -> str:
    """Several names as one text, from which `parts` reads the same names. Raises UserError where that is impossible."""
    listed = list(map(str, texts))
    if not listed:
        raise UserError("data is an empty list; name at least one data set.")
    text = ",".join(listed)
    if split(text) != [piece for one in listed for piece in split(one)]:
        raise UserError(f"{text} is also the name of one file, so these parts cannot be told apart; rename that file.")
    return text


def _part(text: str, weighted: bool) -> Part:
    base, suffixes = _base(text)
    if any(one.startswith("//") for one in suffixes):
        raise UserError(f"{without_keys(text)} is an address; download it and name the file.")
    if "" in suffixes:
        raise UserError(f"{text}: nothing follows a colon; write name:split or name:configuration:split.")
    if not weighted or not suffixes or not _NUMBER.fullmatch(suffixes[-1]):
        return Part(text, base, suffixes)
    weight, suffixes = float(suffixes[-1]), suffixes[:-1]
    if not 0 < weight < math.inf:
        raise UserError(f"{text}: the weight must be a number above 0; leave out a part that is not wanted.")
    return Part(":".join([base, *suffixes]), base, suffixes, weight)


def _base(text: str) -> tuple[str, tuple[str, ...]]:
    """The longest beginning that is a path, or what stands before the first colon; and what follows."""
    words = text.split(":")
    lengths = (length for length in range(len(words), 0, -1) if _exists(":".join(words[:length])))
    length = next(lengths, 1)
    return ":".join(words[:length]), tuple(words[length:])


def _begins_with_path(pieces: list[str]) -> bool:
    """Whether pieces are one existing path and its suffixes: the path has all commas."""
    before, last = ",".join(pieces[:-1]), pieces[-1].split(":")
    return any(_exists(f"{before},{':'.join(last[:length])}".strip()) for length in range(len(last), 0, -1))


def _exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))  # unlike Path's own, these never raise
