"""The page of `burnish rewardbench MODEL --out DIR`, made from its results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import theme
from burnish.report.figures import Chart, intervals
from burnish.report.page import figure, write_page
from burnish.report.wording import listed, percent, range_of

Findings = Mapping[str, Any]

OTHER = "other"
MEAN = "mean of sections"
CHANCE = {"RewardBench": (0.5, "guessing"), "RewardBench 2": (0.25, "guessing, one of four")}
TERMS = {
    "ref_accuracy": "one right answer: it scores above every wrong one",
    "tied_accuracy": "many right answers: all score above every wrong one",
    "preferred": "many right answers: the gap to the wrong ones exceeds the spread of the right ones",
    "preferred_hard": "the smaller gap of the two rows exceeds that spread",
    "margin": "margin of the smaller gap over the spread, from −1 to 1",
}


def rewardbench_page(found: Findings, out: Path) -> Path:
    """Write a page with the sections, the subsets, and how the model was scored; returns `out`."""
    return write_page(
        "rewardbench.html.j2",
        out,
        [figure("sections", sections_chart(found))] if found["sections"] else [],
        title=f"{found['benchmark']}: {found['model']}",
        found=found,
        sentences=sentences(found),
        groups=groups(found),
        terms=terms(found),
    )


def sections_chart(found: Findings) -> Chart:
    """One row per section with its interval, then their mean, and a line for guessing."""
    scores = {name: one["score"] for name, one in found["sections"].items()}
    if len(scores) > 1:
        scores[MEAN] = found["score"]
    rows = [{"name": name, **score} for name, score in scores.items()]
    colours = dict.fromkeys(scores, theme.colour("series-1")) | {MEAN: theme.colour("ink")}
    spoken = ", ".join(f"{row['name']} {row['mean']:.0%}" for row in rows)
    chance, word = CHANCE[found["benchmark"]]
    return intervals(
        pd.DataFrame(rows),
        {name: colours[name] for name in scores},
        "score with its 95 % interval",
        f"{found['benchmark']}: {spoken}; guessing gives {chance:.0%}.",
        reference=(chance, word),
        domain=(min(-0.03, *(row["low"] - 0.03 for row in rows)), max(1.03, *(row["high"] + 0.03 for row in rows))),
        number=".0%",
    )


def sentences(found: Findings) -> list[str]:
    """The result in sentences: the score, missing parts of the benchmark, and truncated rows."""
    lines = ["No row belongs to a section of the benchmark, so there is no score."]
    if found["score"]:
        names = [*found["sections"]]
        of = f"is the mean of {listed(names)}" if len(names) > 1 else f"in {names[0]}"
        ends = range_of(found["score"], 1, shares=True)
        lines = [f"{percent(found['score']['mean'], 1)} {of} (95 % interval {ends})."]
    if lacking := incomplete(found):
        lines.append(f"This is not the whole benchmark ({lacking}): do not compare it with published scores.")
    if others := [name for name, one in found["subsets"].items() if one["section"] == OTHER]:
        lines.append(f"In no section, and not in the mean: {listed(others)}.")
    tokens = found["tokens"]
    counted = {
        "truncated_prompts": "prompts truncated on the left",
        "truncated_responses": "answers truncated on the right",
        "dropped": "rows dropped",
    }
    counts = [f"{tokens[key]:,} {words}" for key, words in counted.items() if tokens[key]]
    if counts:
        lines.append(f"To fit {tokens['max_length']:,} tokens: {listed(counts)}.")
    return lines


def incomplete(found: Findings) -> str:
    """How the data differ from the published benchmark; empty if they do not."""
    short = [name for name, one in found["sections"].items() if one["rows"] != one["published_rows"]]
    lacking = []
    if missing := found["missing_sections"]:
        lacking.append(f"{listed(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if short:
        lacking.append(f"{listed(short)} {'differs' if len(short) == 1 else 'differ'} in the number of rows")
    return "; ".join(lacking)


def groups(found: Findings) -> list[tuple[str, Mapping[str, Any] | None, list[tuple[str, Mapping[str, Any]]]]]:
    """Each section with its score and its subsets; subsets of no section last."""
    names = [*found["sections"], *found["missing_sections"], OTHER]
    inside = {name: [(k, one) for k, one in found["subsets"].items() if one["section"] == name] for name in names}
    return [(name, found["sections"].get(name), inside[name]) for name in names if inside[name]]


def terms(found: Findings) -> list[tuple[str, float]]:
    """The terms of the score of Ties, with their descriptions."""
    ties = found["subsets"].get("Ties", {}).get("terms", {})
    return [(words, ties[key]) for key, words in TERMS.items() if key in ties]
