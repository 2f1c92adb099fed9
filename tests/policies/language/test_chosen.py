"""Log-probabilities in blocks: those of `action_logprobs`, and its gradient, wherever the blocks end."""

import math

import pytest
import torch

from burnish.functional import action_logprobs
from burnish.policies.language import chosen
from burnish.policies.language.chosen import chosen_logprobs

ROWS, VOCABULARY = 7, 50


def made(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(ROWS, VOCABULARY, generator=generator)).to(dtype)
    logits[1, 3] = -math.inf  # a token that cannot be chosen
    logits[2] += 200  # exp would overflow
    return logits, torch.randint(4, VOCABULARY, (ROWS,), generator=generator), torch.randn(ROWS, generator=generator)


@pytest.mark.parametrize("block", [1, 3 * VOCABULARY, 10_000])
def test_blocks_change_neither_value_nor_gradient(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "BLOCK", block)
    logits, targets, slopes = made(torch.bfloat16)
    exact = logits.double().requires_grad_()
    expected = action_logprobs(exact, targets)
    expected.backward(slopes.double())
    logits.requires_grad_()
    found = chosen_logprobs(logits, targets)
    found.backward(slopes)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    assert exact.grad is not None
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=2**-8, atol=1e-6)  # rounded to bfloat16 once
    assert logits.grad[1, 3] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wider_logits_go_the_plain_way(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "Blocked", None)
    logits, targets, _ = made(dtype)
    assert torch.equal(chosen_logprobs(logits, targets), action_logprobs(logits, targets))


def test_no_token_has_no_number() -> None:
    logits = torch.zeros(0, VOCABULARY, dtype=torch.bfloat16)
    assert chosen_logprobs(logits, torch.zeros(0, dtype=torch.long)).shape == (0,)
