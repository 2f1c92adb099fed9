"""The study of learning from comparisons: its settings, its variants, its numbers by hand, and a small one whole."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from burnish.experience.control.fixed_cartpole import FIXED_CARTPOLE
from burnish.recipes.control.comparisons import (
    comparisons_settings,
    groups_of,
    run_comparisons,
    study_of,
    summarise,
    variants,
)
from burnish.recipes.control.comparisons_group import Variant
from burnish.run import UserError

from .test_comparisons_group import QUICK

ALL = ["true_reward", "labels_100", "labels_350", "labels_700", "labels_1400", "start_700", "random_700"]


def test_the_defaults_are_the_issues() -> None:
    settings = comparisons_settings({})
    assert (settings.env, settings.runs) == ("Pendulum-v1", 5)
    assert comparisons_settings({"env": FIXED_CARTPOLE, "runs": 2}).runs == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"algorithms": "ppo"}, "uses ppo only: leave algorithms out"),
        ({"episode": 3}, "unknown key 'episode' for learning from comparisons.*episodes"),
        ({"env": "CartPole-v1"}, "needs episodes of a fixed length.* not CartPole-v1"),
        ({"episodes": 0}, "episodes must be at least 1"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        comparisons_settings(options)


def test_the_variants_of_the_study() -> None:
    study = variants()
    assert [variant.name for variant in study] == ALL
    assert [variant.labels for variant in study] == [0, 100, 350, 700, 1400, 700, 700]
    ways = [(v.comparisons.when, v.comparisons.choose) for v in study if v.comparisons]
    assert ways == [("learning", "variance")] * 4 + [("start", "random"), ("learning", "random")]
    assert all(v.comparisons.segment == 50 for v in variants(segment=50) if v.comparisons)


def test_every_variant_has_the_same_ppo_and_the_same_seeds() -> None:
    groups = groups_of(comparisons_settings({"runs": 5, "group": 3, "seed": 2}), variants())
    assert [(g.first, g.last) for g in groups] == [(0, 2), (3, 4)] * 7
    assert groups[0].variant.labels == 1400
    assert groups[1].seeds == [2_000_009, 2_000_010]
    own = [g.method.as_dict() for g in groups]
    assert [one.pop("normalise_rewards") for one in own] == [g.variant.comparisons is None for g in groups]
    assert all(one == own[0] for one in own)


def frame_of(returns: dict[str, list[list[float]]]) -> pd.DataFrame:
    rows = [
        {"variant": name, "labels": 7, "run": run, "episode": i + 1, "return": value, "length": 1, "steps": i + 1}
        for name, runs in returns.items()
        for run, values in enumerate(runs)
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_the_numbers_by_hand() -> None:
    """Five episodes, of which the last one is the end. Of the second variant's runs one is not finished and counts
    nowhere; episodes beyond the fifth do not either. Differences: 7 − 5 and 3 − 5."""
    study = [Variant("true_reward", "True", None), *variants((7,), 9)[1:2]]
    settings = comparisons_settings({"episodes": 5, "runs": 3})
    frame = frame_of(
        {
            "true_reward": [[1, 1, 1, 1, 5], [2, 2, 2, 2, 5, 99], [0, 0, 0, 0, 8]],
            "labels_7": [[0, 0, 0, 0, 7], [0, 0, 0, 0, 3], [1, 1, 1]],
        }
    )
    measured = {"0": {"late": 0.5, "ever": 0.25}, "1": {"late": None, "ever": 0.75}}
    groups = groups_of(settings, study)
    left = [(g, {"seconds": 1.5, "measured": measured if g.variant.labels else {}}) for g in groups]
    found = summarise(frame, study, settings, left)
    assert (found["episodes"], found["last"], list(found["variants"])) == (5, 1, ["true_reward", "labels_7"])
    true, asked = found["variants"].values()
    assert (true["runs"], true["final_per_run"], true["difference"]) == (3, [5, 5, 8], None)
    assert true["mean"]["mean"] == pytest.approx((9 / 5 + 13 / 5 + 8 / 5) / 3)
    assert (asked["runs"], asked["final_per_run"]) == (2, [7, 3])
    assert asked["difference"]["mean"] == 0
    assert asked["difference"]["low"] == -2
    assert asked["difference"]["high"] == 2
    assert asked["correlation_late"] == {"mean": 0.5, "low": None, "high": None}
    assert asked["correlation_ever"]["mean"] == 0.5
    assert asked["seconds"] == 1.5
    json.dumps(found, allow_nan=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "small"
    return run_comparisons(small(out), "burnish that", variants((6,), 8, **QUICK)[:3])


def small(out: Path, **options: Any) -> Any:
    given = {"env": FIXED_CARTPOLE, "runs": 2, "episodes": 9, "out": str(out), "hidden": "8", "processes": 1}
    return comparisons_settings(given | {"quiet": True} | options)


def test_what_the_study_leaves(folder: Path) -> None:
    files = {"returns.parquet", "summary.json", "config.yaml", "environment.json", "report.html"}
    figures = {f"{name}.{kind}" for name in ("labels", "curves", "correlation") for kind in ("png", "svg")}
    assert files | figures <= {path.name for path in folder.iterdir()}
    frame = pd.read_parquet(folder / "returns.parquet")
    assert list(frame.columns) == ["variant", "labels", "run", "episode", "return", "length", "steps"]
    counted = frame[frame.episode <= 9].groupby(["variant", "labels", "run"], sort=False).size()
    assert counted.to_dict() == {
        (name, labels, run): 9
        for name, labels in (("true_reward", 0), ("labels_6", 6), ("start_8", 8))
        for run in (0, 1)
    }
    found = json.loads((folder / "summary.json").read_text())
    assert found["command"] == "burnish that"
    for name, one in found["variants"].items():
        own = frame[(frame.variant == name) & (frame.episode > 7) & (frame.episode <= 9)]
        assert one["final"]["mean"] == pytest.approx(own.groupby("run")["return"].mean().mean())
        assert math.isfinite(one["mean"]["mean"])
    assert -1 <= found["variants"]["labels_6"]["correlation_ever"]["mean"] <= 1


def test_a_finished_study_is_resumed_without_work(folder: Path) -> None:
    groups = sorted((folder / "groups").iterdir())
    before = [path.stat().st_mtime_ns for path in groups]
    run_comparisons(small(folder, resume=True), None, variants((6,), 8, **QUICK)[:3])
    assert [path.stat().st_mtime_ns for path in groups] == before
    with pytest.raises(UserError, match="begun with another config, "):
        run_comparisons(small(folder, resume=True), None, variants((5,), 8, **QUICK)[:3])


def test_labels_name_the_variants() -> None:
    assert [variant.name for variant in study_of("100, 7")] == ["true_reward", "labels_100", "labels_7"]
    assert study_of(None) == variants()


@pytest.mark.parametrize("labels", ["", "0", "100,", "100,100", "-5", "many"])
def test_labels_amiss_are_refused(labels: str) -> None:
    with pytest.raises(UserError, match="labels must be different comma-separated numbers above 0"):
        study_of(labels)
