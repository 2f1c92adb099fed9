"""One group of runs that learn from comparisons or the true reward, in one process of the study."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import pandas as pd
from gymnasium.spaces import Box

from burnish.experience.control.fixed_cartpole import FIXED_CARTPOLE as FIXED_CARTPOLE  # importing it registers it
from burnish.experience.control.player import Player
from burnish.experience.control.teacher import Actions, Comparisons, Teacher, compared
from burnish.recipes.control.group import FINISHED, RETURNS, RunGroup, play
from burnish.run import RunFolder, write_atomically


@dataclass(frozen=True)
class Variant:
    """One source of rewards; the environment if `comparisons` is None."""

    name: str
    label: str
    comparisons: Comparisons | None

    @property
    def labels(self) -> int:
        return self.comparisons.labels if self.comparisons else 0

    def as_dict(self) -> dict[str, Any]:
        """Its options as plain data."""
        if self.comparisons is None:
            return {"reward": "true"}
        knobs = asdict(self.comparisons)
        predictor = knobs.pop("predictor")
        return knobs | predictor | {"hidden": ",".join(map(str, predictor["hidden"]))}


@dataclass(frozen=True)
class VariantGroup(RunGroup):
    """Runs `first` … `last` of one variant, in lockstep. Its `method` is PPO under the variant's label."""

    variant: Variant

    @property
    def name(self) -> str:
        return f"{self.variant.name}-{self.first:02d}-{self.last:02d}"

    def as_dict(self) -> dict[str, Any]:
        beside = ("variant", "method", "wrappers", "steps", "track", "quiet", "earlier")
        own = {key: value for key, value in vars(self).items() if key not in beside}
        own |= {"hidden": ",".join(map(str, self.hidden)), "env_options": dict(self.env_options)}
        return own | {"variant": self.variant.name, "comparisons": self.variant.as_dict(), "ppo": self.method.as_dict()}


def run_variant(group: VariantGroup, folder: Path, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Train the group's runs to the end and write down their episodes; what `group.json` says.

    `progress` is called now and then with how many of the group's episodes have ended.
    """
    began = time.perf_counter()
    with RunFolder.open(folder) as run:
        run.claim(group.as_dict())
        player, teacher = learn(group, run, progress)
        table = [asdict(episode) for episode in player.ledger.finished if episode.run not in player.failed]
        frame = pd.DataFrame(table, columns=["run", "episode", "return_", "length", "steps"])
        frame = frame.rename(columns={"return_": "return"}).sort_values(["run", "episode"])
        frame.insert(0, "variant", group.variant.name)
        frame.insert(1, "labels", group.variant.labels)
        write_atomically(run.path / RETURNS, frame.to_parquet(index=False))
        measured = teacher.measured if teacher else {}
        by_number = lambda values: {str(number): value for number, value in sorted(values.items())}  # noqa: E731
        found = {
            "seconds": round(time.perf_counter() - began, 3),
            "failed": by_number(player.failed),
            "measured": by_number(measured),
        }
        write_atomically(run.path / FINISHED, json.dumps(found) + "\n")  # last: it says that the group is finished
    return found


def learn(group: VariantGroup, run: RunFolder, progress: Callable[[int], None] | None) -> tuple[Player, Teacher | None]:
    """The group's runs through the loop, until each has had its episodes."""
    if (knobs := group.variant.comparisons) is None:
        return play(group, run, progress)[0], None
    teacher = Teacher(knobs, actions_of(group.env), group.seeds, group.first)
    return play(group, run, progress, lambda stream, player: compared(stream, teacher))[0], teacher


def actions_of(env: str) -> Actions:
    """The encoding of this environment's actions for a predictor."""
    made = gymnasium.make(env)
    space = made.action_space
    made.close()
    return Actions(0, space.low, space.high) if isinstance(space, Box) else Actions(int(space.n))  # type: ignore[attr-defined]
