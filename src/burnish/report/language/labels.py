"""Where the names of points stand, so that none lies on another name, on a point or on an interval."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

Boxes = Float[np.ndarray, "... 4"]
"""left, top, right, bottom in pixels"""


class Place(NamedTuple):
    """A name's offset from its point in pixels, down being positive, and which end of it the offset holds."""

    dx: int
    dy: int
    align: Literal["left", "center", "right"]


PLACES = [
    *(place for dy in (-13, 14) for place in (Place(9, dy, "left"), Place(-9, dy, "right"))),
    *(Place(0, dy, "center") for dy in (-17, 18)),
    *(Place(13, 0, "left"), Place(-13, 0, "right")),
    *(place for dy in (-30, 31) for place in (Place(9, dy, "left"), Place(-9, dy, "right"))),
]
"""The dearer the later: a name reads best a little beside its point, and worst a line away from it."""
WIDTHS = (280, 640)  # of the plot, in pixels: on a phone, and in a file or on a desk
LETTER, LINE, MARKER, BAR = 7.8, 16, 14, 3  # the size of what is drawn, in pixels


def places(names: Sequence[str], points: Float[np.ndarray, "N 6"], height: int) -> list[Place]:
    """A place for every name, the same for a narrow and a wide plot.

    `points` are `x, x_low, x_high, y, y_low, y_high` as shares of the plot, from left and bottom. A name that leaves
    the plot costs most, then names on names, on points and on bars, each by the share of the name concerned. Every
    name in turn takes its cheapest place until none gains by moving; the best end of several starts counts.
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
    best = min(ends, key=lambda chosen: own[each, chosen].sum() + _met(pairs, chosen)[each, chosen].sum() / 2)
    return [PLACES[place] for place in best]


def _boxes(
    names: Sequence[str], points: Float[np.ndarray, "N 6"], width: int, height: int
) -> tuple[Boxes, Boxes, Float[np.ndarray, "M"]]:
    """Each name's box in every place `[N, P, 4]`, and what should stay free `[M, 4]` with what it costs not to."""
    (x, left, right), (y, low, high) = points[:, :3].T * width, (1 - points[:, 3:].T) * height
    shift = {"left": 0.5, "center": 0.0, "right": -0.5}
    long = LETTER * np.array([[len(name)] for name in names])
    middle = x[:, None] + [p.dx for p in PLACES] + long * [shift[p.align] for p in PLACES]
    line = y[:, None] + [p.dy for p in PLACES]
    boxes = np.stack([middle - long / 2, line - LINE / 2, middle + long / 2, line + LINE / 2], -1)
    markers = np.stack([x, y, x, y], -1) + np.array([-1, -1, 1, 1]) * MARKER / 2
    across = np.stack([left, y - BAR / 2, right, y + BAR / 2], -1)
    upright = np.stack([x - BAR / 2, high, x + BAR / 2, low], -1)
    weights = np.repeat([6.0, 4.0, 4.0], len(names))
    return boxes, np.concatenate([markers, across, upright]), weights


def _overlap(one: Boxes, other: Boxes) -> np.ndarray:
    """The area that two boxes share."""
    wide = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    tall = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    return np.maximum(wide, 0) * np.maximum(tall, 0)


def _met(pairs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """What every place of every name costs for the other names where they now are `[N, P]`."""
    each = np.arange(len(chosen))
    with_others = pairs[:, :, each, chosen].copy()
    with_others[each, :, each] = 0
    return with_others.sum(-1)


def _descend(own: np.ndarray, pairs: np.ndarray, start: np.ndarray) -> np.ndarray:
    chosen = start.copy()
    for _ in range(4 * len(chosen)):
        before = chosen.copy()
        for i in range(len(chosen)):
            cost = own[i] + _met(pairs, chosen)[i]
            best = int(cost.argmin())
            if cost[best] < cost[chosen[i]]:
                chosen[i] = best
        if (chosen == before).all():
            break
    return chosen
