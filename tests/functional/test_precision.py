"""Half precision inputs give float32 outputs; float64 stays float64."""

import pytest
import torch

import burnish.functional as fn
from burnish.functional.precision import widen

WIDENED = [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float32,) * 2, (torch.float64,) * 2]


@pytest.mark.parametrize(("given", "computed"), WIDENED)
def test_widen_keeps_the_wider_type(given: torch.dtype, computed: torch.dtype) -> None:
    assert widen(torch.ones(2, dtype=given)).dtype == computed


@pytest.mark.parametrize(("given", "computed"), WIDENED)
def test_every_family_computes_in_the_wider_type(given: torch.dtype, computed: torch.dtype) -> None:
    x, one = torch.linspace(-2, -1, 6, dtype=given).reshape(2, 3), torch.ones(2, dtype=given)
    mask, wide = torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 4, dtype=given)
    results = [
        fn.masked_sum(x, mask),
        fn.masked_mean(x, mask),
        fn.centre(x, mask),
        fn.standardise(x, mask),
        fn.aggregate(x, mask),
        fn.aggregate(x, mask, over="constant", total=6),
        fn.action_logprobs(x, torch.tensor([0, 2])),
        fn.entropy(x),
        fn.gaussian_logprobs(x, x, x),
        fn.gaussian_entropy(x),
        fn.gaussian_kl(x, x, x, x),
        fn.squashed_gaussian_logprobs(x, x, x),
        *fn.squashed_gaussian_sample(x, x, x),
        fn.td_target(x, x, x),
        fn.n_step_target(x, x, mask, one),
        fn.double_q(x, x),
        fn.soft_value(x, x, 0.1),
        fn.huber_loss(x, x),
        fn.categorical_kl(x, x),
        fn.k1(x, x),
        fn.k2(x, x),
        fn.k3(x, x),
        fn.discounted_returns(x, x, mask, one),
        fn.gae(x, wide, x, mask, 0.9),
        fn.group_centre(x),
        fn.group_standardise(x),
        fn.leave_one_out(x),
        fn.policy_gradient(x, x),
        fn.surrogate(x, x, x),
        fn.clipped_surrogate(x, x, x),
        fn.value_loss(x, x),
        fn.clipped_value_loss(x, x, x, 0.2),
        fn.explained_variance(x, x, mask),
        fn.bradley_terry(x, x),
        fn.erring_bradley_terry(x, x),
        fn.implicit_reward(x, x, 0.1),
        fn.dpo(x, x, 0.1),
        fn.robust_dpo(x, x, 0.1, 0.1),
        fn.hinge(x, x, 0.1),
        fn.ipo(x, x, 0.1),
        fn.kto(x, mask, 0.1, 0.1),
        fn.simpo(x, x, 2, 0.5),
        fn.orpo_odds(x, x),
        fn.kl_shaped_rewards(one, x, x, mask, 0.1),
        fn.conjugate_gradient(lambda v: v, x),
    ]
    assert {result.dtype for result in results} == {computed}
    assert all(result.isfinite().all() for result in results)


def test_bfloat16_sums_do_not_stop_counting() -> None:
    """In bfloat16 256 + 1 = 256, so neither the sum nor the count of 1,001 ones can be represented."""
    ones, mask = torch.ones(1, 1001, dtype=torch.bfloat16), torch.ones(1, 1001, dtype=torch.bool)
    assert fn.masked_sum(ones, mask).item() == 1001.0
    assert fn.masked_mean(ones, mask).item() == 1.0
    assert fn.aggregate(ones, mask, total=1001).item() == 1.0


def test_all_lists_every_public_name_once() -> None:
    public = {name for name, value in vars(fn).items() if callable(value) and not name.startswith("_")}
    assert len(fn.__all__) == len(public)
    assert set(fn.__all__) == public
