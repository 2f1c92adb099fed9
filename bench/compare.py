"""Two files that language.py, control.py, growth.py or sampler.py wrote: the ratio of every figure, new over old.

python bench/compare.py OLD.json NEW.json
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from burnish.run import UserError

NAMED = ("family", "work", "algorithm", "size", "precision", "batch", "x")
"""The keys that say which result is which."""

NUMBERED = {"batch": "batch", "x": "at"}
"""Of these the ones that are numbers, by what stands before them."""


def named(result: dict[str, Any]) -> str:
    return ", ".join(f"{NUMBERED.get(key, '')} {result[key]}".strip() for key in NAMED if key in result)


def figures(result: dict[str, Any]) -> dict[str, float]:
    """The numbers of a result by name, those of a side as `side.name`. Options and single rounds are no figures."""
    found: dict[str, float] = {}
    for key, value in result.items():
        if key in NAMED:
            continue
        if isinstance(value, dict) and not key.endswith("_options"):
            found |= {f"{key}.{name}": number for name, number in figures(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = value
    return found


def compared(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, float, float, float | None]]:
    """(result, figure, old, new, new / old) for every figure that both files have; no ratio where the old one is 0."""
    before = {named(result): figures(result) for result in old["results"]}
    lines = []
    for result in new["results"]:
        earlier = before.get(named(result), {})
        for name, value in figures(result).items():
            if name in earlier:
                ratio = value / earlier[name] if earlier[name] else None
                lines.append((named(result), name, earlier[name], value, ratio))
    return lines


def read(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): give a file that a bench wrote") from error
    if isinstance(found, dict) and "curves" in found:
        found = of_curves(found)
    if not isinstance(found, dict) or "results" not in found:
        raise UserError(f"{path} has no results: give a file that a bench wrote")
    return found


def of_curves(content: dict[str, Any]) -> dict[str, Any]:
    """What growth.py wrote: each point of a curve is a result. One without a start has no figure of it."""
    results = [
        {"work": curve} | {key: value for key, value in point.items() if value or key != "start"}
        for curve, points in content["curves"].items()
        for point in points
    ]
    return {"machine": {"cpu": content.get("cpu")}, "results": results}


def main(words: Sequence[str]) -> None:
    if len(words) != 2:
        raise UserError("give two files, the older one first")
    old, new = map(read, words)
    console = Console(width=max(110, Console().width))
    for path, one in zip(words, (old, new), strict=True):
        where = one.get("machine", {})
        said = (where.get("cpu"), where.get("date"), f"load {load}" if (load := where.get("load_before")) else None)
        console.print(f"{path}: {', '.join(filter(None, said))}")
    if not (lines := compared(old, new)):
        raise UserError("the two files have no result in common")
    table = Table()
    for heading in ("result", "figure", "old", "new", "new / old"):
        table.add_column(heading, justify="left" if heading in ("result", "figure") else "right")
    for name, figure, before, after, ratio in lines:
        table.add_row(name, figure, f"{before:,.6g}", f"{after:,.6g}", "" if ratio is None else f"{ratio:.3f}")
    console.print(table)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"compare.py: {error}")
