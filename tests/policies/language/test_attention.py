"""Attention of one token: the values of slow loops, whatever the mask and the layout, and only while decoding."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from burnish.policies.language.attention import FUSED, attention, decoding, sdpa

ROWS, HEADS, COLUMNS, WIDTH, SCALING = 3, 4, 40, 24, 0.2


def parts(shared: int = 1, count: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of so many tokens, keys and values; the last columns of larger buffers are left out."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(ROWS, HEADS, count, WIDTH, generator=generator, dtype=torch.float64)
    key = torch.randn(ROWS, HEADS // shared, COLUMNS + 2, WIDTH, generator=generator, dtype=torch.float64)
    value = torch.randn(ROWS, HEADS // shared, COLUMNS + 2, 3, generator=generator, dtype=torch.float64)
    return query, key[:, :, :COLUMNS], value[:, :, :COLUMNS]


def slow(query: Tensor, key: Tensor, value: Tensor, added: Tensor) -> Tensor:
    """The definition, a number at a time; `added[n][t]` is added to the score of a column."""
    found = torch.zeros(ROWS, 1, HEADS, value.shape[-1], dtype=torch.float64)
    for n in range(ROWS):
        for h in range(HEADS):
            k, v = (one[n, h * one.shape[1] // HEADS].tolist() for one in (key, value))
            q = query[n, h, 0].tolist()
            weights = [
                math.exp(SCALING * sum(a * b for a, b in zip(q, column, strict=True)) + float(added[n, t]))
                for t, column in enumerate(k)
            ]
            for e in range(value.shape[-1]):
                found[n, 0, h, e] = sum(w * column[e] for w, column in zip(weights, v, strict=True)) / sum(weights)
    return found


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_values_are_those_of_slow_loops(shared: int) -> None:
    """Without a mask, with one of booleans for each row, and with numbers that are added."""
    given = parts(shared)
    visible = torch.arange(COLUMNS) >= torch.tensor([[0], [17], [COLUMNS - 1]])
    numbers = torch.linspace(-2, 2, ROWS * COLUMNS, dtype=torch.float64).view(ROWS, COLUMNS)
    cases = (
        (None, torch.zeros(ROWS, COLUMNS)),
        (visible, torch.where(visible, 0.0, -math.inf)),
        (numbers, numbers),
    )
    for mask, added in cases:
        found = attention(*given, None if mask is None else mask[:, None, None], SCALING)
        torch.testing.assert_close(found, slow(*given, added))


@pytest.mark.parametrize("shared", [1, 2])
def test_transformers_gets_the_same_while_decoding_and_its_own_otherwise(shared: int) -> None:
    """Rounding shows which of the two computed a number; a prompt of several tokens is always read by its own."""
    module = nn.Module()
    module.num_key_value_groups = shared  # type: ignore[assignment]
    mask = torch.ones(ROWS, 1, 1, COLUMNS, dtype=torch.bool)
    for count in (1, 2):
        query, key, value = (one.float() for one in parts(shared, count))
        given: Any = (module, query, key, value, mask.expand(-1, -1, count, -1))
        own, outside = FUSED(*given, scaling=SCALING)[0], sdpa(*given, scaling=SCALING)[0]
        with decoding():
            inside = sdpa(*given, scaling=SCALING)[0]
        assert torch.equal(outside, own)
        assert torch.equal(inside, own) == (count > 1)
        torch.testing.assert_close(inside, own)


def test_the_default_scale_is_that_of_the_width() -> None:
    given: Any = (nn.Module(), *parts(), None)
    with decoding():
        torch.testing.assert_close(sdpa(*given)[0], FUSED(*given)[0])


def test_what_adds_to_the_scores_is_left_to_transformers() -> None:
    """A bias of positions is added as ever, and a cap on the scores refused, as sdpa has none."""
    given: Any = (nn.Module(), *parts(), None)
    bias = torch.linspace(-1, 1, COLUMNS, dtype=torch.float64).expand(1, HEADS, 1, COLUMNS)
    with decoding():
        assert torch.equal(sdpa(*given, position_bias=bias)[0], FUSED(*given, position_bias=bias)[0])
        with pytest.raises(ValueError, match="softcap"):
            sdpa(*given, softcap=30.0)
