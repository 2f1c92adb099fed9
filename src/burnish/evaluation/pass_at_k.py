"""How often one of k answers is right, from n answers of which c are right."""

from collections.abc import Sequence
from fractions import Fraction
from math import comb

from burnish.evaluation.statistics import Interval, bootstrap_interval, proportion


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimator of the probability that at least one of k independent answers is right.

    1 − C(n − c, k) / C(n, k): the share of the subsets of k of the n answers that hold a right one.

    Source: Chen et al. (2021), "Evaluating Large Language Models Trained on Code", equation 1.
    Raises ValueError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {c} right answers among {n} is not defined")
    return float(1 - Fraction(comb(n - c, k), comb(n, k)))


def mean_pass_at_k(right: Sequence[int], n: int, k: int) -> Interval:
    """The mean of `pass_at_k` over prompts, of which prompt i has `right[i]` right answers among n.

    Its 95 % interval is over prompts: Wilson's where every prompt's estimate is 0 or 1, a bootstrap otherwise.
    """
    values = [pass_at_k(n, c, k) for c in right]
    if all(value in (0.0, 1.0) for value in values):
        return proportion(int(sum(values)), len(values))
    return bootstrap_interval(values)


def some_k(n: int) -> list[int]:
    """1, 2, 4 … 64, as far as n goes."""
    return [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= n]
