"""The page of `burnish compare`: two models' answers to the same prompts, the judge's verdicts, and text statistics.

Its input, as stored in `compare.json` and `compare.jsonl`; an *interval* is `{"mean", "low", "high"}`:

    names, models     of A and B: display names, and the models as the user gave them
    data, prompts     the source of the prompts, and their number
    sampling          {"seed", "temperature", "max_new_tokens"}
    statistics        of A and B: texts, words, distinct_2, distinct_2_nearby, repetition, same, eos_rate, entropy
    warnings          sentences: which model may have collapsed, and why
    judge             its name; null without a judge, and the next five keys are missing
    verdicts          {"pairs", "A", "B", "ties", "unjudged", "orders_disagree"}
    win_rate          interval: fraction of judged pairs that A wins, ties half; null if no pair was judged
    position_bias     interval: fraction of preferences for the text shown first; if the judge was asked in both orders
    scores            intervals of A's and B's mean score, and
    score_difference  interval of their paired difference; if the judge gives scores
    same_text         number of pairs of identical answers
    command, seconds, versions

    rows: {"row", "prompt", "a", "b", "ended", "winner", "scores", "orders", "problem"}; the last four for judged pairs
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import theme, wording
from burnish.report.figures import densities, intervals
from burnish.report.page import Figure, figure, write_page

STATISTICS = [
    ("words", "words per answer", 1, False),
    ("eos_rate", "end with EOS", 0, True),
    ("entropy", "entropy, nats per token", 2, False),
    ("distinct_2", "distinct bigrams, all answers", 0, True),
    ("distinct_2_nearby", "distinct bigrams, windows of 200", 0, True),
    ("repetition", "repeated trigrams", 0, True),
    ("same", "nearly the same as many others", 0, True),
]


def compare_page(found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """Write the page of a comparison; returns `out`."""
    names = found["names"]
    colours = theme.series_colours(names)
    return write_page(
        "compare.html.j2",
        out,
        drawn(found, rows, colours),
        title=f"{names[0]} and {names[1]}, side by side",
        found=found,
        names=names,
        swatches=colours,
        sentences=sentences(found),
        table=statistics_rows(found),
        rows=[side_by_side(row, names) for row in rows],
        facts=wording.flatten(
            {"A": found["models"][0], "B": found["models"][1], "prompts": found["data"]} | found["sampling"]
        )
        | found["versions"],
    )


def drawn(found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> list[Figure]:
    """Figures of the win rate with its interval and, if there are scores, of their distributions."""
    names, made = found["names"], []
    if rate := found.get("win_rate"):
        table = pd.DataFrame([{"name": names[0]} | {end: rate[end] for end in ("mean", "low", "high")}])
        spoken = f"{names[0]} wins {rate['mean']:.0%} of pairs, ties counting half; 50 % is even."
        chart = intervals(
            table,
            {names[0]: colours[names[0]]},
            f"pairs won against {names[1]}",
            spoken,
            reference=(0.5, "even"),
            domain=(0.0, 1.0),
            number=".0%",
        )
        made.append(figure("wins", chart))
    scored = [row["scores"] for row in rows if row.get("scores")]
    if len(scored) > 1:
        values = {name: [float(pair[i]) for pair in scored] for i, name in enumerate(names)}
        spoken = ", ".join(f"{name} has mean {sum(v) / len(v):.2f}" for name, v in values.items())
        title = f"score by {found['judge']}"
        made.append(figure("scores", densities(values, colours, title, f"Distribution of scores: {spoken}.")))
    return made


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The outcome in sentences, with no claim that the interval does not support."""
    (a, b), lines = found["names"], []
    if found["judge"] is None:
        return ["There is no judge: give --judge to get a win rate."]
    count, rate = found["verdicts"], found["win_rate"]
    judged = count["pairs"] - count["unjudged"]
    if rate is None:
        lines.append(f"{found['judge']} judged none of the {count['pairs']:,} pairs.")
    else:
        claim = f"{a} and {b} cannot be told apart by {found['judge']}"
        if rate["low"] > 0.5 or rate["high"] < 0.5:
            better, worse = (a, b) if rate["mean"] > 0.5 else (b, a)
            claim = f"{better} writes better than {worse} according to {found['judge']}"
        lines.append(
            f"{claim}: {a} wins {wording.percent(rate['mean'], 1)} of {judged:,} pairs, ties counting half "
            f"(95 % interval {wording.range_of(rate, 1, shares=True)})."
        )
    lines.append(_tally(found))
    if "position_bias" in found and (bias := found["position_bias"]):
        outcome = "no clear bias" if bias["low"] <= 0.5 <= bias["high"] else "it is biased"
        lines.append(
            f"The judge prefers the answer shown first in {wording.percent(bias['mean'], 1)} of its verdicts, ties "
            f"counting half (95 % interval {wording.range_of(bias, 1, shares=True)}; 50 % is unbiased): {outcome}."
        )
    if "score_difference" in found:
        difference = found["score_difference"]
        lines.append(
            f"{a} scores {wording.number(found['scores'][0]['mean'])} on average and {b} "
            f"{wording.number(found['scores'][1]['mean'])}, a difference of "
            f"{wording.number(difference['mean'], signed=True)} ({wording.range_of(difference, signed=True)})."
        )
    return lines


def _tally(found: Mapping[str, Any]) -> str:
    """The numbers of wins, ties and unjudged pairs, in one sentence."""
    (a, b), count = found["names"], found["verdicts"]
    parts = [f"{a} won {count['A']:,}, {b} {count['B']:,}", f"ties: {count['ties']:,}"]
    if "position_bias" in found:
        parts[1] += f" ({count['orders_disagree']:,} of them because the two orders disagree)"
    if count["unjudged"]:
        parts.append(f"unjudged and left out: {count['unjudged']:,}")
    if found["same_text"]:
        parts.append(f"pairs of identical answers: {found['same_text']:,}")
    return "; ".join(parts) + "."


def statistics_rows(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of the table of text statistics: a label and the formatted numbers of A and B."""
    a, b = found["statistics"]
    return [
        (label, _shown(a[key], digits, share), _shown(b[key], digits, share))
        for key, label, digits, share in STATISTICS
    ]


def _shown(value: float | None, digits: int, share: bool) -> str:
    return wording.percent(value, digits) if share else wording.number(value, digits)


def side_by_side(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A prompt with both answers, their scores, the winner, and a note about the verdict."""
    scores = row.get("scores") or (None, None)
    sides = [
        {"name": name, "text": row[key].lstrip(" "), "score": score, "won": row.get("winner") == letter, "ended": ended}
        for name, key, letter, score, ended in zip(names, "ab", "AB", scores, row["ended"], strict=True)
    ]
    return {"prompt": row["prompt"], "sides": sides, "note": _note(row, names)}


def _note(row: Mapping[str, Any], names: Sequence[str]) -> str:
    outcomes = {"A": f"{names[0]} won", "B": f"{names[1]} won", "tie": "tie"}
    if "winner" not in row:
        return ""
    if row["winner"] is None:
        return f"unjudged: {row.get('problem', '')}"
    orders = row.get("orders")
    if orders and orders[0] != orders[1]:
        return f"tie: {outcomes[orders[0]]} with {names[0]} first, {outcomes[orders[1]]} with {names[1]} first"
    return outcomes[row["winner"]]
