"""NEFTune: uniform noise on the embeddings of the texts that a model is trained on."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.run.world import SEEDS

LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Neftune:
    """Noise of scale `alpha` on the output of an embedding layer: x + (α / √(L·d)) · u,  u ~ Uniform(−1, 1)

    with L the length of the row in tokens, padding not counted, and d the width of the embeddings. A row's noise is a
    function of PyTorch's seed, which the training loop sets for each step, and of the row's number, so that it depends
    on no padding, micro-batch, neighbour or process.

    Jain et al. (2024), "NEFTune: Noisy Embeddings Improve Instruction Finetuning", algorithm 1.
    """

    alpha: float

    def noise(self, row: int, length: int, width: int, device: torch.device) -> Float[Tensor, "L d"]:
        """The noise on all tokens of one row, in float32."""
        seed = torch.initial_seed() % SEEDS  # the same in all processes
        random = torch.Generator(device).manual_seed(hash((seed, row)) & LARGEST)
        uniform = torch.rand(length, width, generator=random, device=device) * 2 - 1
        return uniform * (self.alpha / math.sqrt(length * width))

    @contextmanager
    def on(self, embeddings: nn.Module, rows: Sequence[int], lengths: Sequence[int]) -> Iterator[None]:
        """Add the noise of these rows to what the layer gives inside; what follows a row's end stays as it is."""

        def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            noise = torch.zeros_like(output)
            for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                own = self.noise(row, length, output.shape[-1], output.device)[: output.shape[1]]
                noise[place, : len(own)] = own.to(output.dtype)
            return output + noise

        hook = embeddings.register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()
