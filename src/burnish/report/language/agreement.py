"""The page of `burnish agreement`: raters with themselves and each other, bias, time, and the pairs in dispute.

Its input, as stored in `agreement.json`; an *interval* is `{"mean", "low", "high"}`, and *agreeing* is
`{"pairs", "raw", "kappa"}` with two intervals, κ's null where it is not defined:

    labels, answers, pairs, votes   the file; its lines; its pairs; the votes that count
    raters, all     by name, and of all: votes, verdicts (a number each), left (interval), seconds (low, median, high),
                    self (agreeing, of first and second showings)
    between         a list of agreeing, each with its two `raters`
    alpha           {"pairs", "value": interval}
    ceiling         {"by", "pairs", "agreement": interval, "upper": interval}; null without two votes on a pair
    disputed, rows  the number of pairs with unequal verdicts, and the first of them: {"row", "prompt", "a", "b",
                    "votes", "unequal"}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import theme
from burnish.report.figures import intervals
from burnish.report.page import Figure, figure, write_page
from burnish.report.wording import NOTHING, listed, number, percent, range_of

Findings = Mapping[str, Any]

HEADS = ("votes", "a", "b", "same", "both bad", "skipped", "left of decided", "seconds", "with themselves", "κ")
VERDICTS = {"a": "a is better", "b": "b is better", "tie": "about the same", "bad": "both bad", "skip": "skipped"}


def agreement_page(found: Findings, out: Path) -> Path:
    """Write the page; returns `out`."""
    names = sorted(found["raters"])
    return write_page(
        "agreement.html.j2",
        out,
        drawn(found),
        title="How far people agree",
        found=found,
        sentences=sentences(found),
        heads=HEADS,
        table=rater_rows(found),
        swatches=theme.series_colours(names),
        verdicts=VERDICTS,
    )


def drawn(found: Findings) -> list[Figure]:
    """A row for every two raters and for each rater's second showings, with the share of equal verdicts."""
    rows = [{"name": " and ".join(one["raters"])} | one["raw"] for one in found["between"]]
    rows += [{"name": f"{name}, twice"} | one["self"]["raw"] for name, one in found["raters"].items() if one["self"]]
    if not rows:
        return []
    spoken = ", ".join(f"{row['name']} {row['mean']:.0%}" for row in rows)
    colours = {
        str(row["name"]): theme.colour("series-2" if row["name"].endswith(", twice") else "series-1") for row in rows
    }
    chart = intervals(
        pd.DataFrame(rows),
        colours,
        "equal verdicts",
        f"Share of equal verdicts: {spoken}.",
        domain=(-0.03, 1.03),
        number=".0%",
    )
    return [figure("equal", chart, "Two raters on the same pairs, and one rater on pairs that were shown twice.")]


def rater_rows(found: Findings) -> list[tuple[str, ...]]:
    """A row of the table per rater, and one of all if there are several."""
    several = {"all": found["all"]} if len(found["raters"]) > 1 else {}
    return [(name, *_cells(one)) for name, one in (*found["raters"].items(), *several.items())]


def _cells(one: Findings) -> list[str]:
    seconds, twice = one["seconds"], one["self"]
    return [
        f"{one['votes']:,}",
        *(f"{one['verdicts'][verdict]:,}" for verdict in VERDICTS),
        f"{percent(one['left']['mean'])} ({range_of(one['left'], 0, shares=True)})" if one["left"] else NOTHING,
        f"{number(seconds['median'], 1)} ({number(seconds['low'], 1)} to {number(seconds['high'], 1)})"
        if seconds
        else NOTHING,
        f"{percent(twice['raw']['mean'])} of {twice['pairs']:,}" if twice else NOTHING,
        _kappa(twice) if twice else NOTHING,
    ]


def _kappa(one: Findings) -> str:
    return f"{number(one['kappa']['mean'])} ({range_of(one['kappa'])})" if one["kappa"] else NOTHING


def sentences(found: Findings) -> list[str]:
    """The outcome in sentences."""
    raters, value = found["raters"], found["alpha"]["value"]
    people = "rater" if len(raters) == 1 else "raters"
    lines = [f"{len(raters)} {people} compared {of(found['pairs'], 'pair')}, with {of(found['votes'], 'vote')}."]
    if value:
        lines.append(
            f"Krippendorff\N{RIGHT SINGLE QUOTATION MARK}s α is {number(value['mean'])} (95 % interval "
            f"{range_of(value)}) on {of(found['alpha']['pairs'], 'pair')} with two or more raters."
        )
    lines += [
        f"{listed(one['raters'])} agree on {percent(one['raw']['mean'])} of {of(one['pairs'], 'pair')} "
        f"({range_of(one['raw'], 0, shares=True)}); κ is {_kappa(one)}."
        for one in found["between"]
    ]
    lines += [_bias(found), _ceiling(found)]
    return [line for line in lines if line]


def of(count: int, what: str) -> str:
    """A number of things, `1 pair` or `2 pairs`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _bias(found: Findings) -> str:
    left = found["all"]["left"]
    if not left:
        return ""
    outcome = "no clear position bias" if left["low"] <= 0.5 <= left["high"] else "a position bias"
    ends = range_of(left, 1, shares=True)
    return f"The answer on the left is preferred in {percent(left['mean'], 1)} of decisions ({ends}): {outcome}."


def _ceiling(found: Findings) -> str:
    one = found["ceiling"]
    if not one:
        return "No pair has two votes that decide it, so that nothing can be said about the best accuracy of a model."
    who = "two raters" if one["by"] == "raters" else "a rater with a second look"
    return (
        f"On decided pairs {who} agree in {percent(one['agreement']['mean'], 1)} ({of(one['pairs'], 'pair')}, "
        f"{range_of(one['agreement'], 1, shares=True)}): no reward model can be expected to predict one rater in more "
        f"than {percent(one['upper']['mean'], 1)} ({range_of(one['upper'], 1, shares=True)})."
    )
