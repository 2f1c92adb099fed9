"""What pages and figures say of what a study with a gold judge does not have."""

import textwrap
from collections.abc import Sequence
from typing import Any

SHOWN, NOTED = 6, 4
"""Names in a list of a page, and of a figure: of the others their number is said."""

CROSS: dict[str, Any] = {
    "filled": False,
    "shape": "M-.7,-.7L.7,.7M.7,-.7L-.7,.7",
    "size": 90,
    "strokeWidth": 2,
    "opacity": 0.75,
}
"""How a measurement is drawn of a training that diverged afterwards."""

WIDE = 110
"""Characters in a line of a figure, which breaks none by itself."""


def shortened(names: Sequence[str], most: int = SHOWN) -> str:
    """Names that have commas in them, as `a; b; c … and 2 more`."""
    more = len(names) - most
    return "; ".join(names[:most]) + (f" … and {more} more" if more > 0 else "")


def never_computed(stopped: Sequence[str]) -> list[str]:
    """What is never computed because the reward model that it needs has diverged."""
    if not stopped:
        return []
    return [f"Not computed, because their reward model diverged: {shortened(stopped)}."]


def notes(
    missing: Sequence[str], failed: Sequence[str], stopped: Sequence[str], diverged: Sequence[str], fewer: Sequence[str]
) -> list[str]:
    """The lines under a figure's title that say what it does not have: what is missing so far, failed, was never
    computed or has diverged, and what is of fewer seeds than the study has."""
    said = {
        "Missing so far": missing,
        "Failed": failed,
        "Not computed, because their reward model diverged": stopped,
        "Diverged, points until then are crosses": diverged,
        "Of fewer seeds": fewer,
    }
    sentences = [f"{what}: {shortened(names, NOTED)}." for what, names in said.items() if names]
    return [line for one in sentences for line in textwrap.wrap(one, WIDE)]
