"""Which weights of a model get an adapter: its linear layers, and the experts of a mixture.

transformers keeps the experts of a layer as one parameter `[experts, out, in]`, which peft adapts with
`target_parameters`, each expert with matrices A and B of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from burnish.options import quoted
from burnish.run import UserError

ALL_LINEAR = "all-linear"
UNLIKE = ("Router", "GroupedLinear")
"""How the classes of transformers are named that derive from `nn.Linear` but compute something else."""
MAMBA = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
UNCALLED = {"out_proj": MAMBA, "dt_proj": {"falcon_mamba", "jamba", "mamba"}}
"""Layers of state space models, with the families that use their weight without calling them: an adapter there would be
refused by peft, or do nothing."""


@dataclass(frozen=True)
class Targets:
    """What peft's `LoraConfig` takes as `target_modules` and `target_parameters`: names, or their last parts."""

    modules: list[str]
    parameters: list[str]


def targets_of(model: PreTrainedModel, named: str | None) -> Targets:
    """The weights to adapt, by the last parts of their names where those are unambiguous.

    `named` is `all-linear` (also None) or comma-separated names, of which the last part is enough. Embeddings, heads
    and routers are never among them: an embedding tied to the head could not be merged. Raises UserError for a name
    that no layer has.
    """
    heads = {id(model.get_output_embeddings()), id(getattr(model, "score", None))}
    linear = {name: module for name, module in model.named_modules() if is_linear(module)}
    uncalled = {name for name, families in UNCALLED.items() if model.config.model_type in families}
    inner = [name for name, module in linear.items() if id(module) not in heads and last(name) not in uncalled]
    outer = {name for name, _ in model.named_modules()} - set(inner)
    short, stacked = sorted({last(name) for name in inner}), list(experts(model))
    if named is None or named == ALL_LINEAR:
        modules = inner if {last(name) for name in outer} & set(short) else short
        return apart(model, modules, sorted({last(name, 2) for name in stacked}))
    asked = [name.strip() for name in named.split(",") if name.strip()]
    for target in asked or [""]:
        if not any(ends(name, target) for name in (*inner, *stacked)):
            choices = ", ".join([*short, *sorted({last(name, 2) for name in stacked})])
            raise UserError(
                f"lora_targets: the model has no linear layer named {quoted(target)}: choose from {choices}, "
                f"or {ALL_LINEAR}"
            )
    modules = [target for target in asked if any(ends(name, target) for name in inner)]
    if any(ends(name, target) for name in outer for target in modules):
        modules = [name for name in inner if any(ends(name, target) for target in modules)]
    chosen = {last(name, 2) for name in stacked if any(ends(name, target) for target in asked)}
    return apart(model, modules, sorted(chosen))


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer that peft can adapt."""
    return isinstance(module, nn.Linear | Conv1D) and not type(module).__name__.endswith(UNLIKE)


def experts(model: nn.Module) -> Iterator[str]:
    """The names of the parameters in which the experts of a layer are stacked."""
    for name, module in model.named_modules():
        if type(module).__name__.endswith("Experts"):
            yield from (f"{name}.{own}" for own, p in module.named_parameters(recurse=False) if p.dim() == 3)


def apart(model: PreTrainedModel, modules: Iterable[str], parameters: Iterable[str]) -> Targets:
    """The targets, with a linear layer named as its parameter where peft would take its name for that of experts.

    peft reads names such as `gate_proj` as those of the experts of transformers 4, where each expert was a linear
    layer. It would so leave out the shared experts and the dense layers that have these names today.
    """
    taken = {name for name in modules if is_taken(model, name)}
    return Targets(
        [name for name in modules if name not in taken], sorted({*parameters, *(f"{name}.weight" for name in taken)})
    )


def is_taken(model: PreTrainedModel, name: str) -> bool:
    """Whether peft would not adapt the linear layers of this name."""
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    config = LoraConfig(target_modules=[name])
    try:
        convert_peft_config_for_transformers(config, model, None)
    except ValueError:  # it is one of two layers that peft takes for one parameter
        return True
    return name not in (config.target_modules or ())


def without_adapter(model: PreTrainedModel) -> tuple[float, list[str]]:
    """The share of the layers' weights that an adapted model has no adapter for, and the last parts of their names.

    The layers' weights are all matrices that are neither embeddings nor heads.
    """
    from peft.tuners.lora import LoraLayer, ParamWrapper

    adapted = set()
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            name = layer.parameter_name if isinstance(layer, ParamWrapper) else "weight"
            adapted.add(id(getattr(layer.get_base_layer(), name)))
    ends_of_model = [model.get_output_embeddings(), getattr(model, "score", None)]
    ends_of_model += [module for module in model.modules() if isinstance(module, nn.Embedding)]
    outside = {id(p) for module in ends_of_model if module is not None for p in module.parameters()}
    frozen = {name: p for name, p in model.named_parameters() if p.dim() >= 2 and not p.requires_grad}
    layers = {name.replace(".base_layer", ""): p for name, p in frozen.items() if id(p) not in outside}
    bare = {name: p for name, p in layers.items() if id(p) not in adapted}
    total = sum(p.numel() for p in layers.values())
    return sum(p.numel() for p in bare.values()) / max(total, 1), sorted({last(name, 2) for name in bare})


def last(name: str, parts: int = 1) -> str:
    """The last parts of a dotted name."""
    return ".".join(name.split(".")[-parts:])


def ends(name: str, target: str) -> bool:
    """Whether a dotted name is `target` or ends with it."""
    return name == target or name.endswith(f".{target}")
