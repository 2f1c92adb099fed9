"""The bytes that a run on paper sends are those of the collectives of real processes, with tiny models."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import torch.distributed
from loop_pieces import settings

from burnish.algorithms.sft import SFT
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy
from burnish.run.world import World, joined
from burnish.training.language.learner import step
from burnish.training.language.optimizer import make_optimizer

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from scale_run import Run, sent
from scale_shape import shape_of

FAMILIES = ("gpt2", "llama")
BATCH = tiny.demonstrations([([0, 4, 5, 6], [False, False, True, True])] * 4)
"""One micro-batch of each process, and one pass of the model."""
COLLECTIVES = {
    "all_reduce": lambda tensor, *_: 2 * tensor.nbytes,
    "broadcast": lambda tensor, *_: tensor.nbytes,
    "all_gather_single": lambda output, *_: output.nbytes,
    "reduce_scatter_single": lambda output, given, *_: given.nbytes,
}
"""What a process receives in each, (N − 1)/N of these bytes with N processes; objects are sent otherwise."""


@contextmanager
def counting(world: World) -> Iterator[dict[str, float]]:
    """The bytes that this process receives in the collectives inside, by name."""
    found = dict.fromkeys(COLLECTIVES, 0.0)
    originals = {name: getattr(torch.distributed, name) for name in COLLECTIVES}

    def counted(name: str) -> Any:
        def collective(*tensors: Any, **options: Any) -> Any:
            given = [*tensors, *(options[key] for key in ("tensor", "output", "input") if key in options)]
            found[name] += COLLECTIVES[name](*given) * (world.size - 1) / world.size
            return originals[name](*tensors, **options)

        return collective

    for name in COLLECTIVES:
        setattr(torch.distributed, name, counted(name))
    try:
        yield found
    finally:
        for name, original in originals.items():
            setattr(torch.distributed, name, original)


def policy_of(family: str) -> LanguagePolicy:
    return tiny.make_policy(family, double=False)


def received() -> dict[str, dict[str, float]]:
    """What one process receives in an update, by model and `--shard`, and where it gathers the whole weights."""
    world, found = joined(), {}
    for family in FAMILIES:
        for shard in ("none", "optimizer", "full"):
            policy = policy_of(family)
            with counting(world) as counts:
                if shard == "full":
                    policy.divide(world)
                models = Models(policy=policy)
                optimizer = make_optimizer(models, settings(shard=shard), world)
                before = dict(counts)
                step(SFT(), models, BATCH, optimizer, 0.01, 0.0, 1, world)
                found[f"{family}, {shard}"] = {name: counts[name] - before[name] for name in counts}
                before = dict(counts)
                with policy.gathered():
                    pass
                found[f"{family}, {shard}, whole"] = {name: counts[name] - before[name] for name in counts}
    return found


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, float]]]:
    ended = ranks.together(2, tmp_path_factory.mktemp("ends"), received)
    for one in ended:
        if isinstance(one, Exception):
            raise one
    return ended


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_received_is_what_is_worked_out(processes: list[Any], family: str) -> None:
    """Two processes, whose shards are of equal size because every weight has an even number of rows."""
    run = Run(shape_of(policy_of(family).model.config.to_dict()), ranks=2, prompt=2, response=2, rows=2)
    one, full = sent(run), replace(run, shard="full")
    for found in processes:
        plain, zero, divided = (found[f"{family}, {shard}"] for shard in ("none", "optimizer", "full"))
        assert plain["all_reduce"] == zero["all_reduce"] == one["gradients"]
        assert plain["broadcast"] == plain["all_gather_single"] == plain["reduce_scatter_single"] == 0
        assert zero["broadcast"] == sent(replace(run, shard="optimizer"))["updated"]
        assert divided["all_gather_single"] == sent(full)["passes"]
        assert divided["reduce_scatter_single"] == sent(full)["gradients"]
        whole = sent(replace(full, method="grpo"))["whole"] / 2  # a step gathers them twice
        assert found[f"{family}, full, whole"]["all_gather_single"] == whole > 0
        assert not any(found[f"{family}, none, whole"].values())
