"""Weights that are divided among the processes of a run: FSDP2 on each block of a model, and on what is around them.

Each process keeps a shard of every weight, of its gradient and of the optimizer's state. A block is gathered before it
computes, forwards and backwards, and given up behind that; its gradient is summed over the processes on the way back.
The embedding, the last norm and the head are one unit more, gathered from the first pass of a micro-batch to the end of
its backward pass: the body and the head are called apart, a head computes again in the backward pass, and tied weights
have to be in one unit.

So that no process waits for another, all have to read the same number of times, and make the same number of passes each
time. `TokenReader.numbers` asks `passes` for that number first, and makes up for the passes that it lacks with one of a
single token, of which nothing is used: its gradient is zero. Where the processes do different things (sampling,
evaluation), `gathered` holds the whole weights in each of them, and nothing is communicated inside.

Zhao et al. (2023), "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel".
"""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from burnish.policies.language.adapters import source_of
from burnish.policies.language.loading import Loading, explained, load_config, quiet
from burnish.policies.language.recompute import outermost
from burnish.run import UserError
from burnish.run.shards import gathered
from burnish.run.world import World

T = TypeVar("T")

NO_BLOCKS = "has no blocks that its weights could be divided by: set shard to optimizer, or to none"


class Shards:
    """The weights of a model, divided among the processes of the `world`.

    `open` says whether the whole weights are held. Raises UserError for a model without blocks.
    """

    def __init__(self, model: PreTrainedModel, world: World) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        self.model, self.world, self.open = model, world, False
        self.blocks = outermost(model)
        if not self.blocks:
            raise UserError(f"{model.config.name_or_path} ({model.config.model_type}) {NO_BLOCKS}")
        mesh = init_device_mesh(model.device.type, (world.size,))
        for block in self.blocks:
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        self.root = cast(Any, fully_shard(model, mesh=mesh))
        # The default order is that of the passes before, also of those without a gradient, of which processes make
        # different numbers: then one would gather another block than the others.
        for block, before in zip(self.blocks, [self.root, *self.blocks[:-1]], strict=True):
            block.set_modules_to_backward_prefetch([before])
        self.root.set_modules_to_backward_prefetch([self.root])
        for unit in (self.root, *self.blocks):
            unit.set_gradient_divide_factor(1.0)  # a loss is divided by counts of the whole batch already
            unit.set_force_sum_reduction_for_comms(True)  # gloo has no other reduction
        self.root.burnish_reading = types.MethodType(lambda model, function: function(), self.root)
        register_fsdp_forward_method(self.root, "burnish_reading")
        self.reading(lambda: None)  # FSDP takes what computes first for the root
        self.close()

    def reading(self, function: Callable[[], T]) -> T:
        """What the function returns, which calls body and head of the model, inside a forward pass of the root."""
        return self.root.burnish_reading(function)

    def passes(self, own: int) -> int:
        """The number of passes that each process makes, of which this one has its `own`: at least one."""
        return own if self.open else max(1, *self.world.gather(own))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in one process at least."""
        return flag if self.open else self.world.any(flag)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Inside, every process holds the whole weights. To be called by all, and not where there is a gradient."""
        if self.open:
            yield
            return
        for unit in (self.root, *self.blocks):
            unit.unshard()
        for block in self.blocks:
            block.set_reshard_after_forward(False, recurse=False)
        self.open = True
        try:
            yield
        finally:
            self.open = False
            for block in self.blocks:
                block.set_reshard_after_forward(True, recurse=False)
            self.close()

    def close(self) -> None:
        """Give up what other processes hold."""
        for unit in (self.root, *self.blocks):
            unit.reshard()

    @torch.no_grad()
    def released(self) -> None:
        """Leave the model of the main process with plain weights, to be saved; all processes have to call this.

        Nothing is computed with the model after it.
        """
        found: dict[nn.Parameter, nn.Parameter] = {}
        for module in self.model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter not in found:  # a tied weight stays tied
                    tensor = gathered(parameter.detach())
                    found[parameter] = nn.Parameter(tensor, parameter.requires_grad)
                if self.world.is_main:
                    module._parameters[name] = found[parameter]
                else:
                    found[parameter] = parameter


def check_blocks(name: str, loading: Loading) -> None:
    """Raise UserError for a model that cannot be divided, by its configuration alone."""
    with explained("--model", name, "a causal language model"):
        source = source_of(name, loading)
        config = load_config(source.base, source.loading)
        if type(config) not in AutoModel._model_mapping:
            return  # its own code says what it consists of, when it is loaded
        with torch.device("meta"), quiet():
            blocks = outermost(AutoModel.from_config(config))
        if not blocks:
            raise UserError(f"{name} ({config.model_type}) {NO_BLOCKS}")
