"""Put the results of `burnish study shares` into docs/study_shares.md: give its folder, as runs/shares.

The table stands between two comments, `<!-- results -->` and `<!-- /results -->`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

import studies  # noqa: E402

from burnish.report import wording  # noqa: E402
from burnish.report.language.shares import result_sentences, warnings  # noqa: E402

PAGE = "study_shares.md"


def results(found: Mapping[str, Any]) -> str:
    """The sentences of the study's page, and its table."""
    lines = [f"`{found['command']}`", "", *(f"- {one}" for one in [*warnings(found), *result_sentences(found)]), ""]
    rows = []
    for row in found["rows"]:
        cells = [wording.percent(row["share"]), f"{row['people']:,}", f"{row['judged']:,}"]
        cells += [wording.number(row["cost"], 1), studies.interval(row["accuracy"], 1, share=True)]
        cells += [studies.interval(row["difference"], 1, signed=True, share=True)]
        rows.append([*cells, wording.number(100 * row["alone"], 1), str(row["seeds"])])
    heads = "| of the judge | labels of people | of the judge | cost | accuracy, % | minus people alone | one member | seeds |"
    return "\n".join([*lines, *studies.table(heads, rows)])


def put(run: Path, docs: Path = DOCS) -> None:
    """Write the results of the study in `run` into the page."""
    studies.put(run, docs / PAGE, results, {})


if __name__ == "__main__":
    put(Path(sys.argv[1]))
