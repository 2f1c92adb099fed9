"""What the pages of the studies share: results between two comments, figures beside the page, and intervals."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.report import wording

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def put(run: Path, page: Path, results: Callable[[Mapping[str, Any]], str], figures: Mapping[str, str]) -> None:
    """Write the results of the study in `run` into the page, and copy its figures, by name, beside the page."""
    found = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{results(found)}\n{END}{after}", encoding="utf-8")
    for name, copy in figures.items():
        shutil.copyfile(run / name, page.with_name(copy))


def table(heads: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, whose first line is `heads`."""
    return [heads, "|" + "---|" * (heads.count("|") - 1), *(f"| {' | '.join(cells)} |" for cells in rows)]


def interval(one: Mapping[str, Any] | None, digits: int = 2, signed: bool = False, share: bool = False) -> str:
    """A mean with the ends of its interval, if it has one; a share in percent."""
    if one is None:
        return ""
    factor = 100 if share else 1
    mean = wording.number(factor * one["mean"], digits, signed)
    if one["low"] is None:
        return mean
    return f"{mean} [{', '.join(wording.number(factor * one[end], digits, signed) for end in ('low', 'high'))}]"
