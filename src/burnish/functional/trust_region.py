"""The two solvers of TRPO's step: conjugate gradient and backtracking line search.

Leading dimensions are independent problems. One that has finished stays unchanged while the others go on, so that each
run of a group gives the same result as alone.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional.precision import Number, widen


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    target: Float[Tensor, "*lead n"],
    iterations: int = 10,
    damping: Number = 0.1,
) -> Float[Tensor, "*lead n"]:
    """Solve a symmetric positive definite linear system, given only matrix-vector products.

    (F + damping · I) x = target,  product(v) = F v

    Shapes: target [..., n]; product maps [..., n] to [..., n] → [..., n], without gradient.
    A problem stops when its residual is down to rounding error, or at a direction without positive curvature; a target
    of 0 gives 0. A target or product that is not finite gives NaN in its own problem only.
    Source: Hestenes & Stiefel 1952; Schulman et al. 2015 (TRPO), appendix C.
    Differs: damping is added here, as implementations do; the paper's appendix has none.
    """
    target = widen(target.detach())
    # Squares of very small or very large numbers underflow or overflow: solve for a target of size 1.
    scale = target.abs().amax(-1, keepdim=True)
    scale = torch.where(scale == 0, 1.0, scale)
    residual = direction = target / scale
    solution = torch.zeros_like(residual)
    power = residual.square().sum(-1, keepdim=True)
    threshold = power * torch.finfo(power.dtype).eps ** 2
    active = ~(power <= threshold)
    for _ in range(iterations):
        image = product(direction).detach() + damping * direction
        curvature = (direction * image).sum(-1, keepdim=True)
        active = active & ~(curvature <= 0)
        if not active.any():
            break
        length = power / torch.where(active, curvature, 1.0)
        solution = torch.where(active, solution + length * direction, solution)
        residual = torch.where(active, residual - length * image, residual)
        new_power = residual.square().sum(-1, keepdim=True)
        ratio = new_power / torch.where(active, power, 1.0)
        direction = torch.where(active, residual + ratio * direction, direction)
        power = new_power
        active = active & ~(power <= threshold)
    return solution * scale


def backtracking_search(
    evaluate: Callable[[Tensor], Bool[Tensor, "..."]],
    full_step: Float[Tensor, "*lead n"],
    shrink: Number = 0.8,
    steps: int = 10,
) -> tuple[Float[Tensor, "*lead n"], Bool[Tensor, "*lead"]]:
    """The longest acceptable step among ever shorter multiples of the full step.

    shrink^j · full_step for the first j = 0, 1, … steps − 1 where evaluate is True

    Shapes: full_step [..., n] → the step [..., n], and whether one was accepted [...]; evaluate maps [..., n] to bool
    [...]. Where none is accepted the step is exactly 0.
    evaluate(step) says for each problem whether its step is acceptable (TRPO: the surrogate improves and KL ≤ δ). It is
    called for all problems at once; for one that has accepted, with the accepted step, and the answer is ignored.
    Source: Schulman et al. 2015 (TRPO), appendix C.
    """
    full_step = full_step.detach()
    accepted = torch.zeros(full_step.shape[:-1], dtype=torch.bool, device=full_step.device)
    step = full_step
    for exponent in range(steps):
        step = torch.where(accepted[..., None], step, full_step * shrink**exponent)
        accepted = accepted | evaluate(step)
        if accepted.all():
            break
    return torch.where(accepted[..., None], step, 0.0), accepted
