"""What failed in groups of runs, in few words."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

KINDS = 5
"""Different failures that a message tells; the others are counted."""
_WHERE = re.compile(r"(in (?:episode|one of episodes) [\d, to]*\d|after [\d,]+ updates), ")
_NUMBER = re.compile(r"-?\d[\d.,]*(e[+-]?\d+)?")


def told(groups: Sequence[Any], failed: Mapping[str, str], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Phrases for the groups that `failed`, by name, and for the runs that failed in the `found` ones.

    Those that failed alike, but for numbers such as the episode, are one phrase.
    """
    whole: dict[str, list[str]] = {}
    runs: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for group in groups:
        if group.name in failed:
            whole.setdefault(failed[group.name], []).append(group.method.name)
        for run, reason in found.get(group.name, {"failed": {}})["failed"].items():
            runs.setdefault(_kind(reason), []).append((group.method.name, run, reason))
    phrases = [f"{', '.join(dict.fromkeys(methods))}: {reason}" for reason, methods in whole.items()]
    phrases += [_phrase(alike) for alike in runs.values()]
    if (more := len(phrases) - KINDS) > 0:
        phrases[KINDS:] = [f"and {more} more kinds of failure, which groups/*/group.json has"]
    return phrases


def _kind(reason: str) -> tuple[str, str]:
    """A failure without its numbers, but with its place in the code."""
    said, _, place = _WHERE.sub("", reason).rpartition(" (")
    return _NUMBER.sub("#", said or place), place


def _phrase(alike: Sequence[tuple[str, str, str]]) -> str:
    method, run, reason = alike[0]
    if len(alike) == 1:
        return f"{method}, run {run}: {reason}"
    counts = Counter(name for name, _, _ in alike)
    of = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return f"{len(alike)} runs failed alike ({of}), the first of them {method}, run {run}: {reason}"
