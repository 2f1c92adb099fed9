"""Formatting of numbers and results as text for readers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def number(value: Any, digits: int = 2, signed: bool = False) -> str:
    """A number with a fixed number of decimals and a true minus sign; a dash for a missing value."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not text.strip("+-0."):  # no minus zero
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def percent(value: Any, digits: int = 0) -> str:
    """A fraction between 0 and 1 as a percentage."""
    return NOTHING if value is None or not math.isfinite(value) else f"{number(100 * value, digits)} %"


def range_of(interval: Mapping[str, Any] | None, digits: int = 2, signed: bool = False, shares: bool = False) -> str:
    """The two ends of an interval, `0.31 to 0.52`; empty if they are missing."""
    if not interval or interval.get("low") is None or interval.get("high") is None:
        return ""
    factor = 100 if shares else 1
    ends = [number(factor * interval[end], digits, signed) for end in ("low", "high")]
    return " to ".join(ends) + (" %" if shares else "")


def duration(seconds: int | float) -> str:
    """Seconds in readable units: `4.2 s`, `5 min 3 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def value(anything: Any) -> str:
    """Any setting or measurement as one line of text; an interval is `0.41 (0.31 to 0.52)`, or `0.41` without ends."""
    if isinstance(anything, Mapping) and {"mean", "low", "high"} <= set(anything):
        if anything["low"] is None or anything["high"] is None:
            return value(anything["mean"])
        return f"{value(anything['mean'])} ({value(anything['low'])} to {value(anything['high'])})"
    if isinstance(anything, bool) or anything is None:
        return {True: "yes", False: "no", None: NOTHING}[anything]
    if isinstance(anything, float):
        return f"{anything:.4g}".replace("-", MINUS) if math.isfinite(anything) else NOTHING
    if isinstance(anything, list | tuple):
        return ", ".join(value(item) for item in anything)
    return str(anything)


def flatten(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Flatten nested mappings, `{"a": {"b": 1}}` to `{"a.b": 1}`; intervals are kept whole."""
    flat: dict[str, Any] = {}
    for key, item in tree.items():
        if isinstance(item, Mapping) and not {"mean", "low", "high"} <= set(item):
            flat |= flatten(item, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = item
    return flat


def verdict(difference: Mapping[str, Any]) -> str:
    """`better`, `worse`, or `undecided` if the interval of the difference includes 0."""
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "undecided"


def result_sentence(name: str, baseline: str, difference: Mapping[str, Any], win_rate: Any, prefixes: int) -> str:
    """The result in one sentence, with no claim that the interval of the difference does not support."""
    ends = f"95 % interval {range_of(difference, signed=True)}"
    size = number(abs(difference["mean"]))
    over = f"on the {prefixes:,} held-out prefixes" if prefixes else "on held-out prefixes"
    found = verdict(difference)
    if found == "undecided":
        return (
            f"{name} and {baseline} cannot be told apart {over}: the gold scores differ by "
            f"{number(difference['mean'], signed=True)} points, and the {ends} includes 0."
        )
    change = "more positive" if found == "better" else "less positive"
    side = "higher" if found == "better" else "lower"
    wins = f"; its text scores higher for {percent(win_rate['mean'])} of prefixes" if win_rate else ""
    return (
        f"{name} continues reviews {change}ly than {baseline}: {over} the judge scores its texts {size} points {side} "
        f"on the raters\N{RIGHT SINGLE QUOTATION MARK} scale from {MINUS}4 to 4 ({ends}){wins}."
    )


def results_sentences(differences: Mapping[str, Mapping[str, Any]], baseline: str, prefixes: int) -> str:
    """The results of several models: those better than the baseline, those worse, and those undecided."""
    quote = "\N{RIGHT SINGLE QUOTATION MARK}"
    over = f"On the {prefixes:,} held-out prefixes" if prefixes else "On held-out prefixes"
    groups: dict[str, list[str]] = {"better": [], "undecided": [], "worse": []}
    for name, difference in differences.items():
        size, ends = number(difference["mean"], signed=True), range_of(difference, signed=True)
        groups[verdict(difference)].append(f"{name} ({size}, {ends})")
    claims = []
    for found, change in (("better", "more positively than"), ("worse", "less positively than")):
        if groups[found]:
            verb = "continues" if len(groups[found]) == 1 else "continue"
            claims.append(f"{listed(groups[found])} {verb} reviews {change} {baseline}")
    if groups["undecided"]:
        claims.append(f"{listed(groups['undecided'])} cannot be told apart from {baseline}")
    return (
        f"{over} {'; '.join(claims)}. In parentheses: the difference of the judge{quote}s scores, in points on "
        f"the raters{quote} scale from {MINUS}4 to 4, and its 95 % interval."
    )


def claims(found: Mapping[str, Sequence[str]], base: str) -> str:
    """In one sentence, what is `better` or `worse` than `base`, and what is `undecided`."""
    texts = {"better": f"higher than {base}", "worse": f"lower than {base}", "undecided": "the interval contains zero"}
    return "; ".join(f"{text} for {listed(found[side])}" for side, text in texts.items() if found.get(side)) + "."


def listed(items: Sequence[str]) -> str:
    """Join items in words: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
