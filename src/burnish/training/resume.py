"""What a run needs to resume to the same bits: weights, optimizer, and its state.

Random streams and the position in the data are pure functions of seed and step, so only the step is saved for them.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from burnish.functional.rounding import as_saved
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.run.lines import encoded
from burnish.run.shards import divided_like, gathered
from burnish.training import checkpoint, sharded

BEST, OPTIMIZER, PAST = "checkpoints/best", "optimizer/", "past/"
EVALUATED = "eval_"
"""What the names of metrics on evaluation data begin with."""


@dataclass
class State:
    """The state of a run: updates made, batches drawn, tokens seen, and what the experience and the algorithm carry.

    `unlogged` has the sum and the number of the values of each metric since the last row of `metrics.jsonl`. A sum may
    be a tensor on the device until the state is saved.
    `best_loss`, `best_step` and `evaluations_since_best` are of the best evaluation and for early stopping. `cut` says
    that the run ended in the middle of a batch's updates, which a longer run would finish first. `ending` is empty
    unless the last row, or its evaluation, was made only because the run ended: then it has that row's record, whether
    a longer run would have the row, and how `unlogged` and the fields of the best evaluation were before.
    """

    step: int = 0
    batches: int = 0
    num_tokens: int = 0
    experience: dict[str, float] = field(default_factory=dict)
    algorithm: dict[str, float] = field(default_factory=dict)
    unlogged: dict[str, list[Any]] = field(default_factory=dict)
    best_loss: float = math.inf
    evaluations_since_best: int = 0
    best_step: int = 0
    cut: bool = False
    ending: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Divided(Protocol):
    """An optimizer whose state is divided among the processes, as PyTorch's ZeroRedundancyOptimizer.

    `optim` is the optimizer of the parameters that this process updates.
    """

    optim: torch.optim.Optimizer


@runtime_checkable
class Past(Protocol):
    """Earlier weights that the next turns need."""

    def tensors(self, turn: int) -> dict[str, torch.Tensor]:
        """What a checkpoint holds from which this turn is the next, by name."""
        ...

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take them back from a checkpoint's tensors."""
        ...


def save(
    run: RunFolder,
    models: Models,
    optimizer: torch.optim.Optimizer,
    state: State,
    keep: int = 2,
    past: Past | None = None,
) -> checkpoint.Saving | None:
    """Write a checkpoint: weights, those of the `past`, optimizer, state, and the lengths and checksums of the run's
    files. The newest `keep` are kept.

    A record that a longer run would have had otherwise is in the state, and left out of the lengths. The main process
    writes, and the others wait. Where weights or the optimizer's state are divided, each begins to write its shards,
    and what is returned has to be waited for.
    """
    slots = slots_of(optimizer)
    tensors = weights(models) | {name: value for name, value in slots.items() if isinstance(value, torch.Tensor)}
    numbers = {name: value for name, value in slots.items() if name not in tensors}  # bitsandbytes counts its steps
    tensors |= {} if past is None else {PAST + name: one for name, one in past.tensors(state.batches).items()}
    folder, together = run.path / "checkpoints", models.divided or isinstance(optimizer, Divided)
    values = state_of(run, state, numbers) if run.world.is_main else {}
    if together:
        return checkpoint.Saving(folder, state.step, tensors, values, keep, run.world)
    if run.world.is_main:
        checkpoint.save(folder, state.step, tensors, values, keep)
    run.world.barrier()
    return None


