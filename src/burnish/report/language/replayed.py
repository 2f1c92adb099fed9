"""What the pages say of every study that replays people's comparisons: the ceiling, and what is missing."""

from collections.abc import Mapping
from typing import Any

from burnish.report import wording


def ceiling(found: Mapping[str, Any]) -> str:
    """How far people themselves agree."""
    ends = wording.range_of(found["ceiling"], 1, shares=True)
    return (
        f"One rater per text agrees with the means of the others on {wording.percent(found['ceiling']['mean'], 1)} of "
        f"the held-out comparisons ({ends}): the labels that accuracy is measured with are such raters' own."
    )


def unfinished(found: Mapping[str, Any]) -> list[str]:
    """What is missing and what failed."""
    lines = []
    if found["missing"]:
        lines.append(f"Missing so far: {wording.listed(found['missing'])}.")
    if found["failures"]:
        lines.append("Failed: " + "; ".join(f"{name} ({reason})" for name, reason in found["failures"].items()) + ".")
    return lines


def unmeasured(found: Mapping[str, Any]) -> list[str]:
    """Whether there are no intervals."""
    none = any(row["accuracy"]["low"] is None for row in found["rows"])
    return ["Of fewer than two seeds there is no interval."] if none else []
