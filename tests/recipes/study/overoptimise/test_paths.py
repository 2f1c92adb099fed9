"""How far paths of several seeds are compared: enough whole ones, or as far as all go."""

import numpy as np
import pytest

from burnish.recipes.study.overoptimise.paths import Path, Shared, fallen, shared_by


@pytest.mark.parametrize(
    ("lengths", "shared"),
    [
        ({0: 17, 1: 17, 2: 17}, Shared([0, 1, 2], 17, [], [])),
        ({0: 17, 1: 4, 2: 17}, Shared([0, 2], 17, [1], [])),
        ({0: 17, 1: 4, 2: 9}, Shared([0, 1, 2], 4, [], [1])),
        ({0: 17, 2: 4}, Shared([0, 2], 4, [], [2])),
        ({0: 4, 1: 4, 2: 17}, Shared([0, 1, 2], 4, [], [0, 1])),
        ({3: 9}, Shared([3], 9, [], [])),
    ],
)
def test_what_is_compared(lengths: dict[int, int], shared: Shared) -> None:
    assert shared_by(lengths) == shared


def test_gains_distances_and_claims_by_hand() -> None:
    """KLs of 3 and 5, mean 4, are d = 2; a mean below 0 counts as 0."""
    points = [
        {"kl": [0.0, 0.0], "gold": [1.0, 2.0], "proxy": [4.0, 4.0]},
        {"kl": [3.0, 5.0], "gold": [2.0, 2.5], "proxy": [6.0, 5.0]},
        {"kl": [-1.0, 0.5], "gold": [0.0, 0.0], "proxy": [4.0, 4.0]},
    ]
    path = Path(points, 0.5)
    assert (path.d.tolist(), path.far) == ([0.0, 2.0, 0.0], 2.0)
    assert path.gold.tolist() == [[0.0, 0.0], [1.0, 0.5], [-1.0, -2.0]]
    assert path.proxy.tolist() == [[0.0, 0.0], [1.0, 0.5], [0.0, 0.0]]


def test_luck_is_no_fall() -> None:
    """The first prefix is highest at the second point, the second at the first: each is measured where the other is
    highest, and so neither has fallen."""
    gold = np.array([[[0.0, 3.0], [2.0, 1.0], [1.0, 1.0]]])
    cells, best = fallen(gold)
    assert cells.tolist() == [[0.0 - 1.0, 1.0 - 1.0]]
    assert best == [0, 1]
