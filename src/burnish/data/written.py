"""The text that SmolLM2 wrote for the embedded model: one text a line, compressed.

It is the output of a model under the Apache-2.0 licence (`burnish write`), after the filters of `recipes.writing`.
"""

import lzma
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from burnish.run import UserError, sha256

NAME = "written.txt.xz"
SHA256 = "3119c047a395d7e35cd9eb334b7d7bd7e24141ce2394faf74a773c91e357732c"
"""The checksum of the file that ships."""


def shipped() -> Path:
    """Path of the verified file that ships. Raises UserError if it is damaged."""
    path = Path(str(files("burnish") / "assets" / NAME))
    if not path.exists() or sha256(path) != SHA256:
        raise UserError(f"{path} is missing or damaged (its SHA-256 is not {SHA256}): install Burnish again")
    return path


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
