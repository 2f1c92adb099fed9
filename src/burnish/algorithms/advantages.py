"""What the updates of a rollout take for given, in every policy gradient alike."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.batches import Episodes
from burnish.functional import standardise


def prepared(
    batch: Episodes,
    advantages: Float[Tensor, "*lead t"],
    values: Float[Tensor, "*lead t_plus_1"] | None = None,
    standardised: bool = False,
) -> Episodes:
    """The episodes of a whole rollout with their advantages and, where a critic gave values, their returns.

    R_t = A_t + V(s_t), of the advantages as they are; only the policy's own are standardised, once, over the rollout

    Shapes: advantages [..., B, T], 0 at masked places; values [..., B, T + 1]. At masked places all comes out as 0.
    """
    mask = batch.mask
    if values is not None:
        old_values = real(values[..., :-1], mask)
        batch = replace(batch, old_values=old_values, returns=advantages + old_values)
    return replace(
        batch,
        old_logprobs=real(batch.old_logprobs, mask),
        advantages=standardise(advantages, mask) if standardised else advantages,
    )


def real(x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x where the policy chose an action, else 0: elementwise objectives know no mask, and 0 · NaN is NaN."""
    return torch.where(mask, x, 0.0)
