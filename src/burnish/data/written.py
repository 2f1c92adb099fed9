"""The text that SmolLM2 wrote for the embedded model: one text a line, compressed, in parts.

It is the output of a model under the Apache-2.0 licence (`burnish write`), after the filters of `recipes.writing`. A
part never changes once it ships; more text is another part.
"""

import lzma
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from burnish.run import UserError, read_mapping, sha256

FOLDER, TEXTS, FACTS = "written", "part-{}.txt.xz", "part-{}.json"
CHECKSUMS = (
    "3119c047a395d7e35cd9eb334b7d7bd7e24141ce2394faf74a773c91e357732c",
    "7daa435df0b50a39ce27ad808de0a1f74b6b342c102960eb101d55d0658afcbe",
    "c52c659d4d4eca34533990d10e0f68c42aec921e4b1cf0e83c3a746c3bedd095",
    "2241da0826b9b96bd5d2178577cd25b8938c6f7a0ca07893863584c3f625df7d",
    "fe476c65ae32812a30615ca8034396246bf817840160e063cea8bfa54389d4b6",
)
"""The SHA-256 of every part that ships, in order."""


def shipped() -> list[str]:
    """The texts that ship. Raises UserError if a part is damaged."""
    return [text for path in part_paths() for text in unpack(path)]


def part_paths() -> list[Path]:
    """Paths of the verified parts that ship. Raises UserError if one is damaged."""
    paths = [_folder() / TEXTS.format(number) for number in range(len(CHECKSUMS))]
    for path, checksum in zip(paths, CHECKSUMS, strict=True):
        if not path.exists() or sha256(path) != checksum:
            raise UserError(f"{path} is missing or damaged (its SHA-256 is not {checksum}): install Burnish again")
    return paths


def shipped_facts() -> list[dict[str, Any]]:
    """Where each part that ships comes from: `sha256`, `written_with`, `shards`, `words` and `counts` by filter."""
    return [read_mapping(_folder() / FACTS.format(number)) for number in range(len(CHECKSUMS))]


def shipped_shards(recipe: Mapping[str, Any]) -> set[str]:
    """Names of the shards of a recipe of `burnish write` that ship, whatever the dtype and PyTorch that wrote them."""

    def apart_from_arithmetic(recipe: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in recipe.items() if key not in ("dtype", "torch")}

    mine = apart_from_arithmetic(recipe)
    same = [facts for facts in shipped_facts() if apart_from_arithmetic(facts["written_with"]) == mine]
    return {name for facts in same for name in facts["shards"]}


def _folder() -> Path:
    return Path(str(files("burnish") / "assets" / FOLDER))


def pack(texts: Sequence[str]) -> bytes:
    """The texts as a file. Raises ValueError for a text of several lines or of none."""
    if wrong := [text for text in texts if len(text.splitlines()) != 1]:
        raise ValueError(f"a text has to be one line: {wrong[0]!r}")
    return lzma.compress("".join(f"{text}\n" for text in texts).encode(), preset=9 | lzma.PRESET_EXTREME)


def unpack(path: Path) -> list[str]:
    """The texts of a file that `pack` made. Raises UserError if it is damaged."""
    try:
        return lzma.decompress(path.read_bytes()).decode().split("\n")[:-1]
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read ({error}): restore it") from error
