"""What the page of `burnish study checked` says: nothing that its intervals do not support."""

from collections.abc import Mapping
from typing import Any

from burnish.report import wording

ALL, START = "all", "start"
"""The summary's names of the mean over all tasks and of the pupil."""


def name_of_task(task: str, found: Mapping[str, Any]) -> str:
    """A task's name in a heading or a sentence."""
    if task == ALL:
        return f"mean of the {len(found['tasks'])} tasks"
    return task.replace("_", " ")


def title_of(found: Mapping[str, Any]) -> str:
    """Which methods raise pass@1, and which raise pass@n."""
    task, n = main_task(found), found["plan"]["samples"]
    where = name_of_task(task, found)
    first, other = (len(sides(found, task, f"{key}_gain")["better"]) for key in ("pass_1", "pass_n"))
    return f"Checked answers, {where}: of {len(found['labels'])} methods {first} raise pass@1 and {other} pass@{n}"


def main_task(found: Mapping[str, Any]) -> str:
    """What the title is about: all tasks together, or the only one."""
    return ALL if ALL in found["results"] else str(found["tasks"][0])


def sides(found: Mapping[str, Any], task: str, key: str) -> dict[str, list[str]]:
    """The methods whose difference is above 0, below 0 or undecided, each as `GRPO (+1.2, 0.3 to 2.1)`, in points."""
    out: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for row in found["results"][task]:
        if one := row.get(key):
            ends = f"{points(one['mean'])}, {points(one['low'])} to {points(one['high'])}"
            out[wording.verdict(one)].append(f"{found['labels'][row['name']]} ({ends})")
    return out


def points(share: float) -> str:
    """A difference of shares in percentage points."""
    return wording.number(100 * share, 1, signed=True)


def result_sentences(found: Mapping[str, Any]) -> list[str]:
    """The main results: what each method gains, whether it is more than before in 64 tries, and which differ."""
    task, n = main_task(found), found["plan"]["samples"]
    seeds = min(found["seeds"].values())
    start = found["results"][task][0]
    over = f"{name_of_task(task, found)}, {seeds} {'seed' if seeds == 1 else 'seeds'}"
    lines = [
        f"{over[0].upper()}{over[1:]}: before, {wording.percent(start['pass_1']['mean'], 1)} of answers are right "
        f"(pass@1), and {wording.percent(start['pass_n']['mean'], 1)} of prompts have a right one among {n} answers "
        f"(pass@{n}). In parentheses are percentage points with 95 % intervals."
    ]
    lines.append("pass@1: " + wording.claims(sides(found, task, "pass_1_gain"), "before"))
    lines.append(f"pass@{n}: " + wording.claims(sides(found, task, "pass_n_gain"), "before"))
    reference = found["labels"][found["reference"]]
    if len(found["labels"]) > 1:
        lines.append(
            f"Compared with {reference}, pass@1: " + wording.claims(sides(found, task, "pass_1_difference"), reference)
        )
    lines.append(
        f"A method that only made likelier what the model could already do would raise pass@1 and not pass@{n}. "
        f"Where pass@{n} was near 100 % before, it says nothing about this."
    )
    if seeds < 5:
        few = "one seed: they are over prompts alone" if seeds == 1 else f"{seeds} seeds: they are rather too narrow"
        lines.append(f"The intervals are of {few}.")
    return lines
