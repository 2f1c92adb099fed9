"""Cells in this process and in several: results, failures, a killed process and Ctrl-C."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import pytest

from burnish.recipes.study import pool
from burnish.recipes.study.cells import Cell, Found
from burnish.recipes.study.plan import Plan
from burnish.recipes.study.pool import alone, computed, line, spread
from burnish.run import RunFolder, UserError
from burnish.training.loop import Interrupted
from burnish.training.progress import Progress

from .worlds import TINY

FOUND = {"graded": {"samples": 2, "right": [1, 2], "length": 3.25, "entropy": 0.1}, "rate": None}


def test_a_mistake_in_one_cell_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def compute(cell: Cell, plan: Plan, out: Path) -> Found:
        if cell.seed == 0:
            raise UserError("not learned")
        return FOUND

    monkeypatch.setattr(pool, "compute", compute)
    cells = [Cell("sort", seed) for seed in range(2)]
    with RunFolder.open(tmp_path / "study") as home, Progress("study", 2) as progress:
        found, failed = computed(cells, TINY, home, 1, progress)
    assert (found, failed) == ({cells[1]: FOUND}, {cells[0]: "not learned"})
    assert progress.done == 2
    said = capfd.readouterr().err
    assert "sort, seed 0, pupil: failed: not learned\n" in said
    assert "sort, seed 1, pupil: 75.0% right, 3.2 tokens, 0 s\n" in said


def test_the_line_of_a_cell() -> None:
    assert line(Cell("sort", 1, "ppo", 1e-3), FOUND, 12.4) == "sort, seed 1, PPO: 75.0% right, 3.2 tokens, 12 s"


def test_ctrl_c_says_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(*_: object) -> Found:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "compute", compute)
    said = "keeps the finished cells; --resume computes the others"
    with pytest.raises(Interrupted, match=said), RunFolder.open(tmp_path / "study") as home:
        computed([Cell("sort", 0)], TINY, home, 1, Progress("study", 1, quiet=True))


def test_a_folder_that_vanishes_ends_the_study_with_the_next_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(cell: Cell, plan: Plan, out: Path) -> Found:
        assert cell.seed == 0, "the study goes on"
        out.rename(tmp_path / "elsewhere")
        return FOUND

    monkeypatch.setattr(pool, "compute", compute)
    cells = [Cell("sort", seed) for seed in range(2)]
    with pytest.raises(UserError, match="study was removed"), RunFolder.open(tmp_path / "study") as home:
        computed(cells, TINY, home, 1, Progress("study", 2, quiet=True))


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in the place of processes, which take ten seconds to import everything."""
    with ThreadPoolExecutor(count) as executor:
        yield executor


def test_several_at_a_time_give_what_one_after_the_other_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "workers", threads)
    monkeypatch.setattr(pool, "compute", lambda cell, *_: FOUND | {"seed": cell.seed})
    cells = [Cell("sort", seed) for seed in range(5)]
    apart = {cell: found for cell, found, _ in spread(cells, TINY, tmp_path, 2)}
    assert apart == {cell: found for cell, found, _ in alone(cells, TINY, tmp_path)}
    assert [apart[cell]["seed"] for cell in cells] == [0, 1, 2, 3, 4]


def test_a_killed_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> Found:
        raise BrokenProcessPool

    monkeypatch.setattr(pool, "workers", threads)
    monkeypatch.setattr(pool, "compute", dies)
    with pytest.raises(UserError, match=r"a process was killed.* go on with --resume and a smaller --jobs"):
        list(spread([Cell("sort", 0)], TINY, tmp_path, 1))
