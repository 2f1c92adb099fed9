"""How returns, advantages and group baselines are one another's special cases."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import burnish.functional as fn

from .bandits import close, numbers


def rows(seed: int, gamma: float = 0.9) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Five rows of one run each way: full and short, terminated and truncated, and one without a step. V(final) is at
    the column after the last real step, and what lies behind it is not a number."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([6, 6, 3, int(torch.randint(1, 6, (), generator=generator)), 0])
    steps = torch.arange(6)
    mask = steps < lengths[:, None]
    terminated = torch.tensor([True, False, True, False, False])
    discounts = torch.where(terminated[:, None] & (steps == lengths[:, None] - 1), 0.0, gamma).double()
    values = torch.where(torch.arange(7) <= lengths[:, None], numbers(5, 7, seed=seed), torch.nan)
    bootstrap = values.gather(-1, lengths[:, None]).squeeze(-1)
    rewards = torch.where(mask, numbers(5, 6, seed=seed + 1), torch.nan)
    return rewards, values, discounts, mask, torch.where(terminated, torch.nan, bootstrap)


@given(seed=st.integers(0, 999), gamma=st.floats(0.1, 1.0))
def test_lambda_1_is_return_minus_value(seed: int, gamma: float) -> None:
    rewards, values, discounts, mask, bootstrap = rows(seed, gamma)
    returns = fn.discounted_returns(rewards, discounts, mask, bootstrap)
    expected = torch.where(mask, returns - values[:, :-1], 0.0)
    close(fn.gae(rewards, values, discounts, mask, 1.0), expected)


@given(seed=st.integers(0, 999), gamma=st.floats(0.1, 1.0))
def test_lambda_0_is_the_temporal_difference_error(seed: int, gamma: float) -> None:
    rewards, values, discounts, mask, _ = rows(seed, gamma)
    following = torch.where(discounts == 0, 0.0, discounts * values[:, 1:])
    expected = torch.where(mask, rewards + following - values[:, :-1], 0.0)
    close(fn.gae(rewards, values, discounts, mask, 0.0), expected)


@given(seed=st.integers(0, 999), lambda_=st.floats(0, 1))
def test_with_exact_values_every_lambda_has_no_advantage(seed: int, lambda_: float) -> None:
    """Rewards that are what the values say they are, r_t = V_t − γ V_{t+1}, surprise nobody."""
    _, values, discounts, mask, _ = rows(seed)
    following = torch.where(discounts == 0, 0.0, discounts * values[:, 1:])
    rewards = values[:, :-1] - following
    close(fn.gae(rewards, values, discounts, mask, lambda_), torch.zeros(5, 6, dtype=torch.float64))


def test_without_values_lambda_is_a_discount() -> None:
    """V = 0: A(γ, λ) is the return discounted by γλ."""
    rewards, _, discounts, mask, _ = rows(0)
    values = torch.zeros(5, 7, dtype=torch.float64)
    close(fn.gae(rewards, values, discounts, mask, 0.7), fn.discounted_returns(rewards, 0.7 * discounts, mask))


@pytest.mark.parametrize("size", [2, 5])
def test_group_centring_is_gae_with_the_group_mean_as_value_and_leave_one_out_a_multiple(size: int) -> None:
    """γ = λ = 1, one reward at the end, V = the group's mean on every step: A_t = score − mean at all real steps."""
    scores, prompts = numbers(3, size), 3
    lengths = 1 + torch.arange(prompts * size).reshape(prompts, size) % 4
    steps = torch.arange(4)
    mask = steps < lengths[..., None]
    at_end = steps == lengths[..., None] - 1
    rewards = torch.where(at_end, scores[..., None], 0.0)
    discounts = torch.where(at_end, 0.0, 1.0).double()
    values = scores.mean(-1, keepdim=True)[..., None].expand(prompts, size, 5)
    centred = fn.group_centre(scores)
    close(fn.gae(rewards, values, discounts, mask, 1.0), torch.where(mask, centred[..., None], 0.0))
    close(fn.leave_one_out(scores), centred * size / (size - 1))


def test_rlhf_return_is_the_score_less_the_price_of_the_response() -> None:
    """γ = 1: the return of the first token is score − β Σ (log π − log π_ref), the papers' reward of a response."""
    scores, logprobs, ref_logprobs = numbers(3), numbers(3, 5, seed=1), numbers(3, 5, seed=2)
    mask = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    rewards = fn.kl_shaped_rewards(scores, logprobs, ref_logprobs, mask, 0.3)
    returns = fn.discounted_returns(rewards, torch.ones(3, 5), mask)
    close(returns[:, 0], scores - 0.3 * fn.masked_sum(fn.k1(logprobs, ref_logprobs), mask, -1))


def test_standardised_groups_of_equal_length_are_grpo() -> None:
    """A group standardised as a group, or as a run of one row: the two normalisations agree up to where eps stands."""
    scores = numbers(4, 6)
    mask = torch.ones(4, 1, 6, dtype=torch.bool)
    close(fn.group_standardise(scores, eps=0), fn.standardise(scores[:, None], mask, eps=0).squeeze(1))
