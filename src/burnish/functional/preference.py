"""Preference losses, one per comparison, unreduced: finite, with finite gradients, at arguments of ±1,000.

The DPO family takes log-ratios: log π(y|x) − log π_ref(y|x), summed over the response's tokens. SimPO and ORPO need no
reference and take the response's mean log-probability per token.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.functional.masked import masked_mean
from burnish.functional.precision import AnyScalar, Scalar, widen


def bradley_terry(
    chosen: Float[Tensor, "*#shape"],
    rejected: Float[Tensor, "*#shape"],
    margin: Scalar = 0.0,
    confidence: Scalar = 1.0,
) -> Float[Tensor, "*shape"]:
    """Bradley–Terry: negative log-likelihood that the chosen response wins, with soft label `confidence`.

    −c log σ(z) − (1 − c) log σ(−z),  z = chosen − rejected − margin

    Shapes: any, elementwise. chosen and rejected are scores, their difference is the log-odds of the preference; c is
    `confidence`, the probability that the chosen response is the better one.
    Source: Bradley & Terry 1952; Ouyang et al. 2022 (InstructGPT), eq. 1, with c = 1 and no margin.
    """
    z = widen(chosen) - widen(rejected) - margin
    return -confidence * logsigmoid(z) - (1.0 - confidence) * logsigmoid(-z)


def erring_bradley_terry(
    chosen: Float[Tensor, "*#shape"],
    rejected: Float[Tensor, "*#shape"],
    confidence: Scalar = 1.0,
    error: Scalar = 0.1,
) -> Float[Tensor, "*shape"]:
    """`bradley_terry` for a judge who answers at random with probability `error`, so that no label is certain.

    −c log p(z) − (1 − c) log p(−z),  p(z) = (1 − ε) σ(z) + ε/2,  z = chosen − rejected

    Shapes: any, elementwise. ε is `error`; at ε = 0 this is `bradley_terry`. The loss stays below −log(ε/2), and a pair
    far on the wrong side has no gradient. c is 1, 0, or ½ for a tie.
    Source: Christiano et al. 2017, eq. 1 and section 2.2.3, with ε = 0.1.
    """
    z = widen(chosen) - widen(rejected)
    error = torch.as_tensor(error, dtype=z.dtype, device=z.device)
    sure, guess = (-error).log1p(), (0.5 * error).log()
    right, wrong = torch.logaddexp(sure + logsigmoid(z), guess), torch.logaddexp(sure + logsigmoid(-z), guess)
    return -confidence * right - (1.0 - confidence) * wrong


def ranked_bradley_terry(
    scores: Float[Tensor, "*lead group"],
    answered: Bool[Tensor, "*lead group"],
    margin: AnyScalar = 0.0,
    confidence: AnyScalar = 1.0,
) -> Float[Tensor, "*lead"]:
    """Mean `bradley_terry` over all pairs of a ranking, best first: one loss per prompt, however many responses.

    1/C(K, 2) · Σ_{i<j} [ −c log σ(z_ij) − (1 − c) log σ(−z_ij) ],  z_ij = scoreᵢ − scoreⱼ − margin

    Shapes: scores, answered [..., G], best first, with `answered` False at the G − K places without a response;
    margin, confidence [...] → [...]. A ranking of fewer than two responses gives 0. With K = 2 it is `bradley_terry`.
    Source: Ouyang et al. 2022 (InstructGPT), eq. 1, section 3.5: all pairs of a prompt are one element of a batch.
    """
    better, worse = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1, device=scores.device)
    real = answered[..., better] & answered[..., worse]
    kept = torch.where(answered, widen(scores), 0.0)
    margins, confidences = (x[..., None].to(kept.dtype) if isinstance(x, Tensor) else x for x in (margin, confidence))
    return masked_mean(bradley_terry(kept[..., better], kept[..., worse], margins, confidences), real, -1)


def implicit_reward(
    logprobs: Float[Tensor, "*#shape"], ref_logprobs: Float[Tensor, "*#shape"], beta: Scalar
) -> Float[Tensor, "*shape"]:
    """The reward for which the policy is optimal, up to a constant per prompt.

    β (log π(y|x) − log π_ref(y|x))

    Shapes: any, elementwise. Source: Rafailov et al. 2023 (DPO), eq. 5.
    Differs: without β log Z(x), which cancels when two responses to one prompt are compared.
    """
    return beta * (widen(logprobs) - widen(ref_logprobs))


def dpo(
    chosen_logratio: Float[Tensor, "*#shape"],
    rejected_logratio: Float[Tensor, "*#shape"],
    beta: Scalar,
    label_smoothing: Scalar = 0.0,
    margin: Scalar = 0.0,
    confidence: Scalar = 1.0,
) -> Float[Tensor, "*shape"]:
    """DPO: the Bradley–Terry loss of implicit rewards; with label smoothing, conservative DPO.

    −p log σ(z) − (1 − p) log σ(−z),  z = β (chosen_logratio − rejected_logratio) − margin,  p = (1 − ε) c + ε (1 − c)

    Shapes: any, elementwise. ε, `label_smoothing`, is the assumed share of flipped labels; c, `confidence`, is the
    probability that this label is right before flipping.
    Source: Rafailov et al. 2023 (DPO), eq. 7; Mitchell 2023, "A note on DPO with noisy preferences" (ε > 0).
    """
    chosen, rejected = beta * widen(chosen_logratio), beta * widen(rejected_logratio)
    return bradley_terry(chosen, rejected, margin, flipped(confidence, label_smoothing))


def flipped(confidence: Scalar, error: Scalar) -> Scalar:
    """The probability that a label is right after flipping it with probability `error`.

    (1 − ε) c + ε (1 − c)

    Shapes: any, elementwise.
    """
    return (1.0 - error) * confidence + error * (1.0 - confidence)


def robust_dpo(
    chosen_logratio: Float[Tensor, "*#shape"],
    rejected_logratio: Float[Tensor, "*#shape"],
    beta: Scalar,
    label_smoothing: Scalar,
) -> Float[Tensor, "*shape"]:
    """Robust DPO: its expectation over labels flipped with probability ε is the DPO loss of the true labels.

    [ −(1 − ε) log σ(z) + ε log σ(−z) ] / (1 − 2ε),  z = β (chosen_logratio − rejected_logratio)

    Shapes: any, elementwise. May be negative.
    Raises ValueError: ε is ½ or more, where labels carry no information (checked for a number, not for a tensor).
    Source: Chowdhury et al. 2024, "Provably robust DPO".
    """
    if not isinstance(label_smoothing, Tensor) and label_smoothing >= 0.5:
        raise ValueError(f"label_smoothing must be below 0.5 for robust DPO, not {label_smoothing}.")
    right = dpo(chosen_logratio, rejected_logratio, beta)
    flipped = dpo(rejected_logratio, chosen_logratio, beta)
    return ((1.0 - label_smoothing) * right - label_smoothing * flipped) / (1.0 - 2.0 * label_smoothing)


def hinge(
    chosen_logratio: Float[Tensor, "*#shape"], rejected_logratio: Float[Tensor, "*#shape"], beta: Scalar
) -> Float[Tensor, "*shape"]:
    """Hinge loss of the difference of implicit rewards, with a margin of 1.

    max(0, 1 − β (chosen_logratio − rejected_logratio))

    Shapes: any, elementwise. Source: Zhao et al. 2023 (SLiC-HF).
    Differs: the paper uses log-probabilities without a reference, a margin δ instead of 1 (with δ = 1/β this is β times
    its loss), and a second term, the likelihood of a fine-tuning target, which is left to the caller.
    """
    return (1.0 - beta * (widen(chosen_logratio) - widen(rejected_logratio))).relu()


def exo_pair(
    chosen_logratio: Float[Tensor, "*#shape"],
    rejected_logratio: Float[Tensor, "*#shape"],
    beta: Scalar,
    label_smoothing: Scalar = 1e-3,
    confidence: Scalar = 1.0,
) -> Float[Tensor, "*shape"]:
    """EXO on a pair: the reverse KL between the policy's preference and the label's, where DPO has the forward KL.

    σ(z) (log σ(z) − log p) + σ(−z) (log σ(−z) − log(1 − p)),  z = β (chosen_logratio − rejected_logratio),
    p = (1 − ε) c + ε (1 − c)

    Shapes: any, elementwise. ε, `label_smoothing`, must be above 0 where c, `confidence`, is 0 or 1: a certain
    label makes the KL infinite. Minimal, and 0, at z = log(p/(1 − p)).
    Source: Ji et al. 2024, "Towards Efficient Exact Optimization of Language Model Alignment", eq. 16.
    """
    z = beta * (widen(chosen_logratio) - widen(rejected_logratio))
    right = torch.as_tensor(flipped(confidence, label_smoothing), dtype=z.dtype, device=z.device)
    return z.sigmoid() * (logsigmoid(z) - right.log()) + (-z).sigmoid() * (logsigmoid(-z) - (-right).log1p())


def ipo(
    chosen_logratio: Float[Tensor, "*#shape"],
    rejected_logratio: Float[Tensor, "*#shape"],
    tau: Scalar,
    confidence: Scalar = 1.0,
) -> Float[Tensor, "*shape"]:
    """IPO: regress the difference of log-ratios on (p − ½)/τ, which is 1/(2τ) for a certain label.

    (chosen_logratio − rejected_logratio − (p − ½)/τ)²

    Shapes: any, elementwise. p is `confidence`, the probability that the chosen one is preferred.
    Source: Azar et al. 2023 (IPO), eq. 17, for labels 0 and 1 with mean p: up to a constant, this is the mean of its
    loss over such labels.
    The paper sums log-ratios over a response's tokens; some implementations average them, which makes 1/(2τ) a margin
    per token. The caller chooses by what is passed.
    """
    return (widen(chosen_logratio) - widen(rejected_logratio) - (confidence - 0.5) / tau).square()


def kto(
    logratio: Float[Tensor, "*#shape"],
    desirable: Bool[Tensor, "*#shape"],
    kl: Scalar,
    beta: Scalar,
    desirable_weight: Scalar = 1.0,
    undesirable_weight: Scalar = 1.0,
) -> Float[Tensor, "*shape"]:
    """KTO: loss of single responses, desirable or not, each compared with a common reference point.

    λ_D (1 − σ(β (logratio − kl))) if desirable,  λ_U (1 − σ(β (kl − logratio))) if not

    Shapes: logratio, desirable any, elementwise; kl (the paper's z₀, at least 0) one number for the batch, or a
    tensor that broadcasts. It gets no gradient.
    Source: Ethayarajh et al. 2024 (KTO).
    Differs: the paper writes λ − v, with λ_D or λ_U by the example's label; this is that difference, multiplied out.
    """
    level = kl.detach() if isinstance(kl, Tensor) else kl
    z = beta * (widen(logratio) - level)
    return torch.where(desirable, desirable_weight * (-z).sigmoid(), undesirable_weight * z.sigmoid())


def simpo(
    chosen: Float[Tensor, "*#shape"],
    rejected: Float[Tensor, "*#shape"],
    beta: Scalar,
    gamma: Scalar,
    confidence: Scalar = 1.0,
) -> Float[Tensor, "*shape"]:
    """SimPO: Bradley–Terry on mean log-probabilities per token, with a margin and no reference.

    −log σ(β (chosen − rejected) − γ)

    Shapes: any, elementwise. Source: Meng et al. 2024 (SimPO). Some codes take the ratio γ/β; γ here is the paper's.
    With `confidence` c below 1 the loss is −c log σ(z) − (1 − c) log σ(−z), as in `bradley_terry`.
    """
    return bradley_terry(beta * widen(chosen), beta * widen(rejected), gamma, confidence)


def orpo_odds(chosen: Float[Tensor, "*#shape"], rejected: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The odds-ratio term of ORPO, to be weighted and added to the SFT loss of the chosen response.

    −log σ(ℓ(chosen) − ℓ(rejected)),  ℓ(p) = log p − log(1 − p), the log-odds

    Shapes: any, elementwise; arguments are mean log-probabilities per token, at most 0.
    Source: Hong et al. 2024 (ORPO).
    Differs: log(1 − p) is computed as log(−expm1(log p)), exact for p close to 1. At p = 1 the odds are infinite, so
    arguments are clamped to the largest negative normal number, above which they get no gradient.
    """

    def log_odds(logprobs: Tensor) -> Tensor:
        below_zero = logprobs.clamp(max=-torch.finfo(logprobs.dtype).tiny)
        return below_zero - (-below_zero.expm1()).log()

    return -logsigmoid(log_odds(widen(chosen)) - log_odds(widen(rejected)))
