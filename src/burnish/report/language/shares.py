"""The page of `burnish study shares`, made from the `summary.json` of its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.report import wording
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
    ends = wording.range_of(found["ceiling"], 1, shares=True)
    lines.append(
        f"One rater per text agrees with the means of the others on {wording.percent(found['ceiling']['mean'], 1)} of "
        f"the held-out comparisons ({ends}): the labels that accuracy is measured with are such raters' own."
    )
    return lines


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What is missing, what failed, what the judge did not label, and where there are no intervals."""
    lines = []
    if found["missing"]:
        lines.append(f"Missing so far: {wording.listed(found['missing'])}.")
    if found["failures"]:
        lines.append("Failed: " + "; ".join(f"{name} ({reason})" for name, reason in found["failures"].items()) + ".")
    if unread := found["judge"]["asked"] - found["judge"]["labelled"]:
        lines.append(f"The judge could not label {unread:,} of the {found['judge']['asked']:,} pairs.")
    if any(row["accuracy"]["low"] is None for row in found["rows"]):
        lines.append("Of fewer than two seeds there is no interval.")
    return lines
