"""What the page of `burnish study onoff` says: nothing that its intervals do not support."""

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report import wording

SHOWN = 6
"""Missing parts that are named; the others are counted."""
FEW = 5
HALF = 0.5
"""The share of a sample from which on it is called most of it."""
DIGITS = {"language": 2}
"""Decimals of a return; 1 where nothing is said."""


def title_of(found: Mapping[str, Any]) -> str:
    """What is left of a sample of whole episodes at the largest lag, where that is known."""
    said = [
        f"{wording.percent(row['ess']['mean'])} in {found['tasks'][row['task']]}"
        for row in whole_episodes(found)
        if row["ess"]["low"] is not None
    ]
    if not said:
        return "On- and off-policy learning: nothing can be said of weights yet"
    lag = max(row["lag"] for row in whole_episodes(found))
    return f"Late data: {lag} turns later, weights leave an effective sample of {wording.listed(said)}"


def whole_episodes(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of each task, the row of weights with the largest lag and number of actions."""
    last = {row["task"]: row for row in sorted(found["weights"], key=lambda row: (row["lag"], row["count"]))}
    return [row for row in last.values() if row["lag"]]


def result_sentences(found: Mapping[str, Any]) -> list[str]:
    """The main results; a value without an interval is said nothing of."""
    lines = [*efficiency(found), *weights(found), *late(found), *corrections(found), *reason(found)]
    if not lines:
        return ["Of fewer than two runs there is no interval: what there is is shown, and nothing is said of it."]
    lines.append("In parentheses are 95 % bootstrap intervals over runs; differences are paired by run.")
    return lines + counted(found)


def decided(one: Mapping[str, Any] | None) -> bool:
    """Whether a difference or a mean has an interval."""
    return one is not None and one["low"] is not None


def points(one: Mapping[str, Any], digits: int) -> str:
    """A difference with its interval."""
    return f"{wording.number(one['mean'], digits, signed=True)}, {wording.range_of(one, digits, signed=True)}"


def efficiency(found: Mapping[str, Any]) -> list[str]:
    """A sentence per environment: the mean return over steps and over time, beside the on-policy algorithm's."""
    lines = []
    for one in found["efficiency"]:
        parts = []
        for row in one["differences"]:
            if not decided(row["difference"]):
                continue
            far = f"{row['far']:,.0f} steps" if row["axis"] == "steps" else f"{row['far']:,.1f} CPU seconds"
            word = {"better": "higher", "worse": "lower", "undecided": "undecided"}[wording.verdict(row["difference"])]
            name = found["labels"][row["name"]]
            parts.append(f"{name}'s over the first {far} is {word} ({points(row['difference'], 1)})")
        if parts:
            base = found["labels"][one["learners"][0]["name"]]
            lines.append(f"{found['tasks'][one['task']]}, mean return beside {base}'s: {'; '.join(parts)}.")
    return lines


def weights(found: Mapping[str, Any]) -> list[str]:
    """A sentence per task: what the weights leave of a sample at the largest lag, for one action and for all."""
    lines = []
    for row in whole_episodes(found):
        if not decided(row["ess"]):
            continue
        of_one = next(
            one for one in found["weights"] if (one["task"], one["lag"], one["count"]) == (row["task"], row["lag"], 1)
        )
        one_left = f"that of the first action {wording.percent(of_one['ess']['mean'])}"
        ends = wording.range_of(row["ess"], 0, shares=True)
        lines.append(
            f"{found['tasks'][row['task']]}, episodes of {wording.number(row['length'], 0)} actions on average: "
            f"{row['lag']} turns later, the weights of up to {row['count']} actions leave an effective sample of "
            f"{wording.percent(row['ess']['mean'])} ({ends}) of {found['plan']['episodes']} episodes, {one_left}. "
            f"{half(row['ess'])}"
        )
    return lines


def half(ess: Mapping[str, Any]) -> str:
    """Whether most of a sample is left."""
    if ess["high"] < HALF:
        return "Less than half of it is left."
    return "More than half of it is left." if ess["low"] > HALF else "Whether half of it is left is undecided."


def sides(rows: Sequence[tuple[str, Mapping[str, Any] | None]], digits: int) -> dict[str, list[str]]:
    """The names whose difference is above 0, below 0 or undecided, each with its interval."""
    out: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for name, one in rows:
        if one is not None and one["low"] is not None:
            out[wording.verdict(one)].append(f"{name} ({points(one, digits)})")
    return out


def late(found: Mapping[str, Any]) -> list[str]:
    """A sentence per task and lag: the return at the end, beside that without a lag."""
    return said_of(found, "difference", "compared with fresh data", "fresh data")


def corrections(found: Mapping[str, Any]) -> list[str]:
    """A sentence per task and lag: what a correction gains."""
    return said_of(found, "gain", "compared with no correction", "without a correction")


def said_of(found: Mapping[str, Any], key: str, how: str, base: str) -> list[str]:
    """The differences under `key`, a sentence per task and lag that has one."""
    lines = []
    for task, lag in dict.fromkeys((row["task"], row["lag"]) for row in found["late"] if row["lag"]):
        rows = [
            (found["corrections"][row["correction"]].lower(), row[key])
            for row in found["late"]
            if (row["task"], row["lag"]) == (task, lag)
        ]
        parts = sides(rows, DIGITS.get(task, 1))
        if any(parts.values()):
            turns = "1 turn" if lag == 1 else f"{lag} turns"
            lines.append(f"{found['tasks'][task]}, {turns} late, {how}: {wording.claims(parts, base)}")
    return lines


def reason(found: Mapping[str, Any]) -> list[str]:
    """What the language model says about the reason usually given for on-policy RLHF; nothing where it is not known."""
    row = next((one for one in whole_episodes(found) if one["task"] == "language"), None)
    if row is None or not decided(row["ess"]):
        return []
    plain = [one for one in found["late"] if one["task"] == "language" and one["correction"] == "none" and one["lag"]]
    last = max(plain, key=lambda one: one["lag"], default=None)
    ess = row["ess"]
    left = "is supported" if ess["high"] < HALF else "is not supported" if ess["low"] > HALF else "is undecided"
    line = (
        "The reason usually given for on-policy RLHF is that weights of whole completions, products over their tokens, "
        f"leave hardly a sample. At a lag of {row['lag']} turns this {left} here, with half of the sample as the limit."
    )
    if last is not None and decided(last["difference"]):
        word = {"better": "higher", "worse": "lower", "undecided": "neither higher nor lower beyond its interval"}
        line += (
            f" Without any correction, data {last['lag']} turns late give a score that is "
            f"{word[wording.verdict(last['difference'])]} than fresh data's."
        )
    return [line]


def counted(found: Mapping[str, Any]) -> list[str]:
    """How many differences are tested, and over how few runs."""
    rows = [row[key] for row in found["late"] for key in ("difference", "gain")]
    rows += [row["difference"] for one in found["efficiency"] for row in one["differences"]]
    lines, tested = [], sum(decided(one) for one in rows)
    if tested > 1:
        lines.append(f"{tested} differences are tested: one in twenty would be found where there is none.")
    runs = [row["runs"] for row in [*found["late"], *found["weights"]] if row["runs"] > 1]
    if runs and min(runs) < FEW:
        lines.append(f"Intervals over fewer than {FEW} runs are rather too narrow.")
    return lines


def missing(found: Mapping[str, Any]) -> str | None:
    """What has not been computed yet, as a sentence; None where nothing is missing."""
    if not (names := found["missing"]):
        return None
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return f"Missing so far: {'; '.join([*names[:SHOWN], *more])}."


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What is missing, what failed, and whose training broke down, a sentence each."""
    lines = []
    if (said := missing(found)) is not None:
        lines.append(f"{said} The same command with --resume computes them.")
    lines += [f"{label} failed: {reason}" for label, reason in found["failures"].items()]
    for one in found["broken"]:
        lines.append(f"{one['label']}: its training broke down and is left out ({one['reason']}).")
    return lines
