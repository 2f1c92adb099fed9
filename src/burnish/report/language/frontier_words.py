"""What the page of `burnish study frontier` says: nothing that its intervals do not support."""

from collections.abc import Mapping
from typing import Any

from burnish.report import wording
from burnish.report.language.gaps import never_computed

FIGURE_2 = "Rafailov et al. (2023), figure 2, where DPO's frontier lies above PPO's"
SUPERIOR = "Xu et al. (2024), \u201cIs DPO Superior to PPO for LLM Alignment?\u201d, where PPO is better"


def title_of(found: Mapping[str, Any]) -> str:
    """How many methods are above the reference at the level that most of them reach."""
    level = main_level(found)
    base = found["labels"][found["reference"]]
    parts = sides(found, level)
    decided, compared = len(parts["better"]), sum(map(len, parts.values()))
    if not compared:
        return f"Reward against KL: no method can be compared with {base} yet"
    return f"Reward against KL: at {level['level']:g} nats {decided} of {compared} methods are above {base}"


def main_level(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The level with the most comparisons, the largest of equals."""
    levels = found["levels"]
    return max(levels, key=lambda one: (sum(map(len, sides(found, one).values())), one["level"]))


def sides(found: Mapping[str, Any], level: Mapping[str, Any]) -> dict[str, list[str]]:
    """The methods whose difference from the reference is above 0, below 0 or undecided, each as `PPO (+0.3, 0.1 to
    0.5)`. A difference without an interval counts nowhere."""
    out: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for row in level["rows"]:
        if (one := row["difference"]) and one["low"] is not None:
            out[wording.verdict(one)].append(f"{found['labels'][row['name']]} ({points(one)})")
    return out


def points(one: Mapping[str, Any]) -> str:
    """A difference with its interval, in points of the judge."""
    return f"{wording.number(one['mean'], 2, signed=True)}, {wording.range_of(one, 2, signed=True)}"


def result_sentences(found: Mapping[str, Any]) -> list[str]:
    """The main results, level by level, and what they say about the literature."""
    base, seeds = found["labels"][found["reference"]], found["plan"]["seeds"]
    start = found["start"]
    lines = []
    if start is not None:
        lines.append(
            f"The start has a gold score of {wording.number(start['gold']['mean'])}. {start['pairs']:,} pairs of its "
            f"completions were labelled; {wording.percent(start['agreed'])} of the labels agree with the judge's "
            "scores, the others are noise. In parentheses are differences of gold scores at the same KL divergence, "
            "paired by seed and prefix, with 95 % intervals."
        )
    for level in found["levels"]:
        if any((parts := sides(found, level)).values()):
            lines.append(f"Compared with {base} at {level['level']:g} nats: " + wording.claims(parts, base))
    lines += literature(found)
    fewest = min((count for count in found["seeds"].values() if count), default=0)
    if fewest < 2:
        lines.append(
            "Of fewer than two seeds there is no interval: points are shown, and nothing is said of differences."
        )
    elif seeds < 5:
        lines.append(
            f"The intervals are over {seeds} seeds of training from one start with one set of pairs, and over "
            "prefixes: they are rather too narrow, and say nothing of other starts or pairs."
        )
    tested = sum(len(part) for level in found["levels"] for part in sides(found, level).values())
    if tested > 1:
        lines.append(f"{tested} differences are tested: one in twenty would be found where there is none.")
    return lines


def literature(found: Mapping[str, Any]) -> list[str]:
    """Whether DPO's frontier lies above PPO's, for PPO on the reward model and on the gold score itself."""
    if found["reference"] != "dpo":
        return []
    lines = []
    for name, scored in (("ppo", "on the reward model"), ("ppo_gold", "on the gold score itself")):
        differences = [
            (level["level"], row["difference"])
            for level in found["levels"]
            for row in level["rows"]
            if row["name"] == name and row["difference"] and row["difference"]["low"] is not None
        ]
        if not differences:
            continue
        verdicts = {wording.verdict(one) for _, one in differences}
        where = wording.listed([f"{points(one)} at {level:g} nats" for level, one in differences])
        lines.append(f"PPO {scored} minus DPO: {where}. {judged(verdicts)}")
    return lines


def judged(verdicts: set[str]) -> str:
    """What PPO's differences from DPO, over the levels, say about the two papers."""
    if verdicts == {"worse"}:
        return f"This agrees with {FIGURE_2}; it disagrees with {SUPERIOR}."
    if verdicts == {"better"}:
        return f"This disagrees with {FIGURE_2}; it agrees with {SUPERIOR}."
    if {"better", "worse"} <= verdicts:
        return f"Which is above depends on the KL divergence: this agrees neither with {FIGURE_2}, nor with {SUPERIOR}."
    if "worse" in verdicts:
        return f"Where it is decided it agrees with {FIGURE_2}, and elsewhere the intervals contain zero."
    if "better" in verdicts:
        return f"Where it is decided it disagrees with {FIGURE_2}, and elsewhere the intervals contain zero."
    return f"The intervals contain zero: this decides neither for {FIGURE_2}, nor for {SUPERIOR}."


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What is missing, what failed and what diverged, a sentence each."""
    lines = []
    if found["missing"]:
        count = len(found["missing"])
        some = wording.listed([*found["missing"][:6], *([f"{count - 6} more"] if count > 6 else [])])
        lines.append(f"Missing so far: {some}. The same command with --resume computes them.")
    lines += [f"{label} failed: {reason}" for label, reason in found["failures"].items()]
    for one in found["diverged"]:
        lines.append(
            f"{one['setting']}, seed {one['seed']}, diverged at step {one['step']}: what was measured before is shown."
        )
    return lines + never_computed(found["stopped"])


def displaced(found: Mapping[str, Any]) -> str | None:
    """Of which settings both log-probabilities have fallen, which is called likelihood displacement."""
    known = [row for row in found["ends"] if row["chosen_moved"] is not None]
    if not known:
        return None
    fallen = [row["setting"] for row in known if row["chosen_moved"] < 0 and row["rejected_moved"] < 0]
    if not fallen:
        return "No setting ends with both log-probabilities below the start's."
    return (
        f"At the end both log-probabilities are below the start's for {wording.listed(fallen)}: likelihood "
        "displacement (Razin et al. 2024). These are means over seeds, without intervals."
    )
