"""What is run for the monitor: what each training learns from and how long, and what is measured of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.recipes.study.overoptimise import controls
from burnish.recipes.study.overoptimise.controls import controlled, owned
from burnish.rewards.builtin import TextReward
from burnish.run import read_jsonl

from .worlds import TINY, Longer, begun


def test_margins_with_a_proxys_labels() -> None:
    """The second pair has its labels the other way round, and the third is a tie."""
    assert owned([1.0, 2.0, 3.0], np.array([1.0, 0.0, 0.5])) == [1.0, -2.0, 0.0]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any, Any]]:
    """With a start, and reward models that prefer the longer response: the watch, the algorithm and the settings of
    each training, which has one measurement beside the start's."""
    begun(tmp_path)
    (tmp_path / "work").mkdir()
    found: list[tuple[Any, Any, Any]] = []

    def watched(watch: Any, algorithm: Any, settings: Any) -> dict[str, Any]:
        found.append((watch, algorithm, settings))
        count = len(watch.points[0]["margins"])
        return {"points": [*watch.points, {"step": 2, "margins": [1.0] * count}], "diverged": None}

    monkeypatch.setattr(controls, "watched", watched)
    monkeypatch.setattr(controls, "load_scorer", lambda folder, _: Longer())
    return found


def test_dpo_learns_from_the_proxys_labels_and_is_measured_by_them(tmp_path: Path, asked: list[Any]) -> None:
    """Of all eight pairs the longer response is " a bad one.", which the held-out pairs have as rejected."""
    found = controlled(0, "dpo", 2, TINY, tmp_path, tmp_path / "work")
    (watch, algorithm, settings), rows = asked[0], read_jsonl(tmp_path / "work" / "labels.jsonl")
    assert [(one["chosen"], one["rejected"]) for one in rows] == [(" a bad one.", " good.")] * 4
    assert (watch.each, settings.steps, settings.batch_size) == (0, TINY.control_steps, 2)
    assert (vars(algorithm)["beta"], type(algorithm).__name__) == (TINY.loose, "DPO")
    assert found["points"][1]["own"] == [-1.0] * 4
    assert len(found["points"][0]["proxy"]) == TINY.held_out


def test_online_dpo_learns_from_the_proxy_itself(tmp_path: Path, asked: list[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(controls, "build", lambda algorithm, options: (algorithm, options))
    found = controlled(0, "online_dpo", 4, TINY, tmp_path, tmp_path / "work")
    watch, algorithm, options = asked[0]
    assert (watch.each, algorithm.__name__) == (TINY.rollout, "OnlineDPO")
    assert options["reward"] == str(tmp_path / "rewards" / "seed-0-4")
    assert (options["beta"], options["rollout"], options["completions_per_prompt"]) == (TINY.strict, 2, 2)
    assert options["steps"] == TINY.control_steps
    assert "own" not in found["points"][0]


def test_ppo_on_the_gold_score_is_the_studys_ppo_with_another_reward(tmp_path: Path, asked: list[Any]) -> None:
    found = controlled(0, "ppo_gold", None, TINY, tmp_path, tmp_path / "work")
    watch, _, settings = asked[0]
    assert isinstance(settings.experience.reward, TextReward)
    assert (settings.experience.beta, settings.steps, watch.each) == (TINY.beta, TINY.steps, TINY.rollout)
    assert "proxy" not in found["points"][0]
    assert json.loads(json.dumps(found["points"][0]))["step"] == 0
