"""What a run needs to resume to the same bits: weights, optimizer, and its state.

Random streams and the position in the data are pure functions of seed and step, so only the step is saved for them.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.training import checkpoint

BEST = "checkpoints/best"


@dataclass
class State:
    """The state of a run: updates made, batches drawn, tokens seen, and what the experience and the algorithm carry.

    `unlogged` has the sum and the number of the values of each metric since the last row of `metrics.jsonl`;
    `best_loss` and `evaluations_since_best` are for early stopping.
    """

    step: int = 0
    batches: int = 0
    num_tokens: int = 0
    experience: dict[str, float] = field(default_factory=dict)
    algorithm: dict[str, float] = field(default_factory=dict)
    unlogged: dict[str, list[float | int]] = field(default_factory=dict)
    best_loss: float = math.inf
    evaluations_since_best: int = 0


def save(run: RunFolder, models: Models, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Write a checkpoint: weights, optimizer, state, and the lengths of the run's files."""
    slots = dict(flattened(optimizer.state_dict()["state"], "optimizer"))
    tensors = weights(models) | {name: value for name, value in slots.items() if isinstance(value, torch.Tensor)}
    numbers = {name: value for name, value in slots.items() if name not in tensors}  # bitsandbytes counts its steps
    values = vars(state) | {"offsets": run.offsets()} | ({"optimizer": numbers} if numbers else {})
    checkpoint.save(run.path / "checkpoints", state.step, tensors, values)


def restore(run: RunFolder, models: Models, optimizer: torch.optim.Optimizer, warn: Callable[[str], None]) -> State:
    """Restore the newest intact checkpoint, the run's files included; a fresh State without one."""
    found = checkpoint.latest(run.path / "checkpoints", warn)
    if found is None:
        run.rewind({})
        return State()
    load_parameters(models, found.tensors)
    values = dict(found.state)
    slots = {name: value for name, value in found.tensors.items() if name.startswith("optimizer/")}
    by_name = nested(slots | values.pop("optimizer", {})).get("optimizer", {})
    by_index = {int(index): slot for index, slot in by_name.items()}
    optimizer.load_state_dict({"state": by_index, "param_groups": optimizer.state_dict()["param_groups"]})
    run.rewind(values.pop("offsets"))
    return State(**values)


def flattened(tree: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings under their path, such as `optimizer/0/step`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}/{key}")
        else:
            yield f"{prefix}/{key}", value


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The nested mappings whose leaves are these: what `flattened` took apart."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *branches, leaf = path.split("/")
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        place[leaf] = value
    return tree


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
    checkpoint.save(run.path / BEST, step, weights(models), {}, keep=1)


def load_best(run: RunFolder, models: Models) -> None:
    """Load the best weights. Raises UserError where they are damaged or missing."""
    found = checkpoint.latest(run.path / BEST, lambda sentence: None)
    if found is None:
        raise UserError(f"{run.path / BEST} with the best weights is missing: restore it, or train in another --out")
    load_parameters(models, found.tensors)
