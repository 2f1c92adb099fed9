"""What `burnish evaluate` says of control, on worlds whose returns are known."""

import json
from pathlib import Path

import pytest
from trained_policies import write_group, write_run

from burnish.recipes.control.evaluate import evaluate_control, evaluated
from burnish.run import UserError
from recipes.classic_worlds import HERE

TOLD = f"{HERE}:Told-v0"


def flat(value: float) -> dict[str, float]:
    return {"mean": value, "low": value, "high": value}


def alone(value: float) -> dict[str, float | None]:
    return {"mean": value, "low": None, "high": None}


def test_returns_of_each_run_and_over_runs(tmp_path: Path) -> None:
    """Told pays 7 to who goes right and 0 to who goes left. The interval over two runs is that of 7 and 0."""
    write_run(tmp_path, TOLD, ppo={0: 1, 1: 0}, trpo={0: 1})
    found = evaluate_control(tmp_path, 5)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == found
    assert (found["env"], found["episodes"], list(found["algorithms"])) == (TOLD, 5, ["trpo", "ppo"])
    ppo = found["algorithms"]["ppo"]
    for kind in ("deterministic", "sampled"):
        assert found["algorithms"]["trpo"][kind] == alone(7.0)  # one run
        assert ppo[kind] == {"mean": 3.5, "low": 0.0, "high": 7.0}
        assert [run[kind] for run in ppo["runs"]] == [flat(7.0), flat(0.0)]
    assert [(run["run"], run["seed"]) for run in ppo["runs"]] == [(0, 0), (1, 1)]


def test_options_of_the_environment_reach_it(tmp_path: Path) -> None:
    """Cut after two steps, going right earns 1 + 2."""
    write_run(tmp_path, TOLD, ppo={0: 1})
    found = evaluate_control(tmp_path, 2, {"max_episode_steps": 2})
    assert found["env_options"] == {"max_episode_steps": 2}
    assert found["algorithms"]["ppo"]["deterministic"] == alone(3.0)


def test_one_episode_has_no_interval_and_neither_has_one_run(tmp_path: Path) -> None:
    write_run(tmp_path, TOLD, ppo={0: 1}, trpo={0: 1, 1: 1})
    found = evaluate_control(tmp_path, 1)["algorithms"]
    assert found["ppo"]["sampled"] == found["ppo"]["runs"][0]["sampled"] == alone(7.0)
    assert found["trpo"]["sampled"] == flat(7.0)
    written = (tmp_path / "evaluation.json").read_text()
    assert '"low": null' in written


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    write_group(tmp_path / "groups" / "ppo", "CartPole-v1", {0: 1})
    with pytest.raises(UserError, match=r"CartPole-v1 has other spaces than the policies of .* learned with"):
        evaluate_control(tmp_path, 2)
    with pytest.raises(UserError, match=r"^data only applies to language models"):
        evaluated(tmp_path, {}, {"data": "x", "seed": 1})
