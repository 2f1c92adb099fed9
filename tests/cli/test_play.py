"""`burnish play`, and `burnish evaluate` of control, as commands."""

import json
from pathlib import Path
from typing import Any

import pytest
from recipes.classic_worlds import HERE
from trained_policies import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", f"{HERE}:Told-v0", ppo={0: 1})


def test_play_tells_the_returns(tmp_path: Path, burnish: Any) -> None:
    pytest.importorskip("PIL")
    run = write_run(tmp_path / "run", "recipes.control.test_film:Painted", ppo={0: 1})
    status, out, err = burnish("play", run, "--episodes", 2, "--out", tmp_path / "x.gif")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "ppo, run 0, recipes.control.test_film:Painted",
        "episode 1: return 7, 3 steps",
        "episode 2: return 7, 3 steps",
        "mean return 7 [7, 7] over 2 episodes, likeliest actions",
        str(tmp_path / "x.gif"),
    ]
    status, out, _ = burnish("play", run, "--episodes", 2, "--sampled", "--quiet", "--out", tmp_path / "x.gif")
    assert out.splitlines()[0] == "mean return 7 [7, 7] over 2 episodes, sampled actions"
    status, out, _ = burnish("play", run, "--episodes", 1, "--quiet", "--out", tmp_path / "x.gif")
    assert out.splitlines()[0] == "return 7 over 1 episode, likeliest actions"  # one number has no interval


def test_play_refuses_in_a_sentence(run: Path, burnish: Any) -> None:
    status, _, err = burnish("play", run, "--out", "x.webm")
    assert (status, err) == (2, "burnish: x.webm does not end in .gif or .mp4: name a file of one of these kinds\n")
    status, _, err = burnish("play", run, "--number", 4)
    assert (status, err) == (2, f"burnish: {run} has no policy of run 4: it has 0\n")
    status, _, err = burnish("play", run, "--env-option", "steps")
    assert (status, err[:70]) == (2, "burnish: --env-option 'steps' is not of the form key=value, like max_e")


def test_evaluate_knows_control(run: Path, burnish: Any) -> None:
    status, out, err = burnish("evaluate", run, "--episodes", 2, "--env-option", "max_episode_steps=2")
    assert (status, err) == (0, "")
    assert json.loads(out) == json.loads((run / "evaluation.json").read_text())
    assert json.loads(out)["algorithms"]["ppo"]["sampled"]["mean"] == 3.0
    status, _, err = burnish("evaluate", run, "--data", "builtin")
    assert (status, err[:48]) == (2, "burnish: data only applies to language models, w")
    status, _, err = burnish("evaluate", run.parent, "--episodes", 3)
    assert (status, err[:56]) == (2, "burnish: episodes only applies to runs of `burnish class")
