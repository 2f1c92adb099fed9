"""What reaches the trackers, and what a tracker that fails does to a run: nothing.

The tracker is Weights & Biases, with a small stand-in for its library that writes down what it is given and can fail.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_wandb import installed

from burnish.run import RunFolder, read_jsonl
from burnish.run.trackers import Trackers
from burnish.run.trackers.sending import in_order

from .helpers import CONFIG, follow, follow_twice, metrics, write


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    return installed(tmp_path / "library", monkeypatch)


def sent(folder: Path) -> list[dict[str, Any]]:
    return read_jsonl(folder / "sent.jsonl")


def test_numbers_and_tables_arrive_in_order(tmp_path: Path, fake: Any, capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    found = sent(follow(tmp_path / "run", "wandb", said))
    assert [line["step"] for line in found] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert found[1] == {"step": 2, "loss": 0.5, "loss/policy": 4.0}  # NaN is no number to draw
    rows = [[4, 0, "good 0"], [4, 1, "good 1"]]
    assert found[-1] == {"step": 8, "samples": {"columns": ["step", "row", "response"], "data": rows}}
    assert (tmp_path / "run/finished").read_text() == "0"
    assert json.loads((tmp_path / "run/trackers.json").read_text())["wandb"]["id"] == "x1"
    assert said == []
    assert capfd.readouterr() == ("", "")


def test_an_error_in_the_run_is_noted(tmp_path: Path, fake: Any) -> None:
    def fails() -> None:
        with RunFolder.open(tmp_path / "run") as run, Trackers(run, "wandb", [].append) as trackers:
            trackers.start(CONFIG, 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (tmp_path / "run/finished").read_text() == "1"


@pytest.mark.parametrize("kind", ["RuntimeError", "SystemExit", "OSError"])
@pytest.mark.parametrize("when", ["init", 1, 4, 5, "finish"])
def test_a_tracker_that_fails_warns_once_and_the_run_goes_on(
    tmp_path: Path, fake: Any, when: Any, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.WHEN, fake.KIND = when, kind
    said: list[str] = []
    folder = follow(tmp_path / "run", "wandb", said)
    assert said == [
        f"warning: the tracker wandb failed ({kind}: the server is gone): the run goes on without it, and its "
        "metrics.jsonl and samples.jsonl are complete"
    ]
    assert len(read_jsonl(folder / "metrics.jsonl")) == 8
    assert len(read_jsonl(folder / "samples.jsonl")) == 4
    before = {"init": 0, 1: 0, 4: 3, 5: 5, "finish": 10}[when]
    assert (len(sent(folder)) if before else 0) == before
    assert "a great deal" not in capfd.readouterr().err


def test_a_tracker_that_asks_in_the_terminal_gets_no_answer(tmp_path: Path, fake: Any) -> None:
    fake.WHEN, said = "ask", []
    follow(tmp_path / "run", "wandb", said)
    assert [sentence[:45] for sentence in said] == ["warning: the tracker wandb failed (EOFError: "]


def test_a_resumed_run_continues_without_doubled_steps(tmp_path: Path, fake: Any) -> None:
    found = sent(follow_twice(tmp_path / "run", "wandb"))
    assert [line["step"] for line in found] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert [line["samples"]["data"][0][0] for line in found if "samples" in line] == [0, 4]


def test_a_tracker_that_is_new_to_a_resumed_run_gets_all_of_it(tmp_path: Path, fake: Any) -> None:
    found = sent(follow_twice(tmp_path / "run", "wandb", before=""))
    assert [line["step"] for line in found] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    follow(tmp_path / "run", "")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *(".lock", "config.yaml", "metrics.jsonl", "samples.jsonl")
    ]


def test_a_run_is_read_in_the_order_of_its_writing(tmp_path: Path) -> None:
    """Rollouts of other lengths, one without samples at the end."""
    numbers = [metrics(step) for step in range(1, 7)]
    samples = [{"step": 0, "row": 0}, {"step": 0, "row": 1}, {"step": 1, "row": 0}, {"step": 5, "row": 0}]
    found = [(name, record["step"]) for name, record in in_order(numbers, samples)]
    assert found == [
        *[("metrics", 1), ("samples", 0), ("samples", 0), ("metrics", 2), ("metrics", 3), ("metrics", 4)],
        *[("metrics", 5), ("samples", 1), ("metrics", 6), ("samples", 5)],
    ]


def test_listeners_hear_what_was_written(tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []
    with RunFolder.open(tmp_path / "run") as run:
        run.listeners.append(lambda name, record: heard.append((name, record["step"])))
        write(run, 0, 2)
    assert heard == [("metrics", 1), ("metrics", 2)]
