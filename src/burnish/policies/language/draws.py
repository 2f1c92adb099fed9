"""Random streams, the distribution that tokens are drawn from, and the draw."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def uniforms(seed: int, streams: Sequence[int], count: int) -> Float[Tensor, "N count"]:
    """`count` uniform numbers per stream; stream i of a seed does not depend on the other streams."""
    rows = []
    for stream in streams:
        digest = hashlib.sha256(f"sample {seed} {stream}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        rows.append(torch.rand(count, generator=generator, dtype=torch.float64))
    return torch.stack(rows)


def log_distribution(
    logits: Float[Tensor, "N V"], temperature: float, top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "N V"]:
    """The log-probabilities that tokens are drawn from: temperature, then the `top_k` largest, then the smallest set
    of probability `top_p` (Holtzman et al. 2020), normalised. In float32 or wider; −∞ for excluded tokens."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature != 1:
        logits = logits / temperature
    if top_k is not None:
        threshold = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    if top_p is not None:
        ordered, index = logits.softmax(-1).sort(descending=True, stable=True)
        beyond = ordered.cumsum(-1) - ordered >= top_p  # the token that crosses top_p stays
        beyond[..., 0] = False  # in float32 a tiny top_p is 0
        logits = logits.masked_fill(beyond.scatter(-1, index, beyond), -torch.inf)
    return logits.log_softmax(-1)


def draw(distribution: Float[Tensor, "N V"], uniform: Float[Tensor, "N"]) -> Int[Tensor, "N"]:
    """Inverse-CDF sampling: the first token whose cumulative probability exceeds the uniform number."""
    cumulative = distribution.exp().cumsum(-1, dtype=torch.float64)
    scaled = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, scaled, right=True)[:, 0].clamp(max=distribution.shape[-1] - 1)


def next_tokens(
    logits: Float[Tensor, "N V"],
    uniform: Float[Tensor, "N"],
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
) -> tuple[Int[Tensor, "N"], Float[Tensor, "N"]]:
    """A token per row, drawn from `log_distribution`, and its log-probability there."""
    logits, ids = (logits, None) if top_k is None else largest(logits, top_k)
    distribution = log_distribution(logits, temperature, top_k, top_p)
    chosen = draw(distribution, uniform)[:, None]
    return (chosen if ids is None else ids.gather(1, chosen))[:, 0], distribution.gather(1, chosen)[:, 0]


def likeliest(
    logits: Float[Tensor, "N V"], chosen: Int[Tensor, "N"], count: int
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """The `count` likeliest tokens of the model's own distribution, in falling order and behind them the chosen one,
    with their log-probabilities: before temperature, top-k and top-p."""
    logprobs = log_distribution(logits, 1.0)
    top = logprobs.topk(min(count, logprobs.shape[-1]))
    ids = torch.cat([top.indices, chosen[:, None]], 1)
    return ids, logprobs.gather(1, ids)


def largest(logits: Float[Tensor, "N V"], top_k: int) -> tuple[Float[Tensor, "N k"], Int[Tensor, "N k"]]:
    """The `top_k` largest logits of each row and those that equal the last of them, in order of their ids: of a large
    vocabulary the rest costs more than it is worth. All rows have as many as the longest one.

    The first look is at twice as many, because in bfloat16 several logits often equal the last one, and to count them
    in the whole vocabulary costs more than to find them.
    """
    size = logits.shape[-1]
    few = min(top_k, size)
    found = logits.topk(min(2 * few, size))
    last = found.values[:, few - 1 : few]
    count = max(few, int((found.values >= last).sum(-1).max()))
    if count == found.values.shape[-1] < size:
        count = int((logits >= last).sum(-1).max())
        found = logits.topk(count)
    ids = found.indices[:, :count].sort(-1).values
    return logits.gather(1, ids), ids
