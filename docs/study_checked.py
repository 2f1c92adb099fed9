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

from burnish.report.language.checked import checked_page  # noqa: E402
from burnish.report.language.checked_words import ALL, START, name_of_task, points, result_sentences  # noqa: E402

PAGE = "study_checked.md"
GAINS = {"gain_pass_1.svg": "study_checked_pass_1.svg", "gain_pass_n.svg": "study_checked_pass_n.svg"}
FIGURES = GAINS | {"curves.svg": "study_checked_curves.svg"}

SILENT = (
    "Groups without signal, in percent of all, are those whose answers have equal scores: until the first evaluation, "
    "and before the last."
)


def results(found: Mapping[str, Any]) -> str:
    """The sentences of the study's page, its figures, and a table for each task and for their mean."""
    n = found["plan"]["samples"]
    lines = [f"`{found['command']}`", "", *(f"- {sentence}" for sentence in result_sentences(found)), ""]
    for k, name in zip((1, n), GAINS.values(), strict=True):
        lines += [f"![pass@{k} before and after, with 95 % intervals]({name})", ""]
    spoken = "Accuracy during training against sampled tokens and against CPU seconds, with 95 % intervals over seeds"
    lines += [f"![{spoken}]({FIGURES['curves.svg']})", "", SILENT, ""]
    for task in [*([ALL] if ALL in found["results"] else []), *found["tasks"]]:
        lines += [f"**{name_of_task(task, found)}**", "", *table(found, task), ""]
    return "\n".join(lines).strip()


def table(found: Mapping[str, Any], task: str) -> list[str]:
    """A row per method, in percent, and what was gained in percentage points with its 95 % interval."""
    n = found["plan"]["samples"]
    heads = f"| | pass@1 | minus before | pass@{n} | minus before | length | entropy "
    heads += "| groups without signal | tokens | CPU s | learning rate |"
    rows = []
    for row in found["results"][task]:
        cells = [found["labels"].get(row["name"], "before")]
        for key in ("pass_1", "pass_n"):
            cells += [f"{100 * row[key]['mean']:.1f}", gain(row.get(f"{key}_gain"))]
        cells += [f"{row['length']:.1f}", f"{row['entropy']:.2f}"]
        if row["name"] != START:
            cells += [silent(row), f"{row['tokens']:,.0f}", f"{row['seconds']:.0f}"]
            cells += [] if task == ALL else [f"{found['rates'][task][row['name']]:g}"]
        rows.append(cells + [""] * (11 - len(cells)))
    return studies.table(heads, rows)


def silent(row: Mapping[str, Any]) -> str:
    """The share of groups without signal in percent, at the start and at the end; nothing where there are no groups."""
    if row.get("silent_last") is None:
        return ""
    return f"{100 * row['silent_first']:.0f} to {100 * row['silent_last']:.0f}"


def gain(one: Mapping[str, float] | None) -> str:
    return "" if one is None else f"{points(one['mean'])} [{points(one['low'])}, {points(one['high'])}]"


def put(run: Path, docs: Path = DOCS) -> None:
    """Write the results of the study in `run` into the page, and copy its figures, which an older Burnish may not have
    made."""
    if not all((run / name).is_file() for name in FIGURES):
        checked_page(run)
    studies.put(run, docs / PAGE, results, FIGURES)


if __name__ == "__main__":
    put(Path(sys.argv[1]))
