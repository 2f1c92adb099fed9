"""Convolutions of R runs in lockstep, which turn images into features for the networks of control.

Every product is one over all runs, as in `networks`, and nothing mixes runs. Derivatives are autograd's, of any order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, sizes of kernels and strides of Mnih et al. (2015), "Human-level control through deep reinforcement
learning", methods; also Stable-Baselines3's `NatureCNN`. Its layer of 512 units is here the hidden layers."""
SMALL = ((16, 3, 1), (32, 3, 2))
"""For images with a side of fewer than 36 pixels, which the other leaves nothing of."""
FEWEST_PIXELS = 36


@dataclass(frozen=True)
class Layer:
    """One convolution: sizes of its input, `[inputs, height, width]`, and of its kernel, and its stride."""

    inputs: int
    height: int
    width: int
    outputs: int
    kernel: tuple[int, int]
    stride: int

    @property
    def patch(self) -> int:
        """The numbers that one output is computed from."""
        return self.inputs * self.kernel[0] * self.kernel[1]

    @property
    def made(self) -> tuple[int, int]:
        """Height and width of the output."""
        high, wide = self.kernel
        return (self.height - high) // self.stride + 1, (self.width - wide) // self.stride + 1


@dataclass(frozen=True)
class Convolutions:
    """Convolutions with ReLU of images `[channels, height, width]`, as a function of their parameters theta `[R, n]`.

    Bytes are divided by 255; images that are not bytes are taken as they are. A kernel is never larger than its input.
    """

    image: tuple[int, int, int]

    @property
    def layers(self) -> list[Layer]:
        channels, height, width = self.image
        found: list[Layer] = []
        for outputs, size, stride in NATURE if min(height, width) >= FEWEST_PIXELS else SMALL:
            layer = Layer(channels, height, width, outputs, (min(size, height), min(size, width)), stride)
            found.append(layer)
            channels, (height, width) = outputs, layer.made
        return found

    @property
    def count(self) -> int:
        """The number of parameters of one run."""
        return sum((layer.patch + 1) * layer.outputs for layer in self.layers)

    @property
    def features(self) -> int:
        last = self.layers[-1]
        return last.outputs * last.made[0] * last.made[1]

    def initialise(self, row: Tensor, generator: torch.Generator) -> None:
        """Orthogonal weights scaled by √2 in one run's `[1, n]`, in place; biases are left as they are."""
        for _, weight, _ in self.split(row):
            weight[0] = nn.init.orthogonal_(torch.empty_like(weight[0].T), math.sqrt(2), generator).T

    def split(self, theta: Float[Tensor, "runs n"]) -> Iterator[tuple[Layer, Tensor, Tensor]]:
        """Each layer with views of its weights, `[R, patch, outputs]`, and biases, `[R, 1, outputs]`."""
        at = 0
        for layer in self.layers:
            weights, end = at + layer.patch * layer.outputs, at + (layer.patch + 1) * layer.outputs
            yield (
                layer,
                theta[:, at:weights].view(-1, layer.patch, layer.outputs),
                theta[:, weights:end].view(-1, 1, layer.outputs),
            )
            at = end

    def __call__(
        self, theta: Float[Tensor, "runs n"], x: Num[Tensor, "runs N pixels"]
    ) -> Float[Tensor, "runs N features"]:
        """The features of N images of each run."""
        runs, images = x.shape[:2]
        x = x.to(theta.dtype) / 255 if x.dtype == torch.uint8 else x.to(theta.dtype)
        x = x.reshape(runs * images, *self.image)
        for layer, weight, bias in self.split(theta):
            patches = nn.functional.unfold(x, layer.kernel, stride=layer.stride).mT  # [runs·N, places, patch]
            made = torch.baddbmm(bias, patches.reshape(runs, -1, layer.patch), weight).relu()
            x = made.view(runs * images, -1, layer.outputs).mT.reshape(runs * images, layer.outputs, *layer.made)
        return x.reshape(runs, images, self.features)

    def named(self, theta: Float[Tensor, "runs n"]) -> dict[str, Tensor]:
        """The weights in the layout of `torch.nn.Conv2d` behind each run, as views."""
        found = {}
        for i, (layer, weight, bias) in enumerate(self.split(theta)):
            shape = (len(theta), layer.outputs, layer.inputs, *layer.kernel)
            found[f"convolutions.{i}.weight"] = weight.mT.unflatten(2, shape[2:])
            found[f"convolutions.{i}.bias"] = bias.flatten(1)
        return found
