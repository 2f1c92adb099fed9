"""Placement of point labels, so that none overlaps another label, a point or an interval."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

Boxes = Float[np.ndarray, "... 4"]
"""left, top, right, bottom in pixels"""


class Place(NamedTuple):
    """A label's offset from its point in pixels, with y pointing down, and its alignment."""

    dx: int
    dy: int
    align: Literal["left", "center", "right"]


PLACES = [
    *(place for dy in (-13, 14) for place in (Place(9, dy, "left"), Place(-9, dy, "right"))),
    *(Place(0, dy, "center") for dy in (-17, 18)),
    *(Place(13, 0, "left"), Place(-13, 0, "right")),
    *(place for dy in (-30, 31) for place in (Place(9, dy, "left"), Place(-9, dy, "right"))),
]
"""Possible places, from the best to the worst: close beside the point first, a line away from it last."""
WIDTHS = (280, 640)  # width of the plot in pixels, on a phone and in a file or on a large screen
LETTER, LINE, MARKER, BAR = 7.8, 16, 14, 3  # sizes in pixels


def places(names: Sequence[str], points: Float[np.ndarray, "N 6"], height: int) -> list[Place]:
    """Choose a place for every name, the same one for a narrow and a wide plot.

    `points` are `x, x_low, x_high, y, y_low, y_high` as fractions of the plot, from left and bottom. The cost is
    highest for a name that leaves the plot, then for names on names, on points and on bars, each by the fraction of the
    name that is covered. Coordinate descent from several starts: every name in turn takes its cheapest place until none
    changes, and the start with the lowest total cost is used.
    """
    own = np.zeros((len(names), len(PLACES))) + 0.01 * np.arange(len(PLACES))
    pairs = np.zeros((*own.shape, *own.shape))
    for width in WIDTHS:
        boxes, obstacles, weights = _boxes(names, points, width, height)
        size = (boxes[..., 2] - boxes[..., 0]) * LINE
        inside = np.array([0, 0, width, height], float)
        own += 20 * (1 - _overlap(boxes, inside) / size)
        own += (_overlap(boxes[:, :, None], obstacles) * weights).sum(-1) / size
        pairs += 10 * _overlap(boxes[:, :, None, None], boxes) / np.minimum.outer(size, size)
    each = range(len(names))
    starts = [own.argmin(1), *(np.full(len(names), place) for place in range(len(PLACES)))]
    ends = [_descend(own, pairs, start) for start in starts]
    best = min(ends, key=lambda chosen: own[each, chosen].sum() + _conflicts(pairs, chosen)[each, chosen].sum() / 2)
    return [PLACES[place] for place in best]


def _boxes(
    names: Sequence[str], points: Float[np.ndarray, "N 6"], width: int, height: int
) -> tuple[Boxes, Boxes, Float[np.ndarray, "M"]]:
    """Each name's box in every place `[N, P, 4]`, and the obstacles `[M, 4]` with their cost weights `[M]`."""
    (x, left, right), (y, low, high) = points[:, :3].T * width, (1 - points[:, 3:].T) * height
    shift = {"left": 0.5, "center": 0.0, "right": -0.5}
    long = LETTER * np.array([[len(name)] for name in names])
    centre = x[:, None] + [p.dx for p in PLACES] + long * [shift[p.align] for p in PLACES]
    line = y[:, None] + [p.dy for p in PLACES]
    boxes = np.stack([centre - long / 2, line - LINE / 2, centre + long / 2, line + LINE / 2], -1)
    markers = np.stack([x, y, x, y], -1) + np.array([-1, -1, 1, 1]) * MARKER / 2
    across = np.stack([left, y - BAR / 2, right, y + BAR / 2], -1)
    upright = np.stack([x - BAR / 2, high, x + BAR / 2, low], -1)
    weights = np.repeat([6.0, 4.0, 4.0], len(names))
    return boxes, np.concatenate([markers, across, upright]), weights


def _overlap(one: Boxes, other: Boxes) -> np.ndarray:
    """The area of the intersection of two boxes."""
    wide = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    tall = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    return np.maximum(wide, 0) * np.maximum(tall, 0)


def _conflicts(pairs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The cost of every place of every name given the other names' current places, `[N, P]`."""
    each = np.arange(len(chosen))
    with_others = pairs[:, :, each, chosen].copy()
    with_others[each, :, each] = 0
    return with_others.sum(-1)


def _descend(own: np.ndarray, pairs: np.ndarray, start: np.ndarray) -> np.ndarray:
    chosen = start.copy()
    for _ in range(4 * len(chosen)):
        before = chosen.copy()
        for i in range(len(chosen)):
            cost = own[i] + _conflicts(pairs, chosen)[i]
            best = int(cost.argmin())
            if cost[best] < cost[chosen[i]]:
                chosen[i] = best
        if (chosen == before).all():
            break
    return chosen
