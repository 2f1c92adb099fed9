"""What the study of distillation counts in each text, its intervals, and its table."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.evaluation.english import fluencies, spelled
from burnish.evaluation.statistics import clustered_interval
from burnish.evaluation.text import ngrams, words
from burnish.policies.language.policy import LanguagePolicy

CUT = 24
"""Words of a text that are compared apart, because longer texts are easier to foresee and repeat more."""

STUDENTS = {"text": "text alone", "taught": "text, then on-policy", "before": "before on-policy"}
MEASURES = {
    "per_byte": ("perplexity per byte of people's reviews", "{:.3f}"),
    "nats": ("SmolLM2's nats per token", "{:.2f}"),
    "nats_cut": (f"the same of the first {CUT} words", "{:.2f}"),
    "invented": ("words that do not exist, %", "{:.2f}"),
    "distinct_2": ("distinct-2", "{:.3f}"),
    "distinct_2_cut": (f"the same of the first {CUT} words", "{:.3f}"),
    "words": ("words per text", "{:.1f}"),
}
Cells = NDArray[np.float64]


def cells_of(
    prompts: Sequence[str], texts: Sequence[str], exists: Callable[[str], bool], judge: LanguagePolicy
) -> dict[str, Any]:
    """What the measures are made of, text by text: a numerator and a denominator each.

    As in `burnish.recipes.writing.measure.properties`: nats are those of whole texts, the rest is of what follows the
    prompts.
    """
    after = [text.removeprefix(prompt) for text, prompt in zip(texts, prompts, strict=True)]
    each = [list(spelled(text)) for text in after]
    missing = [100 * sum(not exists(word) for word in found) for found in each]
    cut = [" ".join(text.split()[:CUT]) for text in texts]
    return {
        "nats": list(map(list, zip(*fluencies(judge, texts), strict=True))),
        "nats_cut": list(map(list, zip(*fluencies(judge, cut), strict=True))),
        "invented": [missing, [len(found) for found in each]],
        "words": [[len(words(text)) for text in after], [1] * len(after)],
        "after": after,
        "after_cut": [" ".join(text.split()[:CUT]) for text in after],
    }


# Intervals -----------------------------------------------------------------------------------------------------------


def influences(name: str, students: Sequence[Mapping[str, Any]]) -> tuple[float, Cells]:
    """A measure over a student's seeds, and by how much each seed's text moves it, `[seeds, texts]`, on average 0.

    A ratio of sums R = ΣA/ΣB is moved by (a − R·b)/mean(B), to first order. Distinct-2 is moved by n − 1 times what it
    loses without the text; it is the mean of the seeds' own.
    """
    if name.startswith("distinct_2"):
        found = [distinct(student["after" + name.removeprefix("distinct_2")]) for student in students]
        value = float(np.mean([one for one, _ in found]))
        return value, np.stack([moved + one - value for one, moved in found])
    pairs = np.array([student[name] for student in students], dtype=float)
    above, below = pairs[:, 0], pairs[:, 1]
    value = above.sum() / below.sum()
    moved = (above - value * below) / below.mean()
    return (float(np.exp(value)), np.exp(value) * moved) if name == "per_byte" else (float(value), moved)


def distinct(texts: Sequence[str]) -> tuple[float, Cells]:
    """`burnish.evaluation.text.distinct_n` of 2-grams, and by how much each text moves it, on average 0."""
    each = [Counter(ngrams(words(text), 2)) for text in texts]
    total = sum(each, Counter[tuple[str, ...]]())
    value = len(total) / total.total()
    lost = np.array([sum(total[gram] == count for gram, count in own.items()) for own in each], dtype=float)
    without = (len(total) - lost) / (total.total() - np.array([own.total() for own in each]))
    moved = (len(texts) - 1) * (value - without)
    return value, moved - moved.mean()


def intervals(seeds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each measure its value and 95 % interval, over texts and seeds: of each student, of people, and of the
    difference of the second arm to the first, paired by texts and seeds."""
    found: dict[str, dict[str, Any]] = {}
    for name in MEASURES:
        each = {arm: influences(name, [seed["students"][arm] for seed in seeds]) for arm in STUDENTS}
        if name != "per_byte":
            each["people"] = influences(name, [seeds[0]["people"]])
        rows = {arm: clustered_interval(value + moved).as_dict() for arm, (value, moved) in each.items()}
        (one, moved_one), (other, moved_other) = each["text"], each["taught"]
        rows["difference"] = clustered_interval(other - one + moved_other - moved_one).as_dict()
        found[name] = rows
    return found


# Tables --------------------------------------------------------------------------------------------------------------


def shown(found: Mapping[str, Any]) -> str:
    """The study's two tables in Markdown."""
    columns = {**STUDENTS, "people": "people", "difference": "on-policy minus text"}
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, (title, form) in MEASURES.items():
        rows = found["intervals"][name]
        cells = [interval(rows.get(column), form, column == "difference") for column in columns]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "| seed | stage | updates | tokens learned from | CPU minutes |", "|---|---|---:|---:|---:|"]
    for seed, one in found["seeds"].items():
        for stage, cost in one["costs"].items():
            numbers = f"{cost['steps']:,} | {cost['tokens']:,} | {cost['seconds'] / 60:.1f}"
            lines.append(f"| {seed} | {stage} | {numbers} |")
        for arm, minutes in spent(one["costs"]).items():
            lines.append(f"| {seed} | **{STUDENTS[arm]}** | | | {minutes:.1f} |")
    return "\n".join(lines)


def spent(costs: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The CPU minutes of each arm, the common stage included."""
    stages = {"text": ("shared", "text"), "taught": ("shared", "before", "taught")}
    return {arm: sum(costs[name]["seconds"] for name in names) / 60 for arm, names in stages.items()}


def interval(one: Mapping[str, float] | None, form: str, signed: bool = False) -> str:
    """A value with the ends of its interval."""
    if one is None:
        return ""
    shape = form.replace("{:", "{:+") if signed else form
    mean, low, high = (shape.format(one[key]).replace("-", "−") for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def rows_table(found: Sequence[Mapping[str, Any]]) -> str:
    """What the rows of an embedding cost, in Markdown."""
    head = "| rows | their parameters | of all | bfloat16 file | in training | CPU s per update | their share |"
    lines = [head, "|---:" * 7 + "|"]
    for one in found:
        own = one["embedding"]
        cells = [f"{one['rows']:,}", f"{own / 1e6:.1f} M", f"{own / one['parameters']:.0%}", f"{2 * own / 1e6:.1f} MB"]
        cells += [f"{16 * own / 1e6:.0f} MB", f"{one['seconds']:.2f}", f"{one['share']:.0%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
