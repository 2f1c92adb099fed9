"""Where names stand, checked by drawing the boxes by hand and looking whether any two meet."""

import itertools

import numpy as np
import pytest

from burnish.report.language.labels import LETTER, LINE, MARKER, Place, places

NAMES = ["base", "SFT", "DPO", "PPO", "DPO on samples", "best of 4", "best of 16"]
HEIGHT = 380
Box = tuple[float, float, float, float]


def point(x: float, y: float, wide: float = 0.0, tall: float = 0.0) -> list[float]:
    return [x, x - wide, x + wide, y, y - tall, y + tall]


def box(name: str, at: list[float], place: Place, width: int) -> Box:
    """left, top, right, bottom in pixels from the plot's left top corner."""
    x, y, long = at[0] * width + place.dx, (1 - at[3]) * HEIGHT + place.dy, LETTER * len(name)
    left = {"left": x, "center": x - long / 2, "right": x - long}[place.align]
    return left, y - LINE / 2, left + long, y + LINE / 2


def meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


SPREAD = [(0.3, 0.2), (0.04, 0.3), (0.9, 0.8), (0.7, 0.7), (0.75, 0.62), (0.27, 0.5), (0.45, 0.62)]
CROWD = [(0.35, 0.4), (0.04, 0.4), (0.6, 0.5), (0.35, 0.45), (0.8, 0.45), (0.45, 0.55), (0.6, 0.6)]


@pytest.mark.parametrize("spots", [SPREAD, CROWD])
@pytest.mark.parametrize("width", [280, 640, 1000])
def test_seven_names_are_readable_on_phone_and_desk(spots: list[tuple[float, float]], width: int) -> None:
    points = [point(x, y, 0.03, 0.07) for x, y in spots]
    boxes = [box(*one, width) for one in zip(NAMES, points, places(NAMES, np.array(points), HEIGHT), strict=True)]
    half = MARKER / 2
    centres = [(p[0] * width, (1 - p[3]) * HEIGHT) for p in points]
    markers = [(x - half, y - half, x + half, y + half) for x, y in centres]
    for (i, one), (j, other) in itertools.combinations(enumerate(boxes), 2):
        assert not meet(one, other), (NAMES[i], NAMES[j])
    for (i, one), (j, marker) in itertools.product(enumerate(boxes), enumerate(markers)):
        assert not meet(one, marker), (NAMES[i], NAMES[j])
    assert all(left >= 0 and top >= 0 and right <= width and low <= HEIGHT for left, top, right, low in boxes)


def test_a_name_alone_stands_right_above_its_point() -> None:
    assert places(["SFT"], np.array([point(0.5, 0.5)]), HEIGHT) == [Place(9, -13, "left")]


def test_names_turn_inwards_at_the_edges() -> None:
    left, right = places(["left", "right"], np.array([point(0.0, 0.5), point(1.0, 0.5)]), HEIGHT)
    assert (left.align, right.align) == ("left", "right")
    top, bottom = places(["top", "bottom"], np.array([point(0.2, 1.0), point(0.8, 0.0)]), HEIGHT)
    assert top.dy > 0 > bottom.dy


def test_a_name_keeps_off_another_points_bar() -> None:
    """An upright bar just right of the point, over the whole height: the name goes to the left."""
    (name, _) = places(["name", "x"], np.array([point(0.5, 0.5), [0.56, 0.56, 0.56, 0.05, 0.0, 1.0]]), HEIGHT)
    assert name.align == "right"
