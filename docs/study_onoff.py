"""Put the results of `burnish study onoff` into docs/study_onoff.md: give its folder, as runs/onoff.

The tables stand between two comments, `<!-- results -->` and `<!-- /results -->`; the figures are copied beside it.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

import studies  # noqa: E402

from burnish.report import wording  # noqa: E402
from burnish.report.onoff_words import result_sentences, warnings  # noqa: E402

PAGE = "study_onoff.md"
FIGURES = {f"{name}.svg": f"study_onoff_{name}.svg" for name in ("efficiency", "weights", "late")}
SPOKEN = {
    "efficiency": "return against environment steps and against CPU seconds",
    "weights": "effective sample size against the number of actions",
    "late": "return against how many turns late the data are",
}


def results(found: Mapping[str, Any]) -> str:
    """The sentences of the study's page, its figures, and its tables."""
    lines = [f"`{found['command']}`", "", *(f"- {one}" for one in [*warnings(found), *result_sentences(found)]), ""]
    for name, table in (("efficiency", ends(found)), ("weights", weights(found)), ("late", late(found))):
        if found[name]:
            lines += [f"![{SPOKEN[name]}](study_onoff_{name}.svg)", "", *table, ""]
    return "\n".join(lines).strip()


def ends(found: Mapping[str, Any]) -> list[str]:
    """A row per algorithm: its return at the end, when it reached the threshold, and its time."""
    rows = []
    for one in found["efficiency"]:
        for row in one["learners"]:
            median = "" if row["median"] is None else f"{row['median']:,.0f}"
            cells = [f"{found['labels'][row['name']]}, {found['tasks'][one['task']]}", studies.interval(row["end"], 1)]
            cells += [f"{row['threshold']:g}".replace("-", wording.MINUS), f"{row['reached']} of {row['runs']}", median]
            rows.append([*cells, studies.interval(row["seconds"], 1)])
    return studies.table("| | return at the end | threshold | reached by | median steps | CPU s |", rows)


def weights(found: Mapping[str, Any]) -> list[str]:
    """A row per task, lag and number of actions."""
    heads = (
        "| | turns late | actions | effective sample, % | largest share, % | log of it | variance of the log | runs |"
    )
    rows = []
    for row in found["weights"]:
        cells = [found["tasks"][row["task"]], str(row["lag"]), str(row["count"])]
        cells += [studies.interval(row[name], 0, share=True) for name in ("ess", "share")]
        cells += [studies.interval(row["log_largest"], 2), studies.interval(row["log_variance"], 3)]
        rows.append([*cells, str(row["runs"])])
    return studies.table(heads, rows)


def late(found: Mapping[str, Any]) -> list[str]:
    """A row per task, lag and correction."""
    rows = []
    for row in found["late"]:
        digits = 2 if row["task"] == "language" else 1
        how = found["corrections"][row["correction"]] if row["lag"] else ""
        cells = [found["tasks"][row["task"]], str(row["lag"]), how, studies.interval(row["value"], digits)]
        cells += [studies.interval(row[name], digits, signed=True) for name in ("difference", "gain")]
        rows.append([*cells, str(row["runs"])])
    return studies.table("| | turns late | correction | return | minus fresh | minus uncorrected | runs |", rows)


def put(run: Path, docs: Path = DOCS) -> None:
    """Write the results of the study in `run` into the page, and copy the figures that it has."""
    there = {name: copy for name, copy in FIGURES.items() if (run / name).is_file()}
    studies.put(run, docs / PAGE, results, there)


if __name__ == "__main__":
    put(Path(sys.argv[1]))
