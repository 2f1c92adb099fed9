"""What the groups of `burnish classic` say of themselves beside their episodes: times, updates, failures, warnings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.evaluation.returns import label
from burnish.recipes.control.compute import finished, outcome
from burnish.recipes.control.settings import Experiment

NEVER = "the returns of {} are those of an untrained policy, because it made no update in any of its runs"


@dataclass(frozen=True)
class Facts:
    """By algorithm: seconds, the numbers of updates of the runs that did not fail, and how many failed."""

    seconds: dict[str, float] = field(default_factory=dict)
    updates: dict[str, list[int]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    cautions: list[str] = field(default_factory=list)

    def never(self) -> list[str]:
        """The algorithms that have learned nothing."""
        return [name for name, counts in self.updates.items() if counts and not any(counts)]

    def added_to(self, found: Mapping[str, Any], env: str) -> dict[str, Any]:
        """The summary with what a reader has to know before its numbers."""
        models = {name: one | {"updates_per_run": self.updates[name]} for name, one in found["algorithms"].items()}
        never = [NEVER.format(label(name)) for name in models if name in self.never()]
        said = [f"{env}: {caution}" for caution in self.cautions]
        failed = {label(name): count for name, count in self.failed.items() if count}
        return {**found, "algorithms": models, "failed": failed, "warnings": never + said}


def facts_of(groups: Sequence[Any], folder: Path) -> Facts:
    """The facts of the groups in `folder` that have ended, algorithms in their usual order."""
    facts = Facts()
    for group in reversed(groups):
        if not finished(folder / group.name):
            continue
        name, own = group.method.name, outcome(folder / group.name)
        facts.seconds[name] = round(facts.seconds.get(name, 0.0) + own["seconds"], 3)
        counts = [count for run, count in own.get("updates", {}).items() if run not in own["failed"]]
        facts.updates[name] = counts + facts.updates.get(name, [])
        facts.failed[name] = facts.failed.get(name, 0) + len(own["failed"])
        if own.get("caution") and not facts.cautions:
            facts.cautions.append(own["caution"])
    return facts


def advice(plan: Experiment, name: str) -> str:
    """How an algorithm gets to its first update."""
    (chosen,) = (method for method in plan.methods if method.name == name)
    control = chosen.control
    if chosen.algorithm.replays:
        return (
            f"its updates begin after learning_starts = {control.learning_starts:,} steps, and its runs ended before: "
            "give more episodes or steps, or lower learning_starts or train_freq"
        )
    if control.rollout is None:
        return "it learns from whole episodes, and not from a run's last ones: give more of them"
    size = control.copies * control.rollout
    return (
        f"it learns from {control.copies} × {control.rollout} = {size:,} steps at a time, and its runs ended before: "
        "give more episodes or steps, or lower copies or rollout"
    )
