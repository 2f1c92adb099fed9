"""Best of n: sample n completions and keep the one with the highest reward. Its KL bound and its expected score.

`scores[i, k]` is the score of completion k for prompt i; the completions of a prompt are independent samples.
"""

import math

import numpy as np
from jaxtyping import Float, Int


def best_of_n_kl(n: int) -> float:
    """Upper bound, in nats, on the KL divergence of the best of n samples from the sampling policy.

    KL(π_n ‖ π) ≤ log n − (n − 1)/n

    It holds for every prompt and every reward, however ties are broken. Equality needs completions of vanishing
    probability whose scores all differ; if only a few completions are likely, the bound may be far too large.

    Stiennon et al. (2020), "Learning to summarize from human feedback", appendix G.3, state it as the KL itself;
    Beirami et al. (2024), "Theoretical guarantees on the best-of-n alignment policy", show that it is a bound.
    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"the best of n needs at least one sample, not {n}")
    return math.log(n) - (n - 1) / n


def best(scores: Float[np.ndarray, "N n"]) -> Int[np.ndarray, "N"]:
    """Index of the completion with the highest score for each prompt; the first one if several are equal."""
    return np.argmax(_checked(scores, 1), axis=1)


def expected_best(
    scores: Float[np.ndarray, "N m"], n: int, values: Float[np.ndarray, "K l"] | None = None
) -> Float[np.ndarray, "N"]:
    """Unbiased estimate of the expected score of the best of n, for each prompt, from m ≥ n samples.

    Σ_i C(i−1, n−1) / C(m, n) · s_(i), with s_(1) ≤ … ≤ s_(m): the mean over all subsets of n of the m samples, because
    s_(i) is the best of C(i−1, n−1) of them. If `values` is given, the value of the sample with the best score is
    averaged in place of the score, for example its gold score. Of samples with equal scores the first is selected.

    Hilton & Gao (2022), "Measuring Goodhart's law"; for scores of 0 and 1 it equals pass@k of Chen et al. (2021),
    "Evaluating Large Language Models Trained on Code", eq. 1. Raises ValueError for n outside 1…m.
    """
    scores = _checked(scores, n)
    values = scores if values is None else np.asarray(values, dtype=float)
    if values.shape != scores.shape:
        raise ValueError(f"values need the shape of scores, {scores.shape}, not {values.shape}")
    m = scores.shape[1]
    order = m - 1 - np.argsort(scores[:, ::-1], axis=1, kind="stable")  # ranks the first of equal scores highest
    weights = np.array([math.comb(i, n - 1) / math.comb(m, n) for i in range(m)])
    ranked = np.take_along_axis(values, order, axis=1)
    return ranked @ weights


def _checked(scores: Float[np.ndarray, "N m"], n: int) -> Float[np.ndarray, "N m"]:
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or not 1 <= n <= scores.shape[1]:
        raise ValueError(f"the best of {n} needs scores of shape [prompts, {max(n, 1)} or more], not {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("the best of n needs finite scores")
    return scores
