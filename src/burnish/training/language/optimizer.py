"""The optimizers of language models: PyTorch's AdamW, Adafactor and SGD, and bitsandbytes' AdamW in 8 bits."""

import importlib.util
from typing import Any

import torch

from burnish.config import Settings
from burnish.policies.interface import Models
from burnish.run import UserError
from burnish.run.world import ALONE, World

EIGHT_BITS = ("cpu", "cuda", "xpu")
"""Kinds of devices that bitsandbytes has the 8-bit optimizer for."""


def make_optimizer(models: Models, settings: Settings, world: World = ALONE) -> torch.optim.Optimizer:
    """The optimizer over every trained model. Weight decay applies to matrices only, not to biases and norms.

    With `shard` "optimizer" each process of the `world` has the state of some of the parameters, updates these, and
    sends them to the others: Rajbhandari et al. (2020), "ZeRO: Memory Optimizations Toward Training Trillion Parameter
    Models", stage 1.

    - `adamw`: Loshchilov & Hutter (2019), "Decoupled Weight Decay Regularization".
    - `adamw_8bit`: its two moments in blocks of 8-bit numbers, for tensors of 4096 numbers or more. Dettmers et al.
      (2022), "8-bit Optimizers via Block-wise Quantization".
    - `adafactor`: factored second moments, no first one. Its step is relative to the parameters: at most
      min(rate, 1/√k) · max(RMS(θ), 0.001) in root mean square in step k. Shazeer & Stern (2018), "Adafactor".
    - `sgd`: θ ← θ − rate · b,  b ← momentum · b + g + weight_decay · θ
    """
    parameters = [p for model in models.trained().values() for p in model.parameters().values()]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    kind, options = kind_of(settings)
    if settings.shard != "optimizer" or world.size == 1:
        return kind(groups, **options)
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(groups, kind, **options)


def kind_of(settings: Settings) -> tuple[Any, dict[str, Any]]:
    """The class of the optimizer, and its options."""
    rate = {"lr": settings.learning_rate or 0.0}
    if settings.optimizer == "sgd":
        return torch.optim.SGD, rate | {"momentum": settings.momentum or 0.0}
    if settings.optimizer == "adafactor":
        return torch.optim.Adafactor, rate
    betas = (
        0.9 if settings.adam_beta1 is None else settings.adam_beta1,
        0.999 if settings.adam_beta2 is None else settings.adam_beta2,
    )
    options = rate | {"betas": betas, "eps": settings.adam_epsilon or 1e-8}
    if settings.optimizer == "adamw_8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit, options
    return torch.optim.AdamW, options | {"fused": True}


def check_optimizer(settings: Settings, device: str) -> None:
    """Raise UserError where the optimizer does not exist here."""
    if settings.optimizer != "adamw_8bit":
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("optimizer adamw_8bit needs the package bitsandbytes: pip install 'burnish[quantized]'")
    if (kind := torch.device(device).type) not in EIGHT_BITS:
        raise UserError(f"bitsandbytes has no 8-bit AdamW for the device {kind}: set optimizer to adamw")
