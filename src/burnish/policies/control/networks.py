"""The networks of control as functions of their parameters theta, with hand-written derivatives.

The networks of R runs are computed together, and nothing mixes runs. `given` holds the inputs of each layer, the
observations first: all that a derivative needs from the forward pass.
"""

from itertools import pairwise
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Sizes: TypeAlias = tuple[int, ...]  # numbers of inputs, of each hidden layer, and of outputs
Activation: TypeAlias = Literal["tanh", "relu"]
"""What hidden layers end with, written f below."""
slope_of_tanh = torch.ops.aten.tanh_backward.grad_input
slope_of_relu = torch.ops.aten.threshold_backward.grad_input


def split(theta: Float[Tensor, "runs n"], sizes: Sizes) -> tuple[list[Tensor], Float[Tensor, "runs k"]]:
    """Views of theta: weight and bias of each layer in turn; and the parameters outside the layers.

    A hidden layer's are [R, in, out] and [R, 1, out], the order in which its product is fastest. The last layer is
    narrow and transposed: [R, out, in] and [R, out, 1].

    theta is split once, so that its gradient is one concatenation instead of a sum of padded slices.
    """
    hidden = [shape for a, b in pairwise(sizes[:-1]) for shape in ((a, b), (1, b))]
    shapes = [*hidden, (sizes[-1], sizes[-2]), (sizes[-1], 1)]
    counts = [rows * columns for rows, columns in shapes]
    *parts, beside = theta.split([*counts, theta.shape[1] - sum(counts)], dim=1)
    return [part.view(-1, *shape) for part, shape in zip(parts, shapes, strict=True)], beside


def outputs(
    parts: list[Tensor],
    x: Float[Tensor, "runs N inputs"],
    given: list[Tensor] | None = None,
    activation: Activation = "tanh",
) -> Float[Tensor, "runs N outputs"]:
    """f( … f(x W₀ + b₀) … ) W + b, per run; appends the input of each layer to `given`."""
    given = [] if given is None else given
    for weight, bias in zip(parts[:-2:2], parts[1:-2:2], strict=True):
        given.append(x)
        x = torch.baddbmm(bias, x, weight)
        x = x.tanh_() if activation == "tanh" else x.relu_()
    given.append(x)
    return torch.baddbmm(parts[-1], parts[-2], x.mT).mT


def networks(
    theta: Float[Tensor, "runs n"], x: Float[Tensor, "runs N inputs"], sizes: Sizes, activation: Activation = "tanh"
) -> tuple[Float[Tensor, "runs N outputs"], Float[Tensor, "runs k"]]:
    """The networks' outputs, and the parameters outside the layers; differentiable any number of times."""
    parts, beside = split(theta, sizes)
    return outputs(parts, x, activation=activation), beside


def sloped(slope: Tensor, made: Tensor, activation: Activation) -> Tensor:
    """The slope of what a hidden layer `made`, taken back through its f, in place."""
    if activation == "tanh":
        return slope_of_tanh(slope, made, grad_input=slope)
    return slope_of_relu(slope, made, 0, grad_input=slope)


class Networks(torch.autograd.Function):
    """`networks` with a hand-written gradient, for theta only."""

    @staticmethod
    def forward(
        ctx: Any, theta: Tensor, x: Tensor, sizes: Sizes, activation: Activation = "tanh"
    ) -> tuple[Tensor, Tensor]:
        given: list[Tensor] = []
        parts, beside = split(theta, sizes)
        out = outputs(parts, x, given, activation)
        ctx.save_for_backward(theta, *given)
        ctx.sizes, ctx.activation = sizes, activation
        return out, beside.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, None]:
        theta, *given = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: use autograd
            made = networks(theta, given[0], ctx.sizes, ctx.activation)
            return torch.autograd.grad(made, theta, slopes, create_graph=True)[0], None, None, None
        return pulled(theta, given, slopes[0], slopes[1], ctx.sizes, ctx.activation), None, None, None


@torch.no_grad()
def pulled(
    theta: Float[Tensor, "runs n"],
    given: list[Tensor],
    slope: Float[Tensor, "runs N outputs"],
    beside_slope: Float[Tensor, "runs k"],
    sizes: Sizes,
    activation: Activation = "tanh",
) -> Float[Tensor, "runs n"]:
    """Jᵀ u with J the Jacobian of `networks`: the gradient of theta from the gradient of the outputs."""
    gradient = torch.empty_like(theta)
    parts, beside = split(gradient, sizes)
    weights = split(theta, sizes)[0][::2]
    back = weights[-1]
    # Products are copied: with `out=` into a view of the row, bmm would run one product per run.
    torch.sum(slope.mT, 2, keepdim=True, out=parts[-1])
    parts[-2].copy_(torch.bmm(slope.mT, given[-1]))
    for i in reversed(range(len(weights) - 1)):
        slope = sloped(torch.bmm(slope, back), given[i + 1], activation)
        torch.sum(slope, 1, keepdim=True, out=parts[2 * i + 1])
        parts[2 * i].copy_(torch.bmm(given[i].mT, slope))
        back = weights[i].mT
    beside.copy_(beside_slope)
    return gradient


@torch.no_grad()
def pushed(
    theta: Float[Tensor, "runs n"],
    given: list[Tensor],
    change: Float[Tensor, "runs n"],
    sizes: Sizes,
    activation: Activation = "tanh",
) -> tuple[Float[Tensor, "runs N outputs"], Float[Tensor, "runs k"]]:
    """J v with J the Jacobian of `networks`: the first-order change of the outputs when theta changes by v."""
    (changes, beside), weights = split(change, sizes), split(theta, sizes)[0][::2]
    moved = None  # the change of each layer's input; the observations do not change
    for i in range(len(weights) - 1):
        now = torch.baddbmm(changes[2 * i + 1], given[i], changes[2 * i])
        if moved is not None:
            now.baddbmm_(moved, weights[i])
        moved = sloped(now, given[i + 1], activation)
    out = torch.baddbmm(changes[-1], changes[-2], given[-1].mT)
    return (out if moved is None else out.baddbmm_(weights[-1], moved.mT)).mT, beside
