"""Post-training formulas as pure functions on tensors: no modules, no configuration, no hidden averages.

Objectives return one loss per step or per row, to be minimised; only `aggregate` reduces them. Leading dimensions are
independent. Half precision inputs give float32 outputs; float64 stays float64.
"""

from burnish.functional.action_values import double_q, huber_loss, n_step_target, soft_value, td_target
from burnish.functional.anchored import apo_down, apo_zero, nca_pair, sppo
from burnish.functional.baselines import (
    group_centre,
    group_standardise,
    leave_one_out,
    leave_one_out_standardise,
)
from burnish.functional.categorical import action_logprobs, entropy, log_softmax
from burnish.functional.divergences import alpha_reward, forward_kl_reward, js_reward
from burnish.functional.gaussian import (
    gaussian_entropy,
    gaussian_kl,
    gaussian_logprobs,
    squashed_gaussian_logprobs,
    squashed_gaussian_sample,
)
from burnish.functional.importance import effective_sample_size, log_weights, masked_outside, truncated
from burnish.functional.kl import categorical_kl, generalised_js, k1, k2, k3
from burnish.functional.masked import Moments, aggregate, centre, masked_mean, masked_sum, moments, standardise
from burnish.functional.policy_gradient import (
    clipped_surrogate,
    clipped_weight,
    policy_gradient,
    sequence_log_ratio,
    surrogate,
)
from burnish.functional.preference import (
    bradley_terry,
    dpo,
    erring_bradley_terry,
    exo_pair,
    hinge,
    implicit_reward,
    ipo,
    kto,
    orpo_odds,
    ranked_bradley_terry,
    robust_dpo,
    simpo,
)
from burnish.functional.returns import discounted_returns, gae
from burnish.functional.shaping import kl_shaped_rewards
from burnish.functional.trust_region import backtracking_search, conjugate_gradient
from burnish.functional.value import clipped_value_loss, explained_variance, value_loss

__all__ = [
    "Moments",
    "action_logprobs",
    "aggregate",
    "alpha_reward",
    "apo_down",
    "apo_zero",
    "backtracking_search",
    "bradley_terry",
    "categorical_kl",
    "centre",
    "clipped_surrogate",
    "clipped_value_loss",
    "clipped_weight",
    "conjugate_gradient",
    "discounted_returns",
    "double_q",
    "dpo",
    "effective_sample_size",
    "entropy",
    "erring_bradley_terry",
    "exo_pair",
    "explained_variance",
    "forward_kl_reward",
    "gae",
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_logprobs",
    "generalised_js",
    "group_centre",
    "group_standardise",
    "hinge",
    "huber_loss",
    "implicit_reward",
    "ipo",
    "js_reward",
    "k1",
    "k2",
    "k3",
    "kl_shaped_rewards",
    "kto",
    "leave_one_out",
    "leave_one_out_standardise",
    "log_softmax",
    "log_weights",
    "masked_mean",
    "masked_outside",
    "masked_sum",
    "moments",
    "n_step_target",
    "nca_pair",
    "orpo_odds",
    "policy_gradient",
    "ranked_bradley_terry",
    "robust_dpo",
    "sequence_log_ratio",
    "simpo",
    "soft_value",
    "sppo",
    "squashed_gaussian_logprobs",
    "squashed_gaussian_sample",
    "standardise",
    "surrogate",
    "td_target",
    "truncated",
    "value_loss",
]
