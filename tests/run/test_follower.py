"""The run folder in a process that does not write it, in real processes."""

from pathlib import Path
from typing import Any

import ranks

from burnish.run import RunFolder, UserError
from burnish.run.follower import Follower, opened
from burnish.run.world import joined


def write(folder: str, other: str) -> list[Any]:
    """Everything that writes; the second process is given the folder `other`."""
    world = joined()
    try:
        with opened(other if world.rank else folder, False, world) as run:
            run.claim({"seed": world.rank})
            world.barrier()
            run.append("metrics", {"step": 1, "rank": world.rank})
            run.write_config({"seed": 10 + world.rank})
            found = [run.world is world, run.resumed, run.describe({"seed": world.rank}), run.noted()]
            world.barrier()
            run.rewind({})
            world.barrier()
            return [*found, run.claimed(), sorted(path.name for path in run.path.iterdir())]
    except UserError as error:
        return [str(error)]


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    """The file of metrics is deleted by `rewind` in the main process, which has no checkpoint."""
    run = str(tmp_path / "run")
    one, other = ranks.together(2, tmp_path / "ends", write, run, run)
    assert one == other == [True, False, [], {}, {"seed": 10}, [".lock", "config.yaml", "environment.json", "logs"]]


def test_a_folder_that_one_process_does_not_see(tmp_path: Path) -> None:
    one, other = ranks.together(2, tmp_path / "ends", write, str(tmp_path / "run"), str(tmp_path / "other"))
    assert other == [f"process 1 does not see the folder {tmp_path / 'other'} of process 0: use one that both see"]
    assert "has ended: the others end too" in one[0]  # named where it was seen to end
    assert not (tmp_path / "run").exists()


def test_it_locks_and_removes_nothing(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.claim({"seed": 0})
        with Follower(run.path, False) as follower:
            follower.check_there()
            with run.replace_folder("model") as made, follower.replace_folder("model") as seen:
                assert made == seen
        assert (run.path / "model").is_dir()
        assert follower.claimed() == {"seed": 0}
