"""Categorical distributions given by logits, over the two actions of CartPole or the tokens of a vocabulary.

Computed and returned in float32 or wider, whatever the logits' dtype. A logit of −∞ marks an impossible action; each
distribution needs at least one possible action.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.functional.precision import widen

FEW = 16


def log_softmax(logits: Float[Tensor, "*shape actions"]) -> Float[Tensor, "*shape actions"]:
    """log π(a) of every action, in float32 or wider.

    With few actions it is computed over the first dimension: PyTorch vectorises over neighbours in memory, and takes
    seven times as long over a last dimension of two.
    """
    wide = widen(logits)
    if wide.shape[-1] > FEW:
        return torch.log_softmax(wide, -1)
    return torch.log_softmax(wide.movedim(-1, 0), 0).movedim(0, -1)


def action_logprobs(
    logits: Float[Tensor, "*#shape actions"], actions: Int[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Log-probability of each taken action.

    log π(a) = logit_a − log Σ_b exp(logit_b)

    Shapes: logits [..., A], actions [...] with values 0 … A − 1 → [...]; leading dimensions broadcast.
    """
    logprobs = log_softmax(logits)
    lead = torch.broadcast_shapes(logprobs.shape[:-1], actions.shape)
    chosen = logprobs.expand(*lead, -1).gather(-1, actions.expand(lead)[..., None].long())
    return chosen.squeeze(-1)


def entropy(logits: Float[Tensor, "*shape actions"]) -> Float[Tensor, "*shape"]:
    """Entropy in nats.

    H(π) = −Σ_a π(a) log π(a), where 0 · log 0 = 0

    Shapes: logits [..., A] → [...]. An impossible action contributes 0, and its logit has gradient 0.
    """
    logprobs = log_softmax(logits)
    possible = logprobs != -math.inf
    # Selected twice: before the product, whose gradient would be 0 · ∞, and after it, because exp(0) · 0 has one too.
    safe = torch.where(possible, logprobs, 0.0)
    return -torch.where(possible, safe.exp() * safe, 0.0).sum(-1)
