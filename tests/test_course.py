"""The experiments of the course on language: they run, one on another's models, and their numbers are right."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

COURSE = Path(__file__).parents[1] / "docs" / "course"
sys.path.insert(0, str(COURSE))
experiments, measures = map(importlib.import_module, ("experiments", "measures"))
sys.path.remove(str(COURSE))


def quick(name: str, folder: Path, page: str) -> dict[str, Any]:
    """The summary of a quick experiment."""
    assert experiments.main([name, "--quick", "--out", str(folder / page)]) == 0
    assert (folder / page / "figure.svg").read_text(encoding="utf-8").startswith("<svg")
    found: dict[str, Any] = json.loads((folder / page / "summary.json").read_text(encoding="utf-8"))
    return found


def test_the_experiments_one_after_the_other(tmp_path: Path) -> None:
    """Each says something of the models that its page names, and finite numbers of all."""
    pages = dict(zip(experiments.EXPERIMENTS, range(7, 14), strict=True))
    found = {name: quick(name, tmp_path, f"{page}") for name, page in pages.items()}
    assert found["sft"]["variants"]["before"] != found["sft"]["variants"]["after"]
    assert [len(some) for some in found["sft"]["texts"].values()] == [4, 4]
    assert found["reward"]["variants"]["people"]["accuracy"] == pytest.approx(0.909, abs=1e-3)
    for name, trained in (("rlhf", "ppo"), ("dpo", "dpo"), ("overoptimise", "ppo")):
        start, end = (found[name]["variants"][one] for one in ("start", trained))
        assert (start["kl"], start["gain"], start["accuracy"]) == (0.0, 0.0, 0.5)
        assert end["kl"] != 0
        assert "texts" not in found[name]["points"][-1]
    assert found["rlhf"]["variants"]["ppo"]["claimed"] != 0
    numbers = found["frontier"]["variants"]
    assert {"start", "PPO", "DPO β 0.5", "DPO β 0.1", "DPO β 0.02", "best of 2"} == numbers.keys()
    assert numbers["PPO"]["gain"] == pytest.approx(found["rlhf"]["variants"]["ppo"]["gain"])
    assert {"start", "DPO", "IPO", "KTO"} == found["after"]["variants"].keys()


def test_an_experiment_needs_those_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiments.main(["dpo", "--out", str(tmp_path / "10")]) == 1
    assert (
        capsys.readouterr().err
        == f"course: there is no {tmp_path}/7/sft: run the command of page 7 of the course first\n"
    )
    (tmp_path / "10").mkdir(exist_ok=True)
    assert experiments.main(["dpo", "--out", str(tmp_path / "10")]) == 1
    assert "choose another --out" in capsys.readouterr().err


def test_gains_and_implicit_accuracy() -> None:
    """Gold 1 and 3 become 4 and 4: gains 3 and 1, and 3 and 1 of the start's deviation, which is 1. Of three pairs the
    margin of one rises, of one falls, and of one stays."""
    start = {"gold": [1.0, 3.0], "margins": [-2.0, 0.5, 7.0]}
    point = {"gold": [4.0, 4.0], "margins": [-1.0, 0.0, 7.0]}
    assert measures.gain(point, start, "gold") == [3.0, 1.0]
    assert measures.gain(point, {"gold": [0.0, 4.0]}, "gold", deviations=True) == [2.0, 0.0]
    assert measures.implicit(point, start) == [1.0, 0.0, 0.5]


def test_a_text_is_shown_on_one_line() -> None:
    assert experiments.lines_of(["one\n two ", "three"]) == ["one two", "three"]


def test_a_mean_and_its_ends() -> None:
    assert measures.mean([2.0, 2.0], "kl") == {"kl": 2.0, "kl_low": 2.0, "kl_high": 2.0}