def slots_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the optimizer keeps of each parameter in this process, by a path such as `optimizer/0/step`."""
    if not isinstance(optimizer, Divided):
        return dict(flattened(optimizer.state_dict()["state"], "optimizer"))
    state = optimizer.optim.state
    own = {place: state[p] for place, p in enumerate(parameters_of(optimizer)) if p in state}
    return dict(flattened(own, "optimizer"))


def parameters_of(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """All parameters, in the order in which the state numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def state_of(run: RunFolder, state: State, numbers: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds besides tensors."""
    offsets = run.offsets()
    if state.ending:
        offsets["metrics"] -= len(encoded(state.ending["record"]))
    values = vars(state) | {"offsets": offsets, "digests": run.digests(offsets)}
    return values | ({"optimizer": numbers} if numbers else {})


def restore(
    run: RunFolder,
    models: Models,
    optimizer: torch.optim.Optimizer,
    warn: Callable[[str], None],
    steps: int | float | None = None,
    past: Past | None = None,
) -> State:
    """Restore the newest intact checkpoint, the run's files and the `past` included; a fresh State without one.

    Where the run is to have more `steps` than it ended with, everything is as it was in the middle of a run of that
    length.
    """
    found = run.world.from_main(lambda: whole(run.path / "checkpoints", warn, steps))
    if found is None:
        run.rewind({})
        return State()
    tensors = tensors_of(found, models, optimizer)
    load_parameters(models, tensors)
    load_optimizer(optimizer, found, tensors)
    if past is not None:
        past.restore({name.removeprefix(PAST): one for name, one in tensors.items() if name.startswith(PAST)})
    values = {key: value for key, value in found.state.items() if key != "optimizer"}
    run.rewind(values.pop("offsets"), values.pop("digests", {}))
    state = State(**values)
    if not state.ending:
        return state
    record, has_row = state.ending["record"], state.ending["has_row"]
    if steps is None or steps <= state.step:
        run.append("metrics", record)
        return state
    if has_row:
        run.append("metrics", without_evaluation(record))
    state = replace(state, **state.ending["best"], unlogged={} if has_row else state.ending["unlogged"], ending={})
    if run.world.is_main:
        checkpoint.remove_after(run.path / BEST, state.best_step)
    return state


def whole(folder: Path, warn: Callable[[str], None], steps: int | float | None) -> checkpoint.Checkpoint | None:
    """The newest intact checkpoint; where the run is to have more `steps`, the newest that cut no batch's updates."""
    found = checkpoint.latest(folder, warn)
    while found is not None and steps is not None and steps > found.step and found.state.get("cut"):
        found = checkpoint.latest(folder, warn, before=found.step)
    return found


def tensors_of(
    found: checkpoint.Checkpoint, models: Models, optimizer: torch.optim.Optimizer | None = None
) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint; of one that processes wrote together what this process holds of them."""
    if found.shards is None:
        return found.tensors
    parameters = {} if optimizer is None else dict(enumerate(parameters_of(optimizer)))
    own = weights(models)

    def place(name: str, size: torch.Size, dtype: torch.dtype) -> torch.Tensor | None:
        if name.startswith(PAST):
            return torch.empty(size, dtype=dtype)
        like = parameters.get(int(name.split("/")[1])) if name.startswith(OPTIMIZER) else own[name]
        if like is None:
            return None
        return torch.empty_like(like, dtype=dtype) if size == like.shape else torch.empty(size, dtype=dtype)

    return sharded.read(found.shards, place)


def load_optimizer(
    optimizer: torch.optim.Optimizer, found: checkpoint.Checkpoint, tensors: dict[str, torch.Tensor]
) -> None:
    slots = {name: value for name, value in tensors.items() if name.startswith(OPTIMIZER)}
    by_name = nested(slots | found.state.get("optimizer", {})).get(OPTIMIZER.rstrip("/"), {})
    parameters = parameters_of(optimizer)
    by_index = {
        int(index): {
            key: divided_like(value, parameters[int(index)]) if isinstance(value, torch.Tensor) else value
            for key, value in slot.items()
        }
        for index, slot in by_name.items()
    }
    groups = torch.optim.Optimizer.state_dict(optimizer)["param_groups"]  # a divided one has no state dict yet
    optimizer.load_state_dict({"state": by_index, "param_groups": groups})


def start_from(run: Path, models: Models, optimizer: torch.optim.Optimizer, warn: Callable[[str], None]) -> None:
    """Give the optimizer the state that it had at the end of another run, whose weights the models have.

    Raises UserError where that run has no such state: it saved none, or for other parameters or other weights.
    """
    advice = f"give --model {run} in place of --from to start from its weights alone"
    found = checkpoint.newest(run / "checkpoints", warn)
    if found is None:
        raise UserError(f"{run} has no checkpoint with its optimizer's state: {advice}")
    names = found.tensors if found.shards is None else sharded.names(found.shards)
    own, theirs = weights(models), {name for name in names if not name.startswith((OPTIMIZER, PAST))}
    if different := sorted(own.keys() ^ theirs):
        raise UserError(f"{run} trained other parameters ({different[0]} is in one of the two): {advice}")
    tensors = tensors_of(found, models, optimizer)
    for name, parameter in own.items():
        if not is_saved(gathered(parameter).cpu(), gathered(tensors[name]).cpu(), name.partition("/")[2]):
            raise UserError(
                f"{run} ended with other weights than this run begins with ({name}), as where it kept its best ones or "
                f"the dtype differs, so its optimizer's state does not belong to them: {advice}"
            )
    load_optimizer(optimizer, found, tensors)


def is_saved(saved: torch.Tensor, before: torch.Tensor, name: str) -> bool:
    """Whether weights are those of a checkpoint, or what these are in a model that is saved in 16 bits."""
    if saved.dtype != before.dtype or torch.equal(saved, before):
        return saved.dtype == before.dtype
    return any(
        torch.equal(saved, as_saved(before, kind, files, name).to(before.dtype))
        for kind in (torch.bfloat16, torch.float16)
        for files in (kind, None)
    )


def without_evaluation(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if not key.startswith(EVALUATED)}


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
        parameter.copy_(divided_like(tensors[name], parameter))


def save_best(run: RunFolder, models: Models, step: int) -> None:
    """Save the weights of the best evaluation so far, with a checksum like any checkpoint.

    Those before are kept too: a longer run would not make the evaluation at this one's end.
    """
    if run.world.is_main:
        run.check_there()
    if models.divided:
        checkpoint.save_together(run.path / BEST, step, weights(models), {}, 2, run.world)
    elif run.world.is_main:
        checkpoint.save(run.path / BEST, step, weights(models), {}, keep=2)


def load_best(run: RunFolder, models: Models, state: State) -> None:
    """Load the weights of the best evaluation. Raises UserError where they are damaged or missing."""
    wanted = state.best_step  # 0 where an older version saved the state: it kept the best alone
    before = wanted + 1 if wanted else math.inf
    found = run.world.from_main(lambda: checkpoint.latest(run.path / BEST, lambda sentence: None, before=before))
    if found is None or (wanted and found.step != wanted):
        raise UserError(f"{run.path / BEST} with the best weights is missing: restore it, or train in another --out")
    load_parameters(models, tensors_of(found, models))
