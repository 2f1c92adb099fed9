"""Reductions over the places where a mask is True: the "real" steps, tokens or rows.

Masking selects and never multiplies: 0 · NaN is NaN, and so is its gradient. The content of a masked place changes
neither value nor gradient. Without any real place the result is 0.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.functional.precision import Count, Number, widen

Dim = int | tuple[int, ...] | None


def masked_sum(x: Float[Tensor, "*#shape"], mask: Bool[Tensor, "*#shape"], dim: Dim = None) -> Float[Tensor, "..."]:
    """Sum over the places where the mask is True.

    Σᵢ mᵢ xᵢ, where xᵢ is selected, not multiplied

    Shapes: x and mask broadcast against each other; `dim` (one, several, or None for all) is reduced.
    """
    x, mask = torch.broadcast_tensors(widen(x), mask)
    return torch.where(mask, x, 0.0).sum(dim)


def masked_mean(x: Float[Tensor, "*#shape"], mask: Bool[Tensor, "*#shape"], dim: Dim = None) -> Float[Tensor, "..."]:
    """Mean over the places where the mask is True; 0 if it is False everywhere.

    Σᵢ mᵢ xᵢ / max(Σᵢ mᵢ, 1)

    Shapes: as `masked_sum`.
    """
    x, mask = torch.broadcast_tensors(widen(x), mask)
    return masked_sum(x, mask, dim) / mask.sum(dim).clamp(min=1)


def is_last(mask: Bool[Tensor, "*lead t"]) -> Bool[Tensor, "*lead t"]:
    """True at the last real step of each row, whatever gaps precede it; False everywhere in a row without one."""
    real_from_here_on = mask.flip(-1).cumsum(-1).flip(-1)
    return mask & (real_from_here_on == 1)


@dataclass(frozen=True)
class Moments:
    """Count, mean and squared deviations over real places; the moments of the parts of a batch add up to its own.

    n,  c = max x,  Σ (x − c),  Σ (x − x̄)²;  the sum of two: Chan, Golub and LeVeque 1979, eq. 2.1

    Shapes: one number per leading dimension. The mean is stored as a deviation from the largest number, so that the
    mean of equal numbers is exact.
    """

    count: Int[Tensor, "*lead"]
    largest: Float[Tensor, "*lead"]
    shifted: Float[Tensor, "*lead"]
    squares: Float[Tensor, "*lead"]

    def __add__(self, other: "Moments") -> "Moments":
        """The moments of both parts together."""
        largest, count = torch.maximum(self.largest, other.largest), self.count + other.count
        parts = [(part, part.moved(largest)) for part in (self, other)]
        shifted = parts[0][1] + parts[1][1]
        mean = shifted / count.clamp(min=1)
        apart = [part.count * (moved / part.count.clamp(min=1) - mean).square() for part, moved in parts]
        return Moments(count, largest, shifted, self.squares + other.squares + apart[0] + apart[1])

    def moved(self, largest: Float[Tensor, "*lead"]) -> Float[Tensor, "*lead"]:
        """Σ (x − largest) for a given number instead of the largest one of this part."""
        return self.shifted + torch.where(self.count > 0, self.count * (self.largest - largest), 0.0)


def moments(x: Float[Tensor, "*#shape"], mask: Bool[Tensor, "*#shape"]) -> Moments:
    """Moments over the places where the mask is True, in the last two dimensions.

    Shapes: x, mask [..., B, T] → [...].
    """
    x, mask = torch.broadcast_tensors(widen(x), mask)
    places = torch.where(mask, x.detach(), -math.inf).flatten(-2)
    largest = places.amax(-1) if places.shape[-1] else places.new_full(places.shape[:-1], -math.inf)
    shifted, count = x - largest[..., None, None], mask.sum((-2, -1))
    total = masked_sum(shifted, mask, (-2, -1))
    centred = torch.where(mask, shifted - (total / count.clamp(min=1))[..., None, None], 0.0)
    return Moments(count, largest, total, masked_sum(centred.square(), mask, (-2, -1)))


def centre(
    x: Float[Tensor, "*#shape"], mask: Bool[Tensor, "*#shape"], of: Moments | None = None
) -> Float[Tensor, "*shape"]:
    """Subtract the mean over real steps, separately for each leading index; 0 at masked places.

    xᵢ − (Σⱼ mⱼ xⱼ) / (Σⱼ mⱼ)

    Shapes: x, mask [..., B, T] → [..., B, T]; the mean is over B and T together, never over the leading dimensions.
    `of`: the moments of a larger batch that x is a part of (default: those of x).

    Equal numbers give exactly 0: the largest one is subtracted before the mean is taken, because in floating point the
    mean of three times 0.1 is not 0.1.
    """
    x, mask = torch.broadcast_tensors(widen(x), mask)
    if x.numel() == 0:
        return x
    of = moments(x, mask) if of is None else of
    mean = of.shifted / of.count.clamp(min=1)
    return torch.where(mask, x - of.largest[..., None, None] - mean[..., None, None], 0.0)


def standardise(
    x: Float[Tensor, "*#shape"], mask: Bool[Tensor, "*#shape"], eps: Number = 1e-8, of: Moments | None = None
) -> Float[Tensor, "*shape"]:
    """Scale real steps to mean 0 and variance 1, separately for each leading index; 0 at masked places.

    (xᵢ − x̄) / √(σ² + ε), with σ² the population variance (divided by the number of real steps)

    Shapes: x, mask [..., B, T] → [..., B, T]; the statistics are over B and T together, so runs never mix. `of`: the
    moments of a larger batch that x is a part of (default: those of x).

    Differs: many PPO implementations divide by σ + ε, and many by n − 1 in σ.
    """
    x, mask = torch.broadcast_tensors(widen(x), mask)
    if x.numel() == 0:
        return x
    of = moments(x, mask) if of is None else of
    power = (of.squares / of.count.clamp(min=1))[..., None, None] + eps
    return centre(x, mask, of) / torch.where(power == 0, 1.0, power).sqrt()


def aggregate(
    losses: Float[Tensor, "*#shape"], mask: Bool[Tensor, "*#shape"], over: str = "token", total: Count | None = None
) -> Float[Tensor, "..."]:
    """Reduce losses to one number: their sum over real places, divided by an explicit denominator.

    token:     Σ_bt m ℓ / Σ_bt m                    every token counts the same
    sequence:  (1/N) Σ_b (Σ_t m ℓ / Σ_t m)          every row counts the same; N rows have a real token
    constant:  Σ_bt m ℓ / total                     a token's weight depends on no row's or batch's length
    row:       Σ_b m ℓ / Σ_b m                      for losses with one number per row

    Shapes: losses, mask [..., B, T] → [...]; over="row": [..., B] → [...].
    `total` replaces the denominator: pass the number of real tokens (token) or non-empty rows (sequence, row) of the
    *whole* batch, and the losses of its parts add up to the loss of the batch, however it is split. A number, or a
    tensor with the leading dimensions. A total of 0, for a batch without a real token, gives 0.

    Raises ValueError: `over` is not one of the four, or is "constant" without a positive total.
    Source: Liu et al. 2025 (Dr. GRPO) compare sequence with constant; Shao et al. 2024 (GRPO) use sequence.
    """
    if over not in ("token", "sequence", "constant", "row"):
        raise ValueError(f"over must be 'token', 'sequence', 'constant' or 'row', not {over!r}.")
    if over == "constant" and (total is None or (not isinstance(total, Tensor) and total <= 0)):
        raise ValueError(f"over='constant' needs a positive `total` to divide by, not {total!r}.")
    losses, mask = torch.broadcast_tensors(widen(losses), mask)
    if over == "sequence":
        losses, mask = masked_mean(losses, mask, -1), mask.any(-1)
    dim = -1 if over in ("sequence", "row") else (-2, -1)
    count = torch.as_tensor(mask.sum(dim) if total is None else total, dtype=losses.dtype, device=losses.device)
    return torch.where(count == 0, 0.0, masked_sum(losses, mask, dim) / torch.where(count == 0, 1, count))
