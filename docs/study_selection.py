"""Put the results of `burnish study selection` into docs/study_selection.md: give its folder, as runs/selection.

The table stands between two comments, `<!-- results -->` and `<!-- /results -->`; the figure is copied beside the page.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

import studies  # noqa: E402

from burnish.report import wording  # noqa: E402
from burnish.report.language.selection import result_sentences, warnings  # noqa: E402

PAGE = "study_selection.md"
FIGURES = {"selection.svg": "study_selection.svg"}


def results(found: Mapping[str, Any]) -> str:
    """The sentences of the study's page, its figure, and its table."""
    lines = [f"`{found['command']}`", "", *(f"- {one}" for one in [*warnings(found), *result_sentences(found)]), ""]
    lines += ["![held-out accuracy against the number of labels](study_selection.svg)", ""]
    rows = []
    for row in found["rows"]:
        cells = [found["labels"][row["order"]], f"{row['labels']:,}", studies.interval(row["accuracy"], 1, share=True)]
        cells += [studies.interval(row["difference"], 1, signed=True, share=True)]
        rows.append([*cells, wording.number(100 * row["alone"], 1), str(row["seeds"])])
    heads = "| order | labels | accuracy, % | minus random | one member | seeds |"
    return "\n".join([*lines, *studies.table(heads, rows)])


def put(run: Path, docs: Path = DOCS) -> None:
    """Write the results of the study in `run` into the page, and copy its figure."""
    studies.put(run, docs / PAGE, results, FIGURES)


if __name__ == "__main__":
    put(Path(sys.argv[1]))
