import struct

import numpy as np
import pandas as pd
import pytest

from burnish.report import figures, theme

COLOURS = theme.series_colours(["base", "SFT", "DPO", "best of 4"])
COLUMNS = ["name", "bound", "x", "x_low", "x_high", "y", "y_low", "y_high"]
POINTS = pd.DataFrame(
    [
        ("base", False, 9.4, 8.9, 9.9, 0.02, -0.04, 0.09),
        ("SFT", False, 0.0, 0.0, 0.0, 0.21, 0.14, 0.28),
        ("DPO", False, 12.6, 12.1, 13.1, 0.97, 0.91, 1.03),
    ],
    columns=COLUMNS,
)
WITH_BOUND = pd.concat(
    [POINTS, pd.DataFrame([("best of 4", True, 0.64, 0.64, 0.64, 0.6, 0.5, 0.7)], columns=COLUMNS)], ignore_index=True
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
    values = {name: np.random.default_rng(i).normal(i, 1, 80).tolist() for i, name in enumerate(["base", "SFT", "DPO"])}
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


def test_a_bound_is_hollow_with_a_dashed_line_to_zero() -> None:
    spec = figures.to_spec(figures.trade_off(WITH_BOUND, COLOURS, "KL to SFT (nats)", "gold score", "With a bound."))
    named = {key: {row["name"] for row in rows} for key, rows in spec["datasets"].items()}
    hollow = [layer for layer in spec["layer"] if layer["mark"].get("fill")]
    dashed = [layer for layer in spec["layer"] if layer["mark"].get("strokeDash")]
    assert [named[layer["data"]["name"]] for layer in hollow + dashed] == [{"best of 4"}, {"best of 4"}]
    (row,) = spec["datasets"][dashed[0]["data"]["name"]]
    assert (row["x_low"], row["x_high"], row["x_text"]) == (0.0, 0.64, "at most 0.64")
    filled = [layer for layer in spec["layer"] if layer["mark"].get("filled")]
    assert [named[layer["data"]["name"]] for layer in filled] == [{"base", "SFT", "DPO"}]


def test_every_name_is_written_once() -> None:
    spec = figures.to_spec(figures.trade_off(WITH_BOUND, COLOURS, "x", "y", "Names."))
    texts = [layer for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    written = [row["name"] for layer in texts for row in spec["datasets"][layer["data"]["name"]]]
    assert sorted(written) == ["DPO", "SFT", "base", "best of 4"]


def test_a_band_is_the_interval_and_runs_stay_apart() -> None:
    rows = [
        {"name": "DPO", "run": run, "step": step, "mean": step / 2, "low": step / 2 - 1, "high": step / 2 + 1}
        for run in ("seed-0", "seed-1")
        for step in (0, 4)
    ]
    spec = figures.to_spec(figures.bands(pd.DataFrame(rows), COLOURS, "Score", "updates", "Two runs."))
    area, line, _ = spec["layer"]
    assert (area["encoding"]["y"]["field"], area["encoding"]["y2"]["field"]) == ("low", "high")
    assert line["encoding"]["y"]["field"] == "mean"
    assert all(layer["encoding"]["detail"]["field"] == "run" for layer in spec["layer"])
    assert [row["text"] for rows in spec["datasets"].values() for row in rows][:2] == [
        "0.00 (-1.00 to 1.00)",
        "2.00 (1.00 to 3.00)",
    ]


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


def test_rows_of_bands_have_an_axis_each_and_one_legend(tmp_path):
    rows = [
        {"name": name, "panel": k, "tokens": 1000 * i, "seconds": 2 * i, "mean": 0.1 * i, "low": 0.1 * i, "high": 0.5}
        for k, name in enumerate(("base", "SFT"))
        for i in range(3)
    ]
    chart = figures.rows_of_bands(pd.DataFrame(rows), COLOURS, {"tokens": "tokens", "seconds": "CPU seconds"}, "right")
    spec = figures.to_spec(chart)
    fields = [[layer["encoding"]["x"]["field"] for layer in row["spec"]["layer"]] for row in spec["vconcat"]]
    assert fields == [["tokens"] * 2, ["seconds"] * 2]
    area, line = spec["vconcat"][0]["spec"]["layer"]
    assert [area["encoding"][y]["field"] for y in ("y", "y2")] + [line["encoding"]["y"]["field"]] == [
        "low",
        "high",
        "mean",
    ]
    _, svg = figures.save_figure(chart, tmp_path / "rows")
    text = svg.read_text(encoding="utf-8")
    assert (text.count(">SFT<"), text.count(">CPU seconds<"), text.count(">tokens<")) == (1, 2, 2)
