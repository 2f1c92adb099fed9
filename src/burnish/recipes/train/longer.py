"""More steps for a run: `--resume --steps N` ends as a run of N steps would have, to the same bits.

And `--from RUN`, a new run with the weights and the optimizer's state that another ended with.
"""

import dataclasses
from pathlib import Path

import torch

from burnish.config import Settings
from burnish.recipes.train.models import say
from burnish.run import RunFolder, UserError, damage, read_mapping, remove_folder_atomically, write_atomically
from burnish.run.checksums import SUMS, check_metrics, unfinished
from burnish.run.folder import CONFIG
from burnish.training.language.schedule import schedule

LENGTH = frozenset({"steps", "epochs"})
"""The settings that a resumed run may change so that it gets longer."""


def as_begun(run: RunFolder, settings: Settings) -> Settings:
    """The settings with the length that the run began with."""
    if not run.resumed:
        return settings
    saved = run.claimed()
    return dataclasses.replace(settings, **{key: saved.get(key, getattr(settings, key)) for key in LENGTH})


def is_complete(run: RunFolder, settings: Settings) -> bool:
    """Whether the run has its model, as it was written.

    One that is damaged is written again from the last checkpoint; raises UserError where there is none.
    """
    model = run.path / "model"
    if not model.exists() or as_begun(run, settings) != settings or unfinished(run.path):
        return False
    check_metrics(run.path)
    if (problem := damage(run.path)) is None:
        return True
    if not any((run.path / "checkpoints").glob("step-*")):
        raise UserError(
            f"{problem}, and there is no checkpoint to write it again from: restore it, or delete {model} to train "
            "again with --resume"
        )
    say(settings, f"{problem}; the model is written again from the last checkpoint")
    return False


def check_longer(run: RunFolder, begun: Settings, before: int, settings: Settings, steps: int) -> None:
    """Raise UserError where a run of `before` steps is no beginning of one of `steps`: it is shorter, or a learning
    rate depends on the number of steps."""
    advice = f"give another --out, with --from {run.path} to start from its weights and its optimizer's state"
    if steps < before:
        raise UserError(f"{run.path} is a run of {before} steps, which cannot become one of {steps}: {advice}")
    if steps == before:
        return
    had, would = rates(begun, before), rates(settings, steps)
    for step, (one, other) in enumerate(zip(had, would, strict=False), start=1):
        if one != other:
            raise UserError(
                f"{run.path} cannot go on to {steps} steps: its schedule ({settings.schedule}) depends on the number "
                f"of steps, and the learning rate of step {step} would be {other:.6g} in place of {one:.6g}; {advice}"
            )


def rates(settings: Settings, steps: int) -> list[float]:
    """The learning rate of each step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rate = schedule(optimizer, settings, steps)
    return [rate(step) for step in range(steps)]


def reopen(run: RunFolder, settings: Settings, keep: bool) -> None:
    """Make a run longer: from now on its configuration has the length of `settings`, and it is no finished run.

    Its model is there until that of the longer run takes its place; its checkpoints only with `keep`.
    """
    write_atomically(run.path / SUMS, "")
    if not keep and (run.path / "checkpoints").exists():
        remove_folder_atomically(run.path / "checkpoints")
    run.write_config(run.claimed() | {key: getattr(settings, key) for key in sorted(LENGTH)})


def check_finished(run: Path, settings: Settings) -> None:
    """Raise UserError where `run` is not the folder of a finished run, or had another optimizer."""
    if not (run / CONFIG).exists():
        raise UserError(f"--from {run} is not a run folder: give the --out of a finished run")
    if not (run / "model").exists() or unfinished(run):
        raise UserError(f"--from {run} is an unfinished run: finish it with --resume first")
    theirs = read_mapping(run / CONFIG).get("optimizer", Settings.optimizer)
    if theirs != settings.optimizer:
        raise UserError(
            f"--from {run} has the state of another optimizer: set --optimizer {theirs}, or give --model {run} in "
            "place of --from"
        )
