"""Best of n: sample n completions, keep the one that a reward scores highest. What that costs, and what it brings.

`scores[i, k]` is the score of completion k of prompt i; the completions of a prompt are independent samples.
"""

import math

import numpy as np
from jaxtyping import Float, Int


def best_of_n_kl(n: int) -> float:
    """An upper bound, in nats, on the KL from the best of n samples to the sampler.

    KL(π_n ‖ π) ≤ log n − (n − 1)/n

    It holds for every prompt and every reward, however ties are broken; equality needs completions of vanishing
    probability whose scores all differ. Where few completions are likely it may be far too large.

    Stiennon et al. (2020), "Learning to summarize from human feedback", appendix G.3, give it as the KL itself;
    Beirami et al. (2024), "Theoretical guarantees on the best-of-n alignment policy", show that it is a bound.
    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"the best of n needs at least one sample, not {n}")
    return math.log(n) - (n - 1) / n


def best(scores: Float[np.ndarray, "N n"]) -> Int[np.ndarray, "N"]:
    """Which completion of each prompt has the highest score; of equal ones the first."""
    return np.argmax(_checked(scores, 1), axis=1)


def expected_best(
    scores: Float[np.ndarray, "N m"], n: int, values: Float[np.ndarray, "K l"] | None = None
) -> Float[np.ndarray, "N"]:
    """The mean score of the best of n, for each prompt, estimated from m ≥ n samples of it without bias.

    Σ_i C(i−1, n−1) / C(m, n) · s_(i), with s_(1) ≤ … ≤ s_(m): the mean over all choices of n from the m samples, since
    s_(i) is the best of C(i−1, n−1) of them. With `values`, what is averaged is another number of the sample that the
    scores pick, its gold score for one. Of samples with equal scores the first is picked.

    Hilton & Gao (2022), "Measuring Goodhart's law"; for scores of 0 and 1 it is pass@k of Chen et al. (2021),
    "Evaluating Large Language Models Trained on Code", eq. 1. Raises ValueError for n outside 1…m.
    """
    scores = _checked(scores, n)
    values = scores if values is None else np.asarray(values, dtype=float)
    if values.shape != scores.shape:
        raise ValueError(f"values need the shape of scores, {scores.shape}, not {values.shape}")
    m = scores.shape[1]
    order = m - 1 - np.argsort(scores[:, ::-1], axis=1, kind="stable")  # of equal scores the first comes last
    weights = np.array([math.comb(i, n - 1) / math.comb(m, n) for i in range(m)])
    ranked = np.take_along_axis(values, order, axis=1)
    return ranked @ weights


def _checked(scores: Float[np.ndarray, "N m"], n: int) -> Float[np.ndarray, "N m"]:
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or not 1 <= n <= scores.shape[1]:
        raise ValueError(f"the best of {n} needs scores of prompts × at least {max(n, 1)} samples, not {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("the best of n needs finite scores")
    return scores
