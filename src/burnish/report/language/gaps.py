"""What pages and figures say of what a study with a gold judge does not have."""

from collections.abc import Sequence

SHOWN = 6
"""Names in a list: of the others their number is said."""


def shortened(names: Sequence[str], most: int = SHOWN) -> str:
    """Names that have commas in them, as `a; b; c … and 2 more`."""
    more = len(names) - most
    return "; ".join(names[:most]) + (f" … and {more} more" if more > 0 else "")


def never_computed(stopped: Sequence[str]) -> list[str]:
    """What is never computed because the reward model that it needs has diverged."""
    if not stopped:
        return []
    return [f"Not computed, because their reward model diverged: {shortened(stopped)}."]
