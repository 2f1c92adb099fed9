"""Learning curves: their points by hand and by loops, and what the files show."""

import itertools
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from burnish.report import theme
from burnish.report.control.classic_figures import (
    RUN_POINTS,
    LightFigure,
    band,
    curves_of,
    learning_curves,
    multiples,
    panel,
    save_curves,
    window,
)
from burnish.report.figures import to_spec
from burnish.run import UserError


def make_frame(runs: dict[str, list[list[tuple[int, float]]]]) -> pd.DataFrame:
    """A row an episode from (steps at its end, return)."""
    rows = []
    for name, several in runs.items():
        for run, episodes in enumerate(several):
            for e, (steps, value) in enumerate(episodes, start=1):
                rows.append({"algorithm": name, "run": run, "episode": e, "return": float(value), "steps": steps})
    return pd.DataFrame(rows)


def noisy(names: list[str], runs: int, episodes: int, length: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    ends = [length * e for e in range(1, episodes + 1)]
    return make_frame(
        {name: [list(zip(ends, rng.normal(size=episodes), strict=True)) for _ in range(runs)] for name in names}
    )


TWO_RUNS = make_frame({"ppo": [[(10, 1), (20, 3)], [(5, 0), (25, 4)]]})


def at(x: np.ndarray, y: np.ndarray, place: float) -> float:
    (found,) = np.flatnonzero(x == place)
    return float(y[found])


def test_few_episodes_are_smoothed_less() -> None:
    assert [window(episodes) for episodes in (1, 39, 40, 199, 200, 5000)] == [1, 1, 2, 9, 10, 10]


def test_curves_over_episodes_by_hand() -> None:
    (curve,) = curves_of(TWO_RUNS, "episode")
    assert curve.name == "ppo"
    assert curve.x.tolist() == [1, 2]
    assert curve.mean.tolist() == [0.5, 3.5]
    assert [y.tolist() for _, y in curve.runs] == [[1, 3], [0, 4]]


def test_curves_over_steps_by_hand() -> None:
    """Run 0 goes from 1 at step 10 to 3 at step 20, run 1 from 0 at step 5 to 4 at step 25: both are 2 at step 15, and
    where both are, from 10 to 20, at 1 and 3."""
    (curve,) = curves_of(TWO_RUNS, "steps")
    assert (curve.x[0], curve.x[-1]) == (10, 20)
    assert [at(curve.x, curve.mean, place) for place in (10, 12, 15, 20)] == pytest.approx([1, 1.4, 2, 3])
    (x, y), (longer, its) = curve.runs
    assert (x[0], x[-1], longer[0], longer[-1]) == (10, 20, 5, 25)
    assert (y[0], y[-1], its[0], its[-1]) == (1, 3, 0, 4)
    assert at(longer, its, 10) == pytest.approx(1)


def test_the_smoothed_return_is_that_of_the_last_episodes() -> None:
    frame = noisy(["ppo"], 3, 250)
    (curve,) = curves_of(frame, "episode")
    returns = [frame[frame.run == run]["return"].tolist() for run in range(3)]
    for episode in (5, 100, 250):
        last = [run[max(0, episode - 10) : episode] for run in returns]
        expected = sum(sum(run) / len(run) for run in last) / 3
        assert at(curve.x, curve.mean, episode) == pytest.approx(expected)


def test_over_steps_episodes_come_in_the_order_in_which_they_end() -> None:
    """Every second episode ends before the one that began first; of 40 episodes two are smoothed together."""
    ends = [(e + 1 if e % 2 else e - 1, float(e)) for e in range(1, 41)]
    (curve,) = curves_of(make_frame({"ppo": [ends]}), "steps")
    assert [at(curve.x, curve.mean, step) for step in (1, 2, 3, 4)] == pytest.approx([2, 1.5, 2.5, 3.5])


def test_the_band_is_the_quantiles_of_all_resamples() -> None:
    """Three runs have 27 resamples; each place has its own quantiles."""
    values = np.array([[0.0, 9.0], [3.0, 0.0], [12.0, 3.0]])
    means = np.repeat([np.mean(rows, axis=0) for rows in itertools.product(values, repeat=3)], 100, axis=0)
    low, high = band(values)
    assert low == pytest.approx(np.quantile(means, 0.025, axis=0), abs=0.6)
    assert high == pytest.approx(np.quantile(means, 0.975, axis=0), abs=0.6)
    assert (low < values.mean(axis=0) - 2).all()
    assert (high > values.mean(axis=0) + 2).all()


def test_a_band_narrows_with_the_root_of_the_runs() -> None:
    """400 normal values: 1.96 / 20 to either side of their mean."""
    values = np.random.default_rng(1).normal(size=(400, 3))
    low, high = band(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std(axis=0) / 20, rel=0.1)


def test_one_run_has_no_band() -> None:
    (curve,) = curves_of(noisy(["ppo"], 1, 30))
    assert curve.low is None
    spec = to_spec(panel([curve], {"ppo": "#123456"}, "episode"))
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["line", "point"]
    assert spec["title"] == "Return"
    (small,) = multiples([curve], {"ppo": "#123456"}, "episode")
    assert [layer["mark"].get("opacity") for layer in to_spec(small)["layer"]] == [1]


def test_runs_that_never_overlap_have_no_mean_but_are_drawn(tmp_path: Path) -> None:
    frame = make_frame({"ppo": [[(10, 1)], [(20, 2)]]})
    (curve,) = curves_of(frame, "steps")
    assert (len(curve.x), curve.low) == (0, None)
    assert [(x.tolist(), y.tolist()) for x, y in curve.runs] == [([10], [1]), ([20], [2])]
    assert all(path.stat().st_size > 1000 for path in save_curves(learning_curves(frame, "steps"), tmp_path / "apart"))


@pytest.mark.parametrize("episodes", [1000, 119])
def test_long_runs_are_thinned_and_keep_their_ends(episodes: int) -> None:
    for by, length in (("episode", 1), ("steps", 7)):
        (curve,) = curves_of(noisy(["ppo"], 2, episodes), by)
        assert (curve.x[0], curve.x[-1]) == (length, length * episodes)
        assert 119 <= len(curve.x) <= 201
        for x, _ in curve.runs:
            assert x[-1] == length * episodes
            assert RUN_POINTS / 2 <= len(x) <= RUN_POINTS


def rows_of(spec: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    return spec["datasets"][layer["data"]["name"]]


def test_the_panel_shows_each_algorithm_with_its_band() -> None:
    frame = pd.concat([TWO_RUNS, TWO_RUNS.assign(algorithm="trpo", **{"return": TWO_RUNS["return"] * 100})])
    colours = theme.series_colours(["trpo", "ppo"])
    curves = curves_of(frame, "episode")
    spec = to_spec(panel(curves, colours, "episode", threshold=3.5))
    rule, label, area, line, dots = spec["layer"]
    assert rows_of(spec, rule) == rows_of(spec, label) == [{"mean": 3.5, "label": "3.5"}]
    assert [(row["name"], row["x"], row["mean"]) for row in rows_of(spec, line)] == [
        ("ppo", [1, 2], [0.5, 3.5]),
        ("trpo", [1, 2], [50, 350]),
    ]
    ppo, _ = rows_of(spec, area)
    assert (ppo["low"], ppo["high"]) == ([0, 3], [1, 4])
    assert (area["encoding"]["y"]["field"], area["encoding"]["y2"]["field"]) == ("low", "high")
    scale = line["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == colours
    assert scale["domain"] == ["ppo", "trpo"]
    assert line["encoding"]["x"]["scale"]["domain"] == [0, 2]
    assert "ppo 3.5, trpo 350" in spec["description"]
    assert spec["title"] == "Mean return of 2 runs"
    assert "condition" in dots["encoding"]["opacity"]


def test_the_small_multiples_have_every_run_and_the_same_axes() -> None:
    frame = pd.concat([TWO_RUNS, TWO_RUNS.assign(algorithm="trpo", **{"return": TWO_RUNS["return"] * 100})])
    specs = [
        to_spec(one) for one in multiples(curves_of(frame, "steps"), {"ppo": "#000000", "trpo": "#111111"}, "steps")
    ]
    assert [spec["title"] for spec in specs] == ["ppo", "trpo"]
    thin, mean = specs[1]["layer"]
    assert [row["run"] for row in rows_of(specs[1], thin)] == [0, 1]
    assert rows_of(specs[1], thin)[1]["mean"][-1] == 400
    assert rows_of(specs[1], mean)[0]["mean"][-1] == 300
    axes = [(layer["encoding"]["x"]["scale"], layer["encoding"]["y"]["scale"]) for s in specs for layer in s["layer"]]
    assert all(pair == axes[0] for pair in axes)
    assert axes[0][0]["domain"] == [0, 25]
    assert axes[0][1]["domain"] == [0, 400]


@pytest.mark.parametrize("names", [["ppo"], ["a", "b"], ["a", "b", "c", "d", "e"]])
def test_the_files(tmp_path: Path, names: list[str]) -> None:
    chart = learning_curves(noisy(names, 3, 60), threshold=0.25)
    png, svg = save_curves(chart, tmp_path / "deep" / "returns.v1")
    assert (png.name, svg.name) == ("returns.v1.png", "returns.v1.svg")
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", png.read_bytes()[16:20])[0] >= 1720  # pixels: 860 wide, twice
    text = svg.read_text()
    title = "Mean return of 3 runs, with 95 % bootstrap bands; each point is the mean of 3 episodes"
    assert all(f">{words}</text>" in text for words in (title, "episode", "0.25"))
    assert all(text.count(f">{name}</text>") == 2 for name in names)  # in the legend and above its small multiple
    assert "var(--" not in text


def test_the_title_mentions_smoothing_only_if_there_is_any(tmp_path: Path) -> None:
    _, svg = save_curves(learning_curves(TWO_RUNS), tmp_path / "returns")
    assert ">Mean return of 2 runs, with 95 % bootstrap bands</text>" in svg.read_text()


@pytest.mark.parametrize("size", [1e30, -1e30, 2.0**64, 1e300])
def test_returns_of_any_size_are_drawn(size: float, tmp_path: Path) -> None:
    """A whole number past 64 bits is no number that a chart reads."""
    frame = make_frame({"ppo": [[(10, 1), (20, 2)], [(10, size), (20, 3 * size)]]})
    for path in save_curves(learning_curves(frame), tmp_path / "returns"):
        assert path.stat().st_size > 1000
    spec = to_spec(panel(curves_of(frame), {"ppo": theme.colour("series-1")}, "episode"))
    assert "<svg" in LightFigure("returns", spec).drawing()


def test_a_threshold_of_any_size_is_drawn(tmp_path: Path) -> None:
    for path in save_curves(learning_curves(TWO_RUNS, threshold=10**30), tmp_path / "returns"):
        assert path.stat().st_size > 1000


def test_a_drawing_is_short_and_still_whole() -> None:
    spec = to_spec(panel(curves_of(noisy(["ppo"], 2, 60)), {"ppo": theme.colour("series-1")}, "episode"))
    drawing = LightFigure("returns", spec).drawing()
    assert not any(re.search(r"\d\.\d", path) for path in re.findall(r' d="([^"]*)"', drawing))
    line = max(re.findall(r' d="([^"]*)"', drawing), key=len)
    assert len(re.findall("[ML]", line)) >= 60
    assert "var(--series-1, " in drawing


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="no column run, steps: curves need"):
        curves_of(TWO_RUNS.drop(columns=["run", "steps"]))
    with pytest.raises(UserError, match="no episode"):
        learning_curves(TWO_RUNS.iloc[:0])
