"""Put the results of `burnish study overoptimise` into docs/study_overoptimise.md: give its folder.

The table stands between two comments, `<!-- results -->` and `<!-- /results -->`; figures are copied beside the page.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

import studies  # noqa: E402

from burnish.report import wording  # noqa: E402
from burnish.report.language.overoptimise import MARKS  # noqa: E402
from burnish.report.language.overoptimise_words import (  # noqa: E402
    monitor_rows,
    monitor_sentences,
    peak_range,
    reach_of,
    result_sentences,
    warnings,
)

PAGE = "study_overoptimise.md"
FIGURES = {f"overoptimise_{name}.svg": f"study_overoptimise_{name}.svg" for name in ("best_of_n", "ppo")}


def results(found: Mapping[str, Any]) -> str:
    """The sentences of the study's page, its figures, its table, and what PPO writes at the end."""
    lines = [f"`{found['command']}`", "", *(f"- {one}" for one in [*warnings(found), *result_sentences(found)]), ""]
    lines += [f"{MARKS} Solid lines are fits of gold; each dashed line is a seed's proxy.", ""]
    for name, label in found["methods"].items():
        lines += [f"![gold and proxy against √KL, {label}](study_overoptimise_{name}.svg)", ""]
    reached = "d that all seeds reach | d at the last shared point"
    heads = f"| | labels | α | β | peak | rms | {reached} | gold | claim | fall | seeds |"
    lines += studies.table(heads, [row_of(found, row) for row in found["rows"]])
    if rows := monitor_rows(found):
        lines += ["", "### The monitor", "", *(f"- {one}" for one in monitor_sentences(found)), ""]
        heads = "| method | signal | warns | detected | false alarms | early | updates later |"
        lines += studies.table(heads, [[*row.values()] for row in rows])
    for one in found["texts"]:
        lines += ["", f"PPO, {one['labels']:,} labels, seed {one['seed']}, update {one['step']}:", ""]
        lines += [f"    {' '.join(text.split())}" for text in one["texts"]]
    return "\n".join(lines)


def row_of(found: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """A method and a number of labels: its fit, and its end."""
    fit = row["fit"]
    cells = [found["methods"][row["method"]], f"{row['labels']:,}"]
    cells += [studies.interval(fit[name]) for name in ("alpha", "beta")] if fit else ["", ""]
    cells += [peak(fit["peak"], row["seeds"]), wording.number(fit["rms"])] if fit else ["", ""]
    cells += [wording.number(row["far"]), reach_of(row).removeprefix("d = ")]
    cells += [studies.interval(row[name], signed=True) for name in ("end", "claimed", "fall")]
    fewer = f" of {row['seeds']}" if row["compared"] < row["seeds"] else ""
    return [*cells, f"{row['compared']}{fewer}"]


def peak(one: Mapping[str, Any], seeds: int) -> str:
    """The distance of a peak, which may be infinite, and so may the ends of its interval."""
    mean = "none" if one["mean"] is None else wording.number(one["mean"])
    return mean if seeds < 2 else f"{mean} [{peak_range(one)}]"


def put(run: Path, docs: Path = DOCS) -> None:
    """Write the results of the study in `run` into the page, and copy its figures."""
    studies.put(run, docs / PAGE, results, FIGURES)


if __name__ == "__main__":
    put(Path(sys.argv[1]))
