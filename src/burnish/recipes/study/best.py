"""The best of n from one pool of samples, as a point of a study."""

import numpy as np
from jaxtyping import Float

from burnish.evaluation.best_of_n import best, best_of_n_kl, expected_best
from burnish.evaluation.text import distinct_n
from burnish.recipes.study.cell import Found
from burnish.recipes.study.measure import Completions, rounded


def best_point(n: int, drawn: Completions, proxy: Float[np.ndarray, "P m"], gold: Float[np.ndarray, "P m"]) -> Found:
    """What is known of the best of n by the scores `proxy`: means over all subsets of n of each prompt's pool.

    KL is the bound log n − (n − 1)/n; distinct-2 is of the best of each prompt's first n, as one text of each.
    """
    shape, picks = proxy.shape, best(proxy[:, :n])
    chosen = [drawn.responses[i * shape[1] + int(k)] for i, k in enumerate(picks)]
    length = expected_best(proxy, n, drawn.length.reshape(shape))
    return {
        "step": n,
        "gold": rounded(expected_best(proxy, n, gold)),
        "kl": [best_of_n_kl(n)] * shape[0],
        "length": float(length.mean()),
        "entropy": None,
        "distinct_2": distinct_n(chosen, 2),
        "ended": float(expected_best(proxy, n, np.array(drawn.ended, float).reshape(shape)).mean()),
        "chosen": None,
        "rejected": None,
    }
