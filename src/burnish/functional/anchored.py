"""Preference losses that anchor each response to the reference, not only the difference of the two responses.

DPO depends on the difference of two log-ratios alone, so both may fall as long as it grows. These losses tie one or
both of them to the reference, where the log-ratio is 0. One loss per comparison, unreduced: finite, with finite
gradients, at log-ratios of ±1,000.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.functional.precision import Scalar, widen


def apo_zero(
    chosen_logratio: Float[Tensor, "*#shape"], rejected_logratio: Float[Tensor, "*#shape"], beta: Scalar
) -> Float[Tensor, "*shape"]:
    """APO-zero: raise the chosen response above the reference and lower the rejected one below it.

    (1 − σ(β·chosen_logratio)) + σ(β·rejected_logratio)

    Shapes: any, elementwise. For data whose chosen responses are better than the policy's own.
    Source: D'Oosterlinck et al. 2024, "Anchored Preference Optimization and Contrastive Revisions", eq. 7.
    Differs: by the constant 1, so that it is never negative.
    """
    chosen, rejected = beta * widen(chosen_logratio), beta * widen(rejected_logratio)
    return (-chosen).sigmoid() + rejected.sigmoid()


def apo_down(
    chosen_logratio: Float[Tensor, "*#shape"], rejected_logratio: Float[Tensor, "*#shape"], beta: Scalar
) -> Float[Tensor, "*shape"]:
    """APO-down: lower the chosen response below the reference, and the rejected one further.

    σ(β·chosen_logratio) + (1 − σ(β·(chosen_logratio − rejected_logratio)))

    Shapes: any, elementwise. For data whose chosen responses are worse than the policy's own.
    Source: D'Oosterlinck et al. 2024, "Anchored Preference Optimization and Contrastive Revisions", eq. 8.
    Differs: by the constant 1, so that it is never negative.
    """
    chosen, rejected = beta * widen(chosen_logratio), beta * widen(rejected_logratio)
    return chosen.sigmoid() + (rejected - chosen).sigmoid()


def nca_pair(
    chosen_logratio: Float[Tensor, "*#shape"], rejected_logratio: Float[Tensor, "*#shape"], beta: Scalar
) -> Float[Tensor, "*shape"]:
    """NCA on a pair: classify the chosen response against the reference's own, and keep both from becoming too likely.

    −log σ(c) − ½ log σ(−c) − ½ log σ(−r),  c = β·chosen_logratio, r = β·rejected_logratio

    Shapes: any, elementwise. As a function of c alone it is minimal at c = log 2, not at ∞.
    Source: Chen et al. 2024, "Noise Contrastive Alignment of Language Models with Explicit Rewards".
    """
    chosen, rejected = beta * widen(chosen_logratio), beta * widen(rejected_logratio)
    return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)


def sppo(
    chosen_logratio: Float[Tensor, "*#shape"],
    rejected_logratio: Float[Tensor, "*#shape"],
    beta: Scalar,
    confidence: Scalar = 1.0,
) -> Float[Tensor, "*shape"]:
    """SPPO on a pair: regress each log-ratio on how much its response wins by, ±(p − ½)/β.

    (chosen_logratio − (p − ½)/β)² + (rejected_logratio + (p − ½)/β)²

    Shapes: any, elementwise. p is `confidence`, the probability that the chosen one wins; 1 is the paper's hard form.
    Source: Wu et al. 2024, "Self-Play Preference Optimization for Language Model Alignment", eq. 4.7, with η = 1/β.
    Differs: the paper estimates how often a response beats the policy's own; here it is compared with its pair's other.
    """
    target = (confidence - 0.5) / beta
    return (widen(chosen_logratio) - target).square() + (widen(rejected_logratio) + target).square()
