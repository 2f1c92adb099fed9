"""What a run needs to resume to the same bits: weights, optimizer, and its state.

Random streams and the position in the data are pure functions of seed and step, so only the step is saved for them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.training import checkpoint

BEST = "checkpoints/best"


@dataclass
class State:
    """The state of a run: updates made, batches drawn, tokens seen, and what the experience and the algorithm carry.

    `best_loss` and `evaluations_since_best` are for early stopping.
    """

    step: int = 0
    batches: int = 0
    num_tokens: int = 0
    experience: dict[str, float] = field(default_factory=dict)
    algorithm: dict[str, float] = field(default_factory=dict)
    best_loss: float = math.inf
    evaluations_since_best: int = 0


def save(run: RunFolder, models: Models, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Write a checkpoint: weights, optimizer, state, and the lengths of the run's files."""
    tensors = weights(models)
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
    checkpoint.save(run.path / "checkpoints", state.step, tensors, vars(state) | {"offsets": run.offsets()})


def restore(run: RunFolder, models: Models, optimizer: torch.optim.Optimizer, warn: Callable[[str], None]) -> State:
    """Restore the newest intact checkpoint, the run's files included; a fresh State without one."""
    found = checkpoint.latest(run.path / "checkpoints", warn)
    if found is None:
        run.rewind({})
        return State()
    load_parameters(models, found.tensors)
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in found.tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    values = dict(found.state)
    run.rewind(values.pop("offsets"))
    return State(**values)


def weights(models: Models) -> dict[str, torch.Tensor]:
    """Every trained parameter by part and name, such as `policy/…`."""
    trained = models.trained().items()
    return {f"{part}/{name}": p.detach() for part, model in trained for name, p in model.parameters().items()}


@torch.no_grad()
def load_parameters(models: Models, tensors: dict[str, torch.Tensor]) -> None:
    for name, parameter in weights(models).items():
        parameter.copy_(tensors[name])


def save_best(run: RunFolder, models: Models, step: int) -> None:
    """Save the weights of the best evaluation so far, with a checksum like any checkpoint."""
    run.check_there()
    checkpoint.save(run.path / BEST, step, weights(models), {}, keep=1)


def load_best(run: RunFolder, models: Models) -> None:
    """Load the best weights. Raises UserError where they are damaged or missing."""
    found = checkpoint.latest(run.path / BEST, lambda sentence: None)
    if found is None:
        raise UserError(f"{run.path / BEST} with the best weights is missing: restore it, or train in another --out")
    load_parameters(models, found.tensors)
