"""The page of learning from comparisons, from numbers written by hand."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from reading import Page

from burnish.report.control.comparisons import comparisons_page, labels_chart, result, title
from burnish.run import UserError

from ..conftest import interval

BELOW, LEVEL, ABOVE = interval(-50, 20), interval(-5, 20), interval(30, 20)


def summary(*differences: Any, runs: int = 5) -> dict[str, Any]:
    """PPO on the true reward, then 100 and 700 labels, and 700 at the start, with these differences."""
    kinds = [
        ("labels_100", "100 labels", 100, "learning", "variance"),
        ("labels_700", "700 labels", 700, "learning", "variance"),
        ("start_700", "700 at the start", 700, "start", "random"),
    ]
    plain = {"runs": runs, "seconds": 61.0, "final_per_run": [-200.0] * runs}
    true = {"label": "True reward", "labels": 0, "final": interval(-200, 10), "mean": interval(-400, 9)}
    models = {"true_reward": plain | true | {"difference": None}}
    for (name, label, labels, when, choose), difference in zip(kinds, differences, strict=False):
        own = {"label": label, "labels": labels, "when": when, "choose": choose, "difference": difference}
        own |= {"final": interval(-200 + (difference or {"mean": 0})["mean"], 15), "mean": interval(-600, 9)}
        own |= {"correlation_late": interval(0.9, 0.05), "correlation_ever": interval(0.95, 0.02)}
        models[name] = plain | own
    return {"env": "Pendulum-v1", "episodes": 20, "last": 4, "variants": models, "command": "burnish this"}


def study(folder: Path, found: dict[str, Any]) -> Path:
    (folder / "summary.json").write_text(json.dumps(found))
    rows = [
        {"variant": name, "labels": one["labels"], "run": run, "episode": e, "return": -300.0 + e, "steps": 200 * e}
        for name, one in found["variants"].items()
        for run in range(one["runs"])
        for e in range(1, 21)
    ]
    pd.DataFrame(rows).to_parquet(folder / "returns.parquet")
    return folder


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        (
            (BELOW, LEVEL, LEVEL),
            "PPO trained on comparisons on Pendulum-v1: with 700 labels and 700 at the start it cannot be told apart "
            "from PPO on the true reward, and with 100 labels it ends below that",
        ),
        (
            (BELOW, BELOW, ABOVE),
            "PPO trained on comparisons on Pendulum-v1: with 100 labels and 700 labels it ends below PPO on the true "
            "reward, and with 700 at the start it ends above that",
        ),
        (
            (None, None, None),
            "PPO trained on comparisons on Pendulum-v1: too few runs to compare with the true reward",
        ),
    ],
)
def test_the_title_says_what_was_found(differences: tuple, said: str) -> None:
    assert title(summary(*differences)) == said


def test_the_result_in_a_sentence() -> None:
    said = result(summary(BELOW, LEVEL, LEVEL) | {"digits": 0})
    assert "over the last 4 of 20 episodes: −200 (−210 to −190) on the true reward" in said
    assert "−250 (−265 to −235) with 100 labels" in said
    assert "−205 (−220 to −190) with 700 at the start" in said


def test_the_page(tmp_path: Path) -> None:
    page = Page(comparisons_page(study(tmp_path, summary(BELOW, LEVEL, LEVEL))))
    assert page.loads == []
    assert "burnish this" in page.text
    assert "erring_bradley_terry" in page.text
    assert "RLHF does the same with a language model" in page.text
    for cell in ("700 at the start", "−250", "−265 to −235", "0.95", "0.93 to 0.97", "1 min 1 s"):
        assert cell in page.text
    assert {attributes.get("data-figure") for _, attributes in page.tags} >= {"labels", "curves", "correlation"}
    for name in ("labels", "curves", "correlation"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000


def test_points_of_one_number_of_labels_stand_side_by_side() -> None:
    spec = labels_chart(summary(BELOW, LEVEL, LEVEL)).to_dict()
    rows = [row for data in spec["datasets"].values() for row in data if "at" in row]
    assert {(row["labels"], row["at"]) for row in rows} == {(100, 100), (700, 700), (700, 714)}


def test_one_run_without_a_correlation(tmp_path: Path) -> None:
    found = summary(None, None, runs=1)
    for one in found["variants"].values():
        for key in ("final", "mean"):
            one[key] |= {"low": None, "high": None}
    found["variants"]["labels_100"] |= {"correlation_late": None}
    page = Page(comparisons_page(study(tmp_path, found)))
    assert "too few runs" in page.text
    (spec,) = [json.loads(script)["correlation"] for script in page.scripts if script.lstrip().startswith("{")]
    assert "with the rewards of its last predictor" in json.dumps(spec)


def test_a_folder_without_a_summary_or_returns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no summary\.json"):
        comparisons_page(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="has no `env`"):
        comparisons_page(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(summary(LEVEL)))
    with pytest.raises(UserError, match=r"has no returns\.parquet"):
        comparisons_page(tmp_path)
