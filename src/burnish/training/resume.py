"""What a run needs to go on to the same bits: its weights, its optimizer and where it stood.

Random streams and the position in the data are pure functions of seed and step, so the step is all that there is to
know of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from burnish.policies.interface import Models
from burnish.run import RunFolder, write_atomically
from burnish.training import checkpoint

BEST = "checkpoints/best.safetensors"


@dataclass
class State:
    """Where a run stands; `best_loss` and what follows serve early stopping."""

    step: int = 0
    num_tokens: int = 0
    best_loss: float = math.inf
    evaluations_since_best: int = 0


def save(run: RunFolder, models: Models, optimizer: torch.optim.Optimizer, state: State) -> None:
    """One checkpoint: weights, optimizer, and how far the run's files had got."""
    tensors = {f"model/{name}": p.detach() for name, p in models.policy.parameters().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
    checkpoint.save(run.path / "checkpoints", state.step, tensors, vars(state) | {"offsets": run.offsets()})


def restore(run: RunFolder, models: Models, optimizer: torch.optim.Optimizer, warn: Callable[[str], None]) -> State:
    """Go back to the newest sound checkpoint, run files included; a fresh State where there is none."""
    found = checkpoint.latest(run.path / "checkpoints", warn)
    if found is None:
        run.rewind({})
        return State()
    load_parameters(models, {k.removeprefix("model/"): v for k, v in found.tensors.items() if k.startswith("model/")})
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in found.tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    values = dict(found.state)
    run.rewind(values.pop("offsets"))
    return State(**values)


@torch.no_grad()
def load_parameters(models: Models, tensors: dict[str, torch.Tensor]) -> None:
    for name, parameter in models.policy.parameters().items():
        parameter.copy_(tensors[name])


def save_best(run: RunFolder, models: Models) -> None:
    """Keep the weights of the best evaluation so far."""
    tensors = {name: p.detach().contiguous() for name, p in models.policy.parameters().items()}
    (run.path / BEST).parent.mkdir(exist_ok=True)
    write_atomically(run.path / BEST, to_bytes(tensors))


def load_best(run: RunFolder, models: Models) -> None:
    load_parameters(models, load_file(run.path / BEST))
