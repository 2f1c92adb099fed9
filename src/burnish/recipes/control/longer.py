"""Going on with the training of finished runs, for more episodes.

A finished group's folder is moved aside, a new one is computed from it, and then it is removed; a kill in between loses
nothing. What training goes on from is the run's: weights, optimizer, statistics, and what the algorithm carries. Two
things are not what they were in one long training, because an environment cannot be saved: it starts with new episodes,
from random streams of their own, and the rollout in which the last episode ended was not learned from. Runs that end
after a number of steps cannot go on: their last episodes did not end, and are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from burnish.experience.control.player import OBSERVATIONS, REWARDS, Player
from burnish.experience.control.saved import TRAINING, WEIGHTS, read_policies, read_tensors
from burnish.experience.control.trained import load_statistics
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError, make_folder, read_jsonl, read_mapping, remove_folder_atomically
from burnish.training.control.lockstep import below
from burnish.training.resume import State

GROUPS, FINISHED, CONFIG = "groups", "group.json", "config.yaml"
EARLIER = "earlier"
"""The folder beside `groups` with the groups that are going on."""


class Goes(Protocol):
    """A learner that goes on from what it was."""

    def load_named(self, saved: Sequence[dict[str, torch.Tensor]]) -> None: ...


@dataclass(frozen=True)
class Earlier:
    """A finished group that a longer training goes on from: its folder, and its episodes, updates and seconds.

    `updates` is the largest number of updates of a run.

    `parts` are the numbers of episodes after which training went on, this one's included.
    """

    folder: Path
    parts: tuple[int, ...]
    updates: int
    seconds: float

    @property
    def episodes(self) -> int:
        return self.parts[-1]

    def seeds(self, seeds: Sequence[int]) -> list[int]:
        """Seeds for streams that have nothing in common with those of the first `episodes`."""
        return [seed + (self.episodes << 64) for seed in seeds]


@torch.no_grad()
def continued(earlier: Earlier, models: Models, player: Player, learner: Goes) -> State:
    """Give new models, player and learner what the runs ended with, and return the loop's state."""
    names = player.ledger.names.tolist()
    saved = read_policies(earlier.folder)
    weights, kept = (read_tensors(earlier.folder, file, names) for file in (WEIGHTS, TRAINING))

    def stacked(prefix: str, among: dict[int, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        parts = [below(prefix, among[number]) for number in names]
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    trained: dict[str, Any] = models.trained()
    for part, model in trained.items():
        model.load_named(stacked(f"{part}/", weights))
    if player.seen is not None:
        load_statistics(player.seen, stacked(OBSERVATIONS, weights))
    if player.earned is not None:
        load_statistics(player.earned, stacked(REWARDS, kept))
    learner.load_named([kept[number] for number in names])
    player.ledger.begun[:] = player.ledger.ended[:] = earlier.episodes
    player.ledger.steps[:] = [saved.runs[number]["steps"] for number in names]
    return State(step=earlier.updates)


def keep_records(earlier: Earlier, run: RunFolder) -> None:
    """Write the earlier lines of metrics and times into a new folder, but for those of a rollout in which the last
    episode ended, from which no run has learned."""
    for name in ("metrics", "timings"):
        path = earlier.folder / f"{name}.jsonl"
        for record in read_jsonl(path) if path.is_file() else []:
            if record["step"] <= earlier.updates:
                run.append(name, record)


def going_on(
    run: RunFolder,
    episodes: int | None,
    names: Sequence[str],
    replaying: Sequence[str] = (),
    *,
    steps: int | None = None,
) -> None:
    """Claim a finished experiment for more `episodes` than it had; `replaying` are its algorithms with replay buffers.

    Raises UserError where there is one, its groups of these names are not all finished, some of their runs failed, it
    is to have fewer episodes, or its runs end, or are to end, after a number of `steps`.
    """
    claimed = run.claimed()
    had, spent = claimed.get("episodes"), claimed.get("steps")
    if (had, spent) == (episodes, steps):
        return
    if spent is not None:
        raise UserError(
            f"{run.path} was begun with {'no number of' if had is None else had} episodes, and its runs end after "
            f"{spent} steps, when their last episodes have not ended, so they cannot go on with more: resume with the "
            "same episodes and steps, or choose another --out"
        )
    if had is None or episodes is None or steps is not None:
        raise UserError(
            f"{run.path} was begun with {had} episodes and no number of steps, and can go on with more episodes alone: "
            "leave out --steps and give --episodes, or choose another --out"
        )
    if had > episodes:
        raise UserError(
            f"{run.path} was begun with {had} episodes: give more to go on with it, or choose another --out"
        )
    if replaying:
        raise UserError(
            f"{replaying[0]} cannot go on with more episodes, because its replay buffer is not saved: choose another "
            "--out"
        )
    for name in names:
        folder = run.path / GROUPS / name
        if not is_finished(folder) or episodes_of(folder) != had:
            raise UserError(
                f"{run.path} is not finished, and only a finished run can go on: use --resume --episodes {had} first"
            )
        if failed := read_mapping(folder / FINISHED)["failed"]:
            raise UserError(
                f"run {next(iter(failed))} of {folder} failed, so the runs cannot go on: choose another --out"
            )
        for file in (WEIGHTS, TRAINING):
            read_tensors(folder, file, [])
    run.write_config(run.claimed() | {"episodes": episodes})


def earlier_of(run: Path, name: str, episodes: int | None) -> Earlier | None:
    """What the group of this name goes on from, moved aside; None where it begins anew, or has its episodes.

    A group some of whose runs failed after it went on keeps what it went on from, because it is computed again.
    """
    folder, aside = run / GROUPS / name, run / EARLIER / name
    if is_finished(folder) and episodes_of(folder) != episodes and not aside.exists():
        make_folder(aside.parent)
        folder.rename(aside)
    if not is_finished(aside):
        return None
    found = read_mapping(aside / FINISHED)
    parts = (*found.get("went_on_after", ()), episodes_of(aside) or 0)
    return Earlier(aside, parts, max(found["updates"].values()), float(found["seconds"]))


def tidy(run: Path, names: Sequence[str]) -> None:
    """Remove what was moved aside of the groups that are finished and had no run that failed."""
    for name in names:
        folder, aside = run / GROUPS / name, run / EARLIER / name
        if aside.exists() and is_finished(folder) and not read_mapping(folder / FINISHED)["failed"]:
            remove_folder_atomically(aside)
    if (run / EARLIER).exists() and not any((run / EARLIER).iterdir()):
        (run / EARLIER).rmdir()


def is_finished(folder: Path) -> bool:
    return (folder / FINISHED).is_file()


def episodes_of(folder: Path) -> int | None:
    """The episodes per run that a group was computed with."""
    return read_mapping(folder / CONFIG).get("episodes")
