"""Attention by two products: the values of slow loops whatever the mask and the layout, and only where it is faster."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from burnish.policies.language.attention import FUSED, SHORT, attention, decoding, sdpa

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


def test_bfloat16_weights_are_the_rounded_ones_with_and_without_a_gradient() -> None:
    """Values that are the identity give the weights. Softmax in float32 is rounded once; softmax in bfloat16 alone
    would be off by more than that in many places."""
    generator = torch.Generator().manual_seed(0)
    query = (8 * torch.randn(64, 2, 1, COLUMNS, generator=generator)).bfloat16()
    identity = torch.eye(COLUMNS).bfloat16().expand(64, 2, -1, -1)
    exact = query.float().softmax(-1).bfloat16().transpose(1, 2)
    for needed in (False, True):
        found = attention(query.clone().requires_grad_(needed), identity, identity, None, 1.0)
        assert (found != exact).float().mean() < 1e-3
        torch.testing.assert_close(found, exact, rtol=2**-7, atol=0)


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


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_several_tokens_have_the_values_of_each_by_itself(shared: int) -> None:
    """Each sees as many columns as a mask of its own says."""
    query, key, value = parts(shared, count=3)
    visible = torch.arange(COLUMNS) <= torch.tensor([[5], [17], [COLUMNS - 1]])
    found = attention(query, key, value, visible[None, None], SCALING)
    for i in range(3):
        added = torch.where(visible[i], 0.0, -math.inf).expand(ROWS, -1)
        torch.testing.assert_close(found[:, i : i + 1], slow(query[:, :, i : i + 1], key, value, added))


@pytest.mark.parametrize("columns", [SHORT * 8, SHORT * 8 + 1])
@pytest.mark.parametrize("causal", [True, False])
def test_short_rows_in_bfloat16_are_two_products(columns: int, causal: bool) -> None:
    """Without a mask a token sees none behind it, unless the module or the call says otherwise; longer rows are
    transformers' own, to the bit. Gradients agree with float64's to what bfloat16 can hold."""
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(2, heads, columns, 8, generator=generator).bfloat16() for heads in (4, 2, 2)]
    wide, half = ([one.to(dtype).requires_grad_() for one in given] for dtype in (torch.float64, torch.bfloat16))
    module = nn.Module()
    module.num_key_value_groups = 2  # type: ignore[assignment]
    module.is_causal = causal  # type: ignore[assignment]
    found, expected, own = sdpa(module, *half, None)[0], FUSED(module, *wide, None)[0], FUSED(module, *half, None)[0]
    assert torch.equal(found, own) == (columns > SHORT * 8)
    torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=0.02)
    for output in (found, expected):
        output.double().square().sum().backward()
    for one, other in zip(half, wide, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=0.05, atol=0.05)
    said = sdpa(module, *half, None, is_causal=not causal)[0]
    torch.testing.assert_close(said.double(), FUSED(module, *wide, None, is_causal=not causal)[0], rtol=0.02, atol=0.02)


def test_a_token_that_sees_nothing_is_finite() -> None:
    """Padding on the left, whose values are written into the cache."""
    query, key, value = (one.bfloat16() for one in parts(count=2))
    mask = (torch.arange(COLUMNS) >= torch.tensor([[COLUMNS], [3]]))[None, None]
    assert sdpa(nn.Module(), query, key, value, mask)[0].isfinite().all()


def test_dropout_leaves_out_weights() -> None:
    """Of 40 equal weights so many are left out, and the others are larger by 1 / (1 - p)."""
    value = torch.eye(COLUMNS).expand(1, 1, -1, -1).bfloat16()
    torch.manual_seed(0)
    found = sdpa(
        nn.Module(),
        torch.zeros(1, 1, 9, 8).bfloat16(),
        torch.zeros(1, 1, COLUMNS, 8).bfloat16(),
        value,
        torch.ones(1, 1, 9, COLUMNS, dtype=torch.bool),
        dropout=0.25,
    )[0]
    kept = found.unique()
    assert kept.tolist() == pytest.approx([0, 1 / 40 / 0.75], rel=0.01)
    assert 0.1 < (found == 0).float().mean() < 0.4


@pytest.mark.parametrize("causal", [True, False])
def test_under_autocast_float32_queries_are_rounded_first(causal: bool) -> None:
    """Rotary models give them beside values in bfloat16: they take the two products too."""
    query, key, value = (one.float() for one in parts(count=5))
    mask = None if causal else (torch.arange(COLUMNS) >= 7)[None, None, None].expand(ROWS, 1, 5, -1)
    with torch.autocast("cpu", torch.bfloat16):
        found = sdpa(nn.Module(), query, key, value.bfloat16(), mask)[0]
        expected = sdpa(nn.Module(), query.bfloat16(), key.bfloat16(), value.bfloat16(), mask)[0]
        own = FUSED(nn.Module(), query, key, value.bfloat16(), mask)[0]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    assert not torch.equal(found, own)
    torch.testing.assert_close(found, own, rtol=0.05, atol=0.05)
