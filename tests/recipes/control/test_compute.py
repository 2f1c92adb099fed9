"""Groups that are computed in processes: what a process that is killed costs, and messages that come late."""

import queue
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from burnish.recipes.control.bars import Bars
from burnish.recipes.control.classic import groups_of
from burnish.recipes.control.compute import compute, listen, outcome, settle
from burnish.recipes.control.group import FINISHED, RunGroup
from burnish.recipes.control.settings import experiment
from burnish.run import RunFolder, UserError


def test_a_process_that_is_killed_costs_the_groups_that_it_might_have_had() -> None:
    """A broken pool fails every group that waits: said once an algorithm, and no traceback."""
    plan = experiment({"algorithms": "ppo", "runs": 2, "group": 1})
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}

    def killed() -> dict[str, Any]:
        raise BrokenProcessPool("a child process terminated abruptly")

    groups = groups_of(plan)
    for group in groups:
        settle(group, killed, Bars(groups, True), found, failed)
    assert found == {}
    assert failed.keys() == {"ppo-00-00", "ppo-01-01"}
    assert all("--resume and fewer processes" in reason for reason in failed.values())


def test_a_folder_that_vanishes_ends_the_experiment_with_the_next_group(tmp_path: Path) -> None:
    """Groups make their own folders anew, which would be taken for the experiment's."""
    begun = []

    def run(group: RunGroup, folder: Path, progress: object) -> dict[str, Any]:
        begun.append(group.name)
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        folder.mkdir(parents=True)
        return {"seconds": 1.0, "failed": {}}

    groups = groups_of(experiment({"algorithms": "ppo", "runs": 2, "group": 1}))
    with pytest.raises(UserError, match="run was removed or replaced"), RunFolder.open(tmp_path / "run") as home:
        compute(groups, home, 1, True, run)
    assert begun == ["ppo-00-00"]


def test_what_is_heard_late_of_a_group_changes_nothing() -> None:
    """Of two groups of 4 episodes one is over, and its last message comes after its end."""
    groups = groups_of(experiment({"algorithms": "ppo", "runs": 2, "group": 1, "episodes": 4}))
    bars, heard = Bars(groups, True), queue.Queue()  # type: ignore[var-annotated]
    for message in [("ppo-00-00", 3), ("ppo-01-01", 1), ("ppo-01-01", 2)]:
        heard.put(message)
    bars.done(groups[0], 1.0)
    listen(heard, {"ppo-01-01": groups[1]}, bars)
    assert bars.counts == {"ppo-00-00": 4, "ppo-01-01": 2}
    assert [(task.completed, task.total) for task in bars.bars.tasks] == [(6, 8)]


@pytest.mark.parametrize("content", ["{}", '{"seconds": "x", "failed": {}}', '{"seconds": 1.0, "failed": []}'])
def test_a_damaged_group_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / FINISHED).write_text(content)
    with pytest.raises(UserError, match=rf"group\.json is damaged: remove {tmp_path} and compute it again"):
        outcome(tmp_path)
