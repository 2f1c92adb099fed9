"""How returns, advantages and group baselines are one another's special cases."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import burnish.functional as fn

from .bandits import close, numbers


def rows(seed: int, gamma: float = 0.9) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Seven rows of one run: full and short, terminated and truncated, one without a step, and two with a gap, one of
    which terminated. V(final) is in the column after the last chosen step, and no other masked place is a number."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([6, 6, 3, int(torch.randint(1, 6, (), generator=generator)), 0, 5, 6])
    steps = torch.arange(6)
    mask = steps < lengths[:, None]
    mask[5:] &= torch.tensor([1, 1, 0, 0, 1, 1], dtype=torch.bool)
    terminated = torch.tensor([True, False, True, False, False, False, True])
    discounts = torch.where(terminated[:, None] & (steps == lengths[:, None] - 1), 0.0, gamma).double()
    at_end = torch.arange(7) == lengths[:, None]
    values = torch.where(torch.nn.functional.pad(mask, (0, 1)) | at_end, numbers(7, 7, seed=seed), torch.nan)
    bootstrap = values.gather(-1, lengths[:, None]).squeeze(-1)
    rewards = torch.where(mask, numbers(7, 6, seed=seed + 1), torch.nan)
    return rewards, values, discounts, mask, torch.where(terminated, torch.nan, bootstrap)


def discounted_next(values: Tensor, discounts: Tensor) -> Tensor:
    """γ_t V_{t+1} for the rows above, whose gaps are the columns 2 and 3: column 1 is followed by column 4."""
    following = values[:, 1:].clone()
    following[5:, 1] = values[5:, 4]
    return torch.where(discounts == 0, 0.0, discounts * following)


@given(seed=st.integers(0, 999), gamma=st.floats(0.1, 1.0))
def test_lambda_1_is_return_minus_value(seed: int, gamma: float) -> None:
    rewards, values, discounts, mask, bootstrap = rows(seed, gamma)
    returns = fn.discounted_returns(rewards, discounts, mask, bootstrap)
    expected = torch.where(mask, returns - values[:, :-1], 0.0)
    close(fn.gae(rewards, values, discounts, mask, 1.0), expected)


@given(seed=st.integers(0, 999), gamma=st.floats(0.1, 1.0))
def test_lambda_0_is_the_temporal_difference_error(seed: int, gamma: float) -> None:
    rewards, values, discounts, mask, _ = rows(seed, gamma)
    expected = torch.where(mask, rewards + discounted_next(values, discounts) - values[:, :-1], 0.0)
    close(fn.gae(rewards, values, discounts, mask, 0.0), expected)


@given(seed=st.integers(0, 999), lambda_=st.floats(0, 1))
def test_with_exact_values_every_lambda_has_no_advantage(seed: int, lambda_: float) -> None:
    """Rewards that are what the values say they are, r_t = V_t − γ V_{t+1}, surprise nobody."""
    _, values, discounts, mask, _ = rows(seed)
    rewards = values[:, :-1] - discounted_next(values, discounts)
    close(fn.gae(rewards, values, discounts, mask, lambda_), torch.zeros(7, 6, dtype=torch.float64))


def test_without_values_lambda_is_a_discount() -> None:
    """V = 0: A(γ, λ) is the return discounted by γλ."""
    rewards, _, discounts, mask, _ = rows(0)
    values = torch.zeros(7, 7, dtype=torch.float64)
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
    mask = torch.tensor([[True] * 5, [True, True, False, False, False], [True, False, False, True, True]])
    rewards = fn.kl_shaped_rewards(scores, logprobs, ref_logprobs, mask, 0.3)
    returns = fn.discounted_returns(rewards, torch.ones(3, 5), mask)
    close(returns[:, 0], scores - 0.3 * fn.masked_sum(fn.k1(logprobs, ref_logprobs), mask, -1))


def test_standardised_groups_of_equal_length_are_grpo() -> None:
    """A group standardised as a group, or as a run of one row: the two normalisations agree up to where eps stands."""
    scores = numbers(4, 6)
    mask = torch.ones(4, 1, 6, dtype=torch.bool)
    close(fn.group_standardise(scores, eps=0), fn.standardise(scores[:, None], mask, eps=0).squeeze(1))
