"""KL-shaped rewards: by hand, against loops, and with junk at masked places."""

from functools import partial

import pytest
import torch

import burnish.functional as fn

from .helpers import JUNK, assert_gradients, close, coins, f64, gradients, numbers
from .oracles import each_run, shaped


def test_by_hand() -> None:
    """β = ½, score 10. Log-ratios 1, 2, 3 real in all: −½, −1, 10 − 1.5. Two real: −½, 10 − 1, 0. A gap: −½, 0, 8.5."""
    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, True], [False] * 3])
    logprobs, ref_logprobs = f64([[-1.0, -2.0, -3.0]] * 4), f64([[-2.0, -4.0, -6.0]] * 4)
    expected = [[-0.5, -1.0, 8.5], [-0.5, 9.0, 0.0], [-0.5, 0.0, 8.5], [0.0, 0.0, 0.0]]
    close(fn.kl_shaped_rewards(f64([10.0] * 4), logprobs, ref_logprobs, mask, 0.5), expected)
    close(fn.kl_shaped_rewards(f64([10.0] * 4), logprobs, ref_logprobs, mask, f64(0.5)), expected)


@pytest.mark.parametrize("junk", JUNK)
def test_two_turns_by_hand(junk: float) -> None:
    """β = ½, score 10, log-ratios 1 and 2 in the first turn, 3 and 4 in the second: −½, −1, then −1.5 and 10 − 2. Every
    chosen token pays for its KL; the score comes once, at the end of the last turn. The returns at γ = 1 are the sums
    from each token on, across the gap: 5, 5.5, 6.5 and 8."""
    mask = torch.tensor([[0, 1, 1, 0, 0, 1, 1, 0]]) > 0
    logprobs = f64([[junk, -1, -2, junk, junk, -3, -4, junk]])
    ref_logprobs = f64([[junk, -2, -4, junk, junk, -6, -8, junk]])
    rewards = fn.kl_shaped_rewards(f64([10.0]), logprobs, ref_logprobs, mask, 0.5)
    close(rewards, [[0.0, -0.5, -1.0, 0.0, 0.0, -1.5, 8.0, 0.0]])
    close(fn.discounted_returns(rewards, mask.double(), mask), [[0.0, 5.0, 5.5, 0.0, 0.0, 6.5, 8.0, 0.0]])


def test_beta_of_zero_is_the_score_alone() -> None:
    rewards = fn.kl_shaped_rewards(f64([0.0, 7.0]), numbers(2, 3), numbers(2, 3, seed=1), torch.ones(2, 3) > 0, 0)
    close(rewards, [[0.0, 0.0, 0.0], [0.0, 0.0, 7.0]])


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
def test_against_loops(lead: tuple[int, ...]) -> None:
    scores, mask = numbers(*lead, 5), coins(*lead, 5, 4)
    mask[..., 2, :] = False
    logprobs, ref_logprobs = numbers(*lead, 5, 4, seed=1), numbers(*lead, 5, 4, seed=2)
    expected = each_run(partial(shaped, beta=0.3), len(lead), scores, logprobs, ref_logprobs, mask)
    close(fn.kl_shaped_rewards(scores, logprobs, ref_logprobs, mask, 0.3), expected)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places_changes_neither_value_nor_gradient(junk: float) -> None:
    mask = torch.tensor([[True, True, False], [True, False, True], [False] * 3])
    scores, logprobs, ref_logprobs = numbers(3), numbers(3, 3, seed=1), numbers(3, 3, seed=2)

    def filled(value: float) -> list[torch.Tensor]:
        return [torch.where(mask.any(-1), scores, value)] + [
            torch.where(mask, x, value) for x in (logprobs, ref_logprobs)
        ]

    def rewards(*inputs: torch.Tensor) -> torch.Tensor:
        return fn.kl_shaped_rewards(*inputs, mask, 0.5)

    assert torch.equal(rewards(*filled(junk)), rewards(*filled(0.0)))
    for dirty, clean in zip(gradients(rewards, *filled(junk)), gradients(rewards, *filled(0.0)), strict=True):
        assert torch.equal(dirty, clean)


def test_gradients_against_finite_differences() -> None:
    mask = coins(3, 4)
    assert_gradients(
        lambda s, p, r: fn.kl_shaped_rewards(s, p, r, mask, 0.3),
        numbers(3),
        numbers(3, 4, seed=1),
        numbers(3, 4, seed=2),
    )
