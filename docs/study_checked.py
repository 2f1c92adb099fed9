"""Put the results of `burnish study checked` into docs/study_checked.md: `python docs/study_checked.py runs/checked`.

The table stands between two comments, `<!-- results -->` and `<!-- /results -->`; the figures are copied beside
the page.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

import studies  # noqa: E402

from burnish.report.language.checked_words import ALL, START, name_of_task, points, result_sentences  # noqa: E402

PAGE = "study_checked.md"
FIGURES = {"gain_pass_1.svg": "study_checked_pass_1.svg", "gain_pass_n.svg": "study_checked_pass_n.svg"}


def results(found: Mapping[str, Any]) -> str:
    """The sentences of the study's page, its figures, and a table for each task and for their mean."""
    n = found["plan"]["samples"]
    lines = [f"`{found['command']}`", "", *(f"- {sentence}" for sentence in result_sentences(found)), ""]
    for k, name in zip((1, n), FIGURES.values(), strict=True):
        lines += [f"![pass@{k} before and after, with 95 % intervals]({name})", ""]
    for task in [*([ALL] if ALL in found["results"] else []), *found["tasks"]]:
        lines += [f"**{name_of_task(task, found)}**", "", *table(found, task), ""]
    return "\n".join(lines).strip()


def table(found: Mapping[str, Any], task: str) -> list[str]:
    """A row per method, in percent, and what was gained in percentage points with its 95 % interval."""
    n = found["plan"]["samples"]
    heads = f"| | pass@1 | minus before | pass@{n} | minus before | length | entropy | tokens | CPU s | learning rate |"
    rows = []
    for row in found["results"][task]:
        cells = [found["labels"].get(row["name"], "before")]
        for key in ("pass_1", "pass_n"):
            cells += [f"{100 * row[key]['mean']:.1f}", gain(row.get(f"{key}_gain"))]
        cells += [f"{row['length']:.1f}", f"{row['entropy']:.2f}"]
        if row["name"] != START:
            cells += [f"{row['tokens']:,.0f}", f"{row['seconds']:.0f}"]
            cells += [] if task == ALL else [f"{found['rates'][task][row['name']]:g}"]
        rows.append(cells + [""] * (10 - len(cells)))
    return studies.table(heads, rows)


def gain(one: Mapping[str, float] | None) -> str:
    return "" if one is None else f"{points(one['mean'])} [{points(one['low'])}, {points(one['high'])}]"


def put(run: Path, docs: Path = DOCS) -> None:
    """Write the results of the study in `run` into the page, and copy its figures."""
    studies.put(run, docs / PAGE, results, FIGURES)


if __name__ == "__main__":
    put(Path(sys.argv[1]))
