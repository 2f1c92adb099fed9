"""The page of `burnish study shares`, made from the `summary.json` of its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.report import wording
from burnish.report.language.replayed import ceiling, unfinished, unmeasured
from burnish.report.page import write_page
from burnish.run import UserError, read_mapping


def shares_page(folder: Path) -> Path:
    """Write `report.html` to `folder`; returns the page's path. Raises UserError if the summary is missing."""
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder} has no summary.json: give the folder of burnish study shares")
    found = read_mapping(folder / "summary.json")
    return write_page(
        "shares.html.j2",
        folder / "report.html",
        [],
        title="Labels of people and of a judge at the same cost",
        sentences=result_sentences(found),
        warnings=warnings(found),
        found=found,
    )


def result_sentences(found: Mapping[str, Any]) -> list[str]:
    """What the intervals say of each share, how good the judge is, and how far people themselves agree."""
    sides: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for row in found["rows"]:
        if row["difference"] and row["difference"]["low"] is not None:
            sides[wording.verdict(row["difference"])].append(wording.percent(row["share"]))
    words = {"better": "more accurate", "worse": "less accurate", "undecided": "undecided"}
    said = [f"{words[side]} with {wording.listed(some)} of the judge" for side, some in sides.items() if some]
    lines = [f"Compared with labels of people alone at the same cost: {'; '.join(said)}."]
    if not said:
        lines = ["No share can be compared with labels of people alone yet."]
    judge = found["judge"]
    if judge["agreement"]:
        mean, ends = (
            wording.percent(judge["agreement"]["mean"], 1),
            wording.range_of(judge["agreement"], 1, shares=True),
        )
        lines.append(
            f"The judge prefers the answer that people prefer in {mean} of the {judge['labelled']:,} pairs that it "
            f"labelled ({ends})."
        )
    return [*lines, ceiling(found)]


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What is missing, what failed, what the judge did not label, and where there are no intervals."""
    lines = unfinished(found)
    if unread := found["judge"]["asked"] - found["judge"]["labelled"]:
        lines.append(f"The judge could not label {unread:,} of the {found['judge']['asked']:,} pairs.")
    return [*lines, *unmeasured(found)]
