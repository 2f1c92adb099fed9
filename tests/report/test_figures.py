import struct

import numpy as np
import pandas as pd
import pytest

from burnish.report import figures, theme

COLOURS = theme.series_colours(["base", "SFT", "DPO"])
POINTS = pd.DataFrame(
    [
        {"name": "base", "x": 9.4, "x_low": 8.9, "x_high": 9.9, "y": 0.02, "y_low": -0.04, "y_high": 0.09},
        {"name": "SFT", "x": 0.0, "x_low": 0.0, "x_high": 0.0, "y": 0.21, "y_low": 0.14, "y_high": 0.28},
        {"name": "DPO", "x": 12.6, "x_low": 12.1, "x_high": 13.1, "y": 0.97, "y_low": 0.91, "y_high": 1.03},
    ]
)
ROWS = pd.DataFrame(
    [
        {"name": "DPO", "mean": 0.74, "low": 0.71, "high": 0.77},
        {"name": "rater", "mean": 0.88, "low": 0.87, "high": 0.9},
    ]
)


def trade_off() -> figures.Chart:
    return figures.trade_off(POINTS, COLOURS, "KL to SFT (nats)", ["gold score", "(points)"], "Gold against KL.")


def intervals() -> figures.Chart:
    return figures.intervals(
        ROWS, {"DPO": "#000000", "rater": "#111111"}, "right pairs", "Accuracy.", (0.5, "guessing"), (0.45, 1), ".0%"
    )


def ridges() -> figures.Chart:
    values = {name: np.random.default_rng(i).normal(i, 1, 80).tolist() for i, name in enumerate(COLOURS)}
    return figures.densities(values, COLOURS, "gold score", "Gold scores.")


@pytest.mark.parametrize(
    ("chart", "labels"),
    [
        (trade_off, ["base", "SFT", "DPO", "KL to SFT (nats)", "gold score"]),
        (intervals, ["DPO", "rater", "guessing", "74%", "88%", "right pairs"]),
        (ridges, ["base", "SFT", "DPO", "gold score"]),
    ],
)
def test_files_hold_the_labels(tmp_path, chart, labels):
    png, svg = figures.save_figure(chart(), tmp_path / "deep" / "figure.v1")
    assert png.name == "figure.v1.png"
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", png.read_bytes()[16:20])[0] >= 1280  # pixels: 640 wide, twice
    text = svg.read_text()
    assert all(f">{label}</text>" in text or f">{label}</tspan>" in text for label in labels)
    assert "var(--" not in text


def test_specifications_fit_their_container():
    for chart in (trade_off(), intervals(), ridges()):
        spec = figures.to_spec(chart)
        assert spec["width"] == "container"
        assert spec["description"]
        assert spec["config"]["background"] == "transparent"


def test_a_name_has_one_colour_in_every_layer():
    for spec in (figures.to_spec(trade_off()), figures.to_spec(ridges())):
        scales = [layer["encoding"]["color"]["scale"] for layer in spec["layer"] if "color" in layer["encoding"]]
        assert len(scales) >= 4
        assert all(dict(zip(s["domain"], s["range"], strict=True)) == dict(COLOURS) for s in scales)


def test_labels_turn_inwards_at_the_edges():
    sides = figures.label_sides(np.array([0.0, 10.0]), np.array([5.0, 5.0]), (-0.1, 10.1), (0, 10))
    assert [side[0] for side in sides] == [1, -1]
    top, bottom = figures.label_sides(np.array([2.0, 8.0]), np.array([10.0, 0.0]), (0, 10), (0, 10))
    assert top[1] == -1
    assert bottom[1] == 1


def test_labels_of_neighbours_part():
    """Two points a little apart: labels of one corner would lie on each other."""
    first, second = figures.label_sides(np.array([5.0, 5.2]), np.array([5.0, 5.1]), (0, 10), (0, 10))
    assert first != second


def test_values_without_spread_still_draw(tmp_path):
    chart = figures.densities({"base": [0.5, 0.5], "SFT": [0.5]}, COLOURS, "gold score", "Flat.")
    for path in figures.save_figure(chart, tmp_path / "flat"):
        assert path.stat().st_size > 1000
    one = POINTS.iloc[1:2].assign(y_low=0.21, y_high=0.21)
    figures.save_figure(figures.trade_off(one, COLOURS, "x", "y", "One point."), tmp_path / "one")


def test_each_mean_is_marked():
    """The ticks sit at the means of the values: 1, 2 and 3."""
    values = {"base": [0.0, 0.5, 2.5], "SFT": [1.0, 2.0, 3.0], "DPO": [2.5, 3.5]}
    spec = figures.to_spec(figures.densities(values, COLOURS, "gold score", "Means."))
    rows = [row for rows in spec["datasets"].values() for row in rows if "mean" in row]
    assert {row["name"]: row["mean"] for row in rows} == {"base": 1.0, "SFT": 2.0, "DPO": 3.0}
