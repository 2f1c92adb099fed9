"""The examples of docs/extending.md run as they stand, as `python -m` runs them, and none is long."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.run import read_jsonl, read_mapping

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    zip(
        ("algorithm", "experience", "reward", "environment", "loop"),
        re.findall(r"```python\n(.*?)```", PAGE, re.S),
        strict=True,
    )
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Save the example as a module of its own name, run it there, and return what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(name: str) -> str:
        (tmp_path / f"my_{name}.py").write_text(EXAMPLES[name])
        capsys.readouterr()
        try:
            runpy.run_module(f"my_{name}", run_name="__main__", alter_sys=True)
        finally:
            sys.modules.pop(f"my_{name}", None)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_is_longer_than_sixty_lines(name: str) -> None:
    assert EXAMPLES[name].count("\n") < 60


def test_the_algorithm_trains_and_is_named_by_its_path(tmp_path: Path) -> None:
    """In a process of its own, which knows nothing but the folder that it was started in."""
    (tmp_path / "my_algorithm.py").write_text(EXAMPLES["algorithm"])
    command = [sys.executable, "-m", "my_algorithm"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/discopop/model/config.json").exists()
    first, *_, last = read_jsonl(tmp_path / "runs/discopop/metrics.jsonl")
    # Δ = 0 at the start: w = ½, so L = ½·log 2 + ½.
    assert first["loss"] == pytest.approx(0.5 * 0.6931472 + 0.5, abs=1e-5)
    assert last["step"] == 4
    config = read_mapping(tmp_path / "runs/discopop/config.yaml")
    assert (config["algorithm"], config["tau"]) == ("my_algorithm:DiscoPOP", 0.05)


def test_the_experience_trains_a_policy_gradient(tmp_path: Path, run: Callable[[str], str]) -> None:
    run("experience")
    steps = read_jsonl(tmp_path / "runs/tries/metrics.jsonl")
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert all(0 <= step["score"] <= 1 for step in steps)
    config = read_mapping(tmp_path / "runs/tries/config.yaml")
    assert (config["algorithm"], config["experience"]) == ("reinforce", "my_experience:SecondTry")
    assert (config["rollout"], config["tokens"], config["word"]) == (4, 8, "good")


def test_the_environment_asks_twice_and_rewards_kind_words(tmp_path: Path, run: Callable[[str], str]) -> None:
    run("environment")
    assert read_mapping(tmp_path / "runs/interview/config.yaml")["environment"] == "my_environment:Interview"
    samples = read_jsonl(tmp_path / "runs/interview/samples.jsonl")
    asked = {message["content"] for one in samples for message in one["turns"] if message["role"] == "user"}
    assert asked == {"The music was"}
    for sample in samples:
        said = [message["content"].lower() for message in sample["turns"] if message["role"] == "assistant"]
        said = said[: len(said) - (not sample["ended"])]  # a message that was cut is not answered
        kind = sum(any(word in text for word in ("good", "great", "love", "fine")) for text in said)
        assert sample["score"] == kind


def test_the_reward_is_what_the_samples_say(tmp_path: Path, run: Callable[[str], str]) -> None:
    run("reward")
    assert read_mapping(tmp_path / "runs/kind/config.yaml")["reward"] == "my_reward:short_and_kind"
    for sample in read_jsonl(tmp_path / "runs/kind/samples.jsonl"):
        kind = any(word in sample["response"].lower() for word in ("good", "great", "love"))
        assert sample["score"] == pytest.approx(kind - len(sample["response"].split()) / 100 + 0.5)


def test_the_loop_of_ones_own_learns(run: Callable[[str], str]) -> None:
    losses = eval(run("loop"))
    assert len(losses) == 5
    assert losses[-1] < losses[0] - 0.5
