"""Advantages relative to the other responses to the same prompt; the last dimension is the group.

A group of equal scores gives exactly 0: the first score is subtracted before the mean is taken, because in floating
point the mean of three times 0.1 is not 0.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.functional.precision import Number, widen


def group_centre(scores: Float[Tensor, "*lead group"]) -> Float[Tensor, "*lead group"]:
    """Score minus the group's mean.

    xᵢ − (1/G) Σⱼ xⱼ

    Shapes: scores [..., G] → [..., G].
    Source: Liu et al. 2025 (Dr. GRPO), which does not divide by the group's standard deviation.
    """
    shifted = widen(scores) - widen(scores)[..., :1].detach()
    return shifted - shifted.mean(-1, keepdim=True)


def group_standardise(
    scores: Float[Tensor, "*lead group"], correction: int = 0, eps: Number = 1e-8
) -> Float[Tensor, "*lead group"]:
    """Score minus the group's mean, divided by the group's standard deviation.

    (xᵢ − x̄) / (s + ε),  s² = Σⱼ (xⱼ − x̄)² / (G − correction)

    Shapes: scores [..., G] → [..., G]. A group of one gives 0, also with correction=1.
    Source: Shao et al. 2024 (GRPO), which does not define its standard deviation. Implementations differ: NumPy's
    default is correction=0, as here, PyTorch's is correction=1; the results differ by a factor √(G/(G − 1)).
    """
    centred = group_centre(scores)
    variance = centred.square().sum(-1, keepdim=True) / max(scores.shape[-1] - correction, 1)
    # The slope of the square root at 0 is infinite: at variance 0 neither value nor gradient may pass through it.
    flat = variance == 0
    deviation = torch.where(flat, 0.0, torch.where(flat, 1.0, variance).sqrt()) + eps
    return centred / torch.where(deviation == 0, 1.0, deviation)


def leave_one_out(scores: Float[Tensor, "*lead group"]) -> Float[Tensor, "*lead group"]:
    """Score minus the mean of the *other* scores, a baseline that does not depend on the action.

    xᵢ − (1/(G − 1)) Σ_{j≠i} xⱼ = G/(G − 1) · (xᵢ − x̄)

    Shapes: scores [..., G] → [..., G].
    Raises ValueError: the group has fewer than two scores.
    Source: Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!"; Ahmadian et al. 2024 (RLOO).
    """
    size = scores.shape[-1]
    if size < 2:
        raise ValueError(f"leave_one_out needs groups of at least 2 scores, not of {size}.")
    return group_centre(scores) * (size / (size - 1))


def leave_one_out_standardise(scores: Float[Tensor, "*lead group"], eps: Number = 1e-6) -> Float[Tensor, "*lead group"]:
    """Score minus the mean of the others, divided by the standard deviation of the others.

    (xᵢ − x̄₋ᵢ) / (s₋ᵢ + ε),  s₋ᵢ² = Σ_{j≠i} (xⱼ − x̄₋ᵢ)² / (G − 2);  xᵢ − x̄₋ᵢ where s₋ᵢ is 0 or G is 2

    Shapes: scores [..., G] → [..., G].
    Raises ValueError: the group has fewer than two scores.
    Source: NVIDIA NeMo-RL, whose GRPO does this by default, and leaves a score unscaled whose peers are all equal; no
    paper does. A score far from equal peers gets an advantage of ordinary size, one far from nearly equal peers a huge
    one.
    """
    centred, size = leave_one_out(scores), scores.shape[-1]
    if size < 3:
        return centred
    shifted = widen(scores) - widen(scores)[..., :1].detach()
    others = ~torch.eye(size, dtype=torch.bool, device=scores.device)
    each = shifted[..., None, :].expand(*shifted.shape, size)
    means = torch.where(others, each, 0.0).sum(-1, keepdim=True) / (size - 1)
    variance = torch.where(others, (each - means).square(), 0.0).sum(-1) / (size - 2)
    low = torch.where(others, each, torch.inf).amin(-1)
    flat = low == torch.where(others, each, -torch.inf).amax(-1)  # exactly, where a sum of squares is rounded
    deviation = torch.where(flat, 1.0, variance).sqrt() + eps
    return torch.where(flat, centred, centred / deviation)
