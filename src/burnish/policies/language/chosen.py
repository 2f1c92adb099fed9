"""Log-probabilities of chosen tokens, from logits in bfloat16 on a CPU in blocks that stay in the processor's cache.

All logits of a step in float32, their log-softmax and the gradient of both are tensors of 50 MB and more, and to write
and read them takes longer than the arithmetic. In blocks it takes about half of the time.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from burnish.functional import action_logprobs

BLOCK = 2**17
"""Logits per block: half a megabyte in float32."""


def chosen_logprobs(logits: Float[Tensor, "k V"], targets: Int[Tensor, "k"]) -> Float[Tensor, "k"]:
    """`action_logprobs` of one token per row, in float32 or wider."""
    if logits.device.type == "cpu" and logits.dtype == torch.bfloat16 and len(logits):
        return Blocked.apply(logits, targets)
    return action_logprobs(logits, targets)


class Blocked(torch.autograd.Function):
    """log π(a) = logit_a − log Σ_b exp(logit_b), of which the gradient is that of logit_a minus π."""

    @staticmethod
    def forward(context: Any, logits: Tensor, targets: Tensor) -> Tensor:
        total = torch.empty(len(logits), dtype=torch.float32)
        for block, own in zip(*blocks(logits, total), strict=True):
            wide = block.float()
            largest = wide.amax(-1, keepdim=True)
            torch.sum(wide.sub_(largest).exp_(), -1, out=own)
            own.log_().add_(largest[:, 0])
        context.save_for_backward(logits, targets, total)
        return logits.gather(-1, targets[:, None])[:, 0].float().sub_(total)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, targets, total = context.saved_tensors
        found = torch.empty_like(logits)
        for block, target, own, slope, out in zip(*blocks(logits, targets, total, gradient, found), strict=True):
            wide = block.float().sub_(own[:, None]).exp_().mul_(-slope[:, None])
            out.copy_(wide.scatter_add_(-1, target[:, None], slope[:, None]))
        return found, None


def blocks(logits: Tensor, *others: Tensor) -> list[tuple[Tensor, ...]]:
    """The tensors in parts of as many rows as have `BLOCK` logits."""
    rows = max(1, BLOCK // logits.shape[-1])
    return [one.split(rows) for one in (logits, *others)]
