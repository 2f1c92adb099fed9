"""What a run needs to resume to the same bits: weights, optimizer, and its state.

Random streams and the position in the data are pure functions of seed and step, so only the step is saved for them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.run.folder import encoded
from burnish.training import checkpoint

BEST, OPTIMIZER = "checkpoints/best", "optimizer/"
EVALUATED = "eval_"
"""What the names of metrics on evaluation data begin with."""


@dataclass
class State:
    """The state of a run: updates made, batches drawn, tokens seen, and what the experience and the algorithm carry.

    `best_loss`, `best_step` and `evaluations_since_best` are of the best evaluation and for early stopping. `cut` says
    that the run ended in the middle of a batch's updates, which a longer run would finish first. `ending` is empty
    unless the last evaluation was made only because the run ended: then it has that step's record, and how the fields
    of the best evaluation were before.
    """

    step: int = 0
    batches: int = 0
    num_tokens: int = 0
    experience: dict[str, float] = field(default_factory=dict)
    algorithm: dict[str, float] = field(default_factory=dict)
    best_loss: float = math.inf
    evaluations_since_best: int = 0
    best_step: int = 0
    cut: bool = False
    ending: dict[str, Any] = field(default_factory=dict)


def save(run: RunFolder, models: Models, optimizer: torch.optim.Optimizer, state: State, keep: int = 2) -> None:
    """Write a checkpoint: weights, optimizer, state, and the lengths of the run's files. The newest `keep` are kept.

    A record that a longer run would have had without its evaluation is in the state, and left out of the lengths.
    """
    tensors = weights(models)
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}/{name}": value for name, value in values.items()}
    offsets = run.offsets()
    if state.ending:
        offsets["metrics"] -= len(encoded(state.ending["record"]))
    checkpoint.save(run.path / "checkpoints", state.step, tensors, vars(state) | {"offsets": offsets}, keep)


def restore(
    run: RunFolder,
    models: Models,
    optimizer: torch.optim.Optimizer,
    warn: Callable[[str], None],
    steps: int | float | None = None,
) -> State:
    """Restore the newest intact checkpoint, the run's files included; a fresh State without one.

    Where the run is to have more `steps` than it ended with, everything is as it was in the middle of a run of that
    length.
    """
    folder = run.path / "checkpoints"
    found = checkpoint.latest(folder, warn)
    while found is not None and steps is not None and steps > found.step and found.state.get("cut"):
        found = checkpoint.latest(folder, warn, before=found.step)
    if found is None:
        run.rewind({})
        return State()
    load_parameters(models, found.tensors)
    load_optimizer(optimizer, found)
    values = dict(found.state)
    run.rewind(values.pop("offsets"))
    state = State(**values)
    if state.ending:
        record, longer = state.ending["record"], steps is not None and steps > state.step
        run.append("metrics", without_evaluation(record) if longer else record)
        if longer:
            before = {key: value for key, value in state.ending.items() if key != "record"}
            state = replace(state, **before, ending={})
            checkpoint.remove_after(run.path / BEST, state.best_step)
    return state


def load_optimizer(optimizer: torch.optim.Optimizer, found: checkpoint.Checkpoint) -> None:
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in found.tensors.items():
        if name.startswith(OPTIMIZER):
            _, index, key = name.split("/")
            slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def start_from(run: Path, models: Models, optimizer: torch.optim.Optimizer, warn: Callable[[str], None]) -> None:
    """Give the optimizer the state that it had at the end of another run, whose weights the models have.

    Raises UserError where that run has no such state: it saved none, or for other parameters or other weights.
    """
    advice = f"give --model {run} in place of --from to start from its weights alone"
    found = checkpoint.newest(run / "checkpoints", warn)
    if found is None:
        raise UserError(f"{run} has no checkpoint with its optimizer's state: {advice}")
    own, theirs = weights(models), {name for name in found.tensors if not name.startswith(OPTIMIZER)}
    if different := sorted(own.keys() ^ theirs):
        raise UserError(f"{run} trained other parameters ({different[0]} is in one of the two): {advice}")
    for name, parameter in own.items():
        before = found.tensors[name]
        if before.dtype != parameter.dtype or not torch.equal(before, parameter.cpu()):
            raise UserError(
                f"{run} ended with other weights than this run begins with ({name}), as where it kept its best ones or "
                f"the dtype differs, so its optimizer's state does not belong to them: {advice}"
            )
    load_optimizer(optimizer, found)


def without_evaluation(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if not key.startswith(EVALUATED)}


def weights(models: Models) -> dict[str, torch.Tensor]:
    """Every trained parameter by part and name, such as `policy/…`."""
    trained = models.trained().items()
    return {f"{part}/{name}": p.detach() for part, model in trained for name, p in model.parameters().items()}


@torch.no_grad()
def load_parameters(models: Models, tensors: dict[str, torch.Tensor]) -> None:
    for name, parameter in weights(models).items():
        parameter.copy_(tensors[name])


def save_best(run: RunFolder, models: Models, step: int) -> None:
    """Save the weights of the best evaluation so far, with a checksum like any checkpoint.

    Those before are kept too: a longer run would not make the evaluation at this one's end.
    """
    checkpoint.save(run.path / BEST, step, weights(models), {}, keep=2)


def load_best(run: RunFolder, models: Models, state: State) -> None:
    """Load the weights of the best evaluation. Raises UserError where they are damaged or missing."""
    wanted = state.best_step  # 0 where an older version saved the state: it kept the best alone
    found = checkpoint.latest(run.path / BEST, lambda sentence: None, before=wanted + 1 if wanted else math.inf)
    if found is None or (wanted and found.step != wanted):
        raise UserError(f"{run.path / BEST} with the best weights is missing: restore it, or train in another --out")
    load_parameters(models, found.tensors)
