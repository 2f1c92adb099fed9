"""What the page of `burnish study frontier` says: nothing that its intervals do not support."""

from collections.abc import Mapping
from typing import Any

from burnish.report import wording
from burnish.report.language.gaps import never_computed, notes

FIGURE_2 = "Rafailov et al. (2023), figure 2, where DPO's frontier lies above PPO's"
TEST = "a paired bootstrap test at 5 %, two-sided, not corrected for the number of tests"
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


def sides(found: Mapping[str, Any], level: Mapping[str, Any], key: str = "difference") -> dict[str, list[str]]:
    """The methods whose difference from the reference, or with the key `rival` from PPO, is above 0, below 0 or
    undecided, each as `PPO (+0.3, 0.1 to 0.5)`, with the number of seeds where it is not of all. A difference without
    an interval counts nowhere."""
    out: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    count = {"difference": "paired", "rival": "rival_paired"}[key]
    for row in level["rows"]:
        if (one := row[key]) and one["low"] is not None:
            few = "" if row[count] >= found["plan"]["seeds"] else f"; {of_seeds(found, row[count])}"
            out[wording.verdict(one)].append(f"{found['labels'][row['name']]} ({points(one)}{few})")
    return out


def of_seeds(found: Mapping[str, Any], count: int) -> str:
    """How many of the study's seeds, in words."""
    return f"{count} of {found['plan']['seeds']} seeds"


def end_seeds(found: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Of how many seeds a setting's end is, and which ones diverged at which step."""
    lost = [f"seed {one['seed']} diverged at step {one['step']}" for one in row["diverged"]]
    return "; ".join([of_seeds(found, row["seeds"]), *lost])


def fewer(found: Mapping[str, Any]) -> list[str]:
    """The methods whose line and rows are not of all seeds, and of how many they are."""
    counts = {found["labels"][name]: count for name, count in found["seeds"].items()}
    return [f"{one}, {of_seeds(found, count)}" for one, count in counts.items() if count < found["plan"]["seeds"]]


def points(one: Mapping[str, Any]) -> str:
    """A difference with its interval, in points of the judge."""
    return f"{wording.number(one['mean'], 2, signed=True)}, {wording.range_of(one, 2, signed=True)}"


def result_sentences(found: Mapping[str, Any]) -> list[str]:
    """The main results, level by level, and what they say about the literature."""
    base = found["labels"][found["reference"]]
    start = found["start"]
    lines = []
    if start is not None:
        lines.append(
            f"The start has a gold score of {wording.number(start['gold']['mean'])}. {start['pairs']:,} pairs of its "
            f"completions were labelled; {wording.percent(start['agreed'])} of the labels agree with the judge's "
            "scores, the others are noise. In parentheses are differences of gold scores at the same KL divergence, "
            "paired by seed and prefix, with 95 % intervals. A difference counts as one where its interval does not "
            f"contain zero: {TEST}."
        )
    for level in found["levels"]:
        if any((parts := sides(found, level)).values()):
            lines.append(f"Compared with {base} at {level['level']:g} nats: " + wording.claims(parts, base))
    lines += same_reward(found)
    lines += literature(found)
    lines += caveats(found)
    keys = ("difference", "rival")
    tested = sum(len(part) for one in found["levels"] for key in keys for part in sides(found, one, key).values())
    if tested > 1:
        lines.append(f"{tested} differences are tested: one in twenty would be found where there is none.")
    return lines


def same_reward(found: Mapping[str, Any]) -> list[str]:
    """The methods that learn from the reward model as PPO does, beside PPO, level by level."""
    if found["rival"] is None:
        return []
    base = found["labels"][found["rival"]]
    return [
        f"On the same reward model, compared with {base} at {level['level']:g} nats: {wording.claims(parts, base)}"
        for level in found["levels"]
        if any((parts := sides(found, level, "rival")).values())
    ]


def caveats(found: Mapping[str, Any]) -> list[str]:
    """What the methods' numbers of seeds allow to say."""
    counts = [count for count in found["seeds"].values() if count]
    lines, enough = [], [count for count in counts if count >= 2]
    if len(enough) < max(1, len(counts)):
        lines.append(
            "Of fewer than two seeds there is no interval: points are shown, and nothing is said of differences."
        )
    if enough and min(enough) < 5:
        few = f"{min(enough)}" if min(enough) == max(enough) else f"{min(enough)} to {max(enough)}"
        planned = f"{few} of {found['plan']['seeds']}" if min(enough) < found["plan"]["seeds"] else few
        lines.append(
            f"The intervals are over {planned} seeds of training from one start with one set of pairs, and over "
            "prefixes: they are rather too narrow, and say nothing of other starts or pairs."
        )
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
    lines += never_computed(found["stopped"])
    return lines + [left_out(found, name, one) for name, one in found["without"].items()]


def figure_notes(found: Mapping[str, Any]) -> list[str]:
    """What the figure by itself says of what it does not have, and that crosses are trainings that diverged."""
    lost = [f"{one['setting']}, seed {one['seed']}, at step {one['step']}" for one in found["diverged"]]
    return notes(found["missing"], [*found["failures"]], found["stopped"], lost, fewer(found))


def left_out(found: Mapping[str, Any], name: str, one: Mapping[str, Any]) -> str:
    """Of how many seeds a method's line and rows are, and without which seeds and settings, because they diverged."""
    label, count = found["labels"][name], found["seeds"][name]
    if not count:
        return f"{label} has no line and no rows: with every seed that is there a training diverged."
    seeds = [f"{seed}" for seed in one["seeds"]]
    parts = [f"without seed{'s' * (len(seeds) > 1)} {wording.listed(seeds)}"] if seeds else []
    if one["settings"]:
        plural = "s" * (len(one["settings"]) > 1)
        parts.append(f"without the setting{plural} {wording.listed(one['settings'])}")
    return (
        f"{label}: its line and its rows at the same KL are of {of_seeds(found, count)}, "
        f"{' and '.join(parts)}, of which trainings diverged."
    )


def displaced(found: Mapping[str, Any]) -> str | None:
    """Of which settings both log-probabilities have fallen, which is called likelihood displacement: as far as their
    intervals over seeds show it."""
    known = [row for row in found["ends"] if row["chosen_moved"] is not None]
    if not known:
        return None
    fallen: list[str] = []
    unsure: list[str] = []
    for row in known:
        both = [row[f"{key}_moved"] for key in ("chosen", "rejected")]
        if all(one["mean"] < 0 for one in both):
            shown = all(one["high"] is not None and one["high"] < 0 for one in both)
            (fallen if shown else unsure).append(row["setting"])
    lines = []
    if fallen:
        lines.append(
            "At the end both log-probabilities are below the start's, each with a 95 % interval over seeds below 0, "
            f"for {wording.listed(fallen)}: likelihood displacement (Razin et al. 2024)."
        )
    if unsure:
        lines.append(
            f"For {wording.listed(unsure)} both means are below the start's, and whether by more than seeds differ is "
            "undecided."
        )
    return " ".join(lines) or "No setting ends with both log-probabilities below the start's."
