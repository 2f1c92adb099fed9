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

With `offload` the shards are in main memory, where the optimizer updates them, and a block goes to the device of the
process when it is gathered. On a CPU that is where they are anyway.

The weights are divided when a model has been built, on the meta device, and each process then reads its part of them
from the files (`load_parts`). Adapters are whole in each process, and so is what else is trained beside frozen weights:
they are few, and their gradients are summed as those of a model that is not divided.

Zhao et al. (2023), "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel".
"""

import types
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from burnish.policies.language.adapters import source_of
from burnish.policies.language.loading import Loading, explained, load_config, load_weights, quiet
from burnish.policies.language.recompute import outermost
from burnish.run import UserError
from burnish.run.shards import gathered, is_divided
from burnish.run.world import CONNECTION, World

T = TypeVar("T")

DTYPES = "has weights of several dtypes, which cannot be divided: set dtype float32"
NO_BLOCKS = "has no blocks that its weights could be divided by: set shard to optimizer, or to none"


def load_parts(
    cls: Any, name: str, config: PreTrainedConfig, loading: Loading, device: str, precision: str, whole: bool
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """`load_weights`, of which each process of several reads its part alone, unless the weights are to be read `whole`,
    because they change before they are divided."""
    world = loading.world
    if world.size == 1 or whole or loading.resize:
        return load_weights(cls, name, config, loading, device, precision)
    built = partial(divide, world=world, device=torch.device(device).type, offload=loading.offload)
    model, found = load_weights(cls, name, config, loading, device, precision, built)
    return model, found | {"mismatched_keys": whole_shapes(model, found["mismatched_keys"], world)}


def whole_shapes(model: PreTrainedModel, own: Collection[tuple[Any, ...]], world: World) -> set[tuple[Any, ...]]:
    """The weights whose shape is another in the files, with both shapes, from those of the parts: a part may fit where
    others do not."""
    shapes = {name: (file, wanted) for name, file, wanted in own}
    wrong = sorted(set().union(*world.gather(set(shapes))))
    here = {name: tuple(cast(Any, model.get_parameter(name)).to_local().shape) for name in wrong}
    parts = world.gather({name: shapes.get(name, (here[name], here[name])) for name in wrong})

    def added(name: str, place: int) -> tuple[int, ...]:
        return sum(part[name][place][0] for part in parts), *parts[0][name][place][1:]

    return {(name, added(name, 0), added(name, 1)) for name in wrong}


def divide(
    model: PreTrainedModel, world: World, device: str, apart: Collection[nn.Parameter] = (), offload: bool = False
) -> None:
    """Divide the weights of a model, which may still be on the meta device, but for those that stay `apart`."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    if blocks := outermost(model):
        mesh, ignored = init_device_mesh(device, (world.size,)), set(apart)
        # Memory is pinned for a device's copies; without such a device PyTorch refuses to.
        policy = CPUOffloadPolicy(pin_memory=device != "cpu") if offload else OffloadPolicy()
        for block in blocks:
            fully_shard(block, mesh=mesh, reshard_after_forward=True, offload_policy=policy, ignored_params=ignored)
        fully_shard(model, mesh=mesh, offload_policy=policy, ignored_params=ignored)


def shards_of(model: PreTrainedModel, world: World, adapter: Any = None, offload: bool = False) -> "Shards | None":
    """The shards of a model with its adapter; None where there is one process."""
    if world.size == 1:
        return None
    trained = [] if adapter is None else [p for p in model.parameters() if p.requires_grad]
    return Shards(model, world, trained, offload)


class Shards:
    """The weights of a model, divided among the processes of the `world`, but for those that stay `apart`.

    `open` says whether the whole weights are held. Raises UserError for a model without blocks.
    """

    def __init__(
        self, model: PreTrainedModel, world: World, apart: Collection[nn.Parameter] = (), offload: bool = False
    ) -> None:
        from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

        self.model, self.world, self.open, self.stays = model, world, False, False
        self.blocks = outermost(model)
        if not self.blocks:
            raise UserError(f"{model.config.name_or_path} ({model.config.model_type}) {NO_BLOCKS}")
        if not isinstance(model, FSDPModule):
            divide(model, world, model.device.type, apart, offload)
        self.root = cast(Any, model)
        make_whole(model, apart)
        if len({one.dtype for one in model.parameters() if one.requires_grad and is_divided(one)}) > 1:
            raise UserError(f"{model.config.name_or_path} ({model.config.model_type}) {DTYPES}")
        # The default order is that of the passes before, also of those without a gradient, of which processes make
        # different numbers: then one would gather another block than the others.
        for block, before in zip(self.blocks, [self.root, *self.blocks[:-1]], strict=True):
            block.set_modules_to_backward_prefetch([before])
        self.root.set_modules_to_backward_prefetch([self.root])
        for unit in (self.root, *self.blocks):
            unit.set_gradient_divide_factor(1.0)  # a loss is divided by counts of the whole batch already
            unit.set_force_sum_reduction_for_comms(True)  # gloo has no other reduction
            for choose, collective in zip(
                (unit.set_custom_all_gather, unit.set_custom_reduce_scatter), collectives(), strict=True
            ):
                choose(Counted(world, collective))
        self.root.burnish_reading = types.MethodType(lambda model, function: function(), self.root)
        register_fsdp_forward_method(self.root, "burnish_reading")
        self.reading(lambda: None)  # FSDP takes what computes first for the root
        self.close()

    def reading(self, function: Callable[[], T]) -> T:
        """What the function returns, which calls body and head of the model, inside a forward pass of the root.

        Where no backward pass follows, the weights are given up behind it, unless the model `stays` whole until it is
        read again.
        """
        with self.world.losing(CONNECTION):
            found = self.root.burnish_reading(function)
        if not (self.open or self.stays or torch.is_grad_enabled()):
            self.close()
        return found

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

    @contextmanager
    def staying(self) -> Iterator[None]:
        """What is read inside leaves the embedding and the head whole until the next time."""
        before, self.stays = self.stays, True
        try:
            yield
        finally:
            self.stays = before


class Counted:
    """A collective of FSDP2, in a tensor of its own as FSDP2 has it, whose time is counted as `World.waited`."""

    def __init__(self, world: World, collective: Callable[..., Any]) -> None:
        self.world, self.collective = world, collective

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, **options: Any) -> Any:
        with self.world.meeting():
            return self.collective(output_tensor, input_tensor, **options)


def collectives() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Those that FSDP2 calls, to gather weights and to sum gradients; PyTorch before 2.13 has other names for them."""
    found: Any = torch.distributed
    if hasattr(found, "all_gather_single"):
        return found.all_gather_single, found.reduce_scatter_single
    return found.all_gather_into_tensor, found.reduce_scatter_tensor


def make_whole(model: nn.Module, parameters: Collection[nn.Parameter]) -> None:
    """Make parameters whole that were copied from divided ones, as a head that is trained beside adapters."""
    chosen = set(parameters)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in chosen and is_divided(parameter):
                module._parameters[name] = nn.Parameter(gathered(parameter.detach()), parameter.requires_grad)


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
