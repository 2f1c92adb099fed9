"""Cells in this process and in several: results, failures, a killed process and Ctrl-C."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.recipes.study import pool
from burnish.recipes.study.pool import alone, computed, line, spread
from burnish.run import RunFolder, UserError
from burnish.training.loop import Interrupted
from burnish.training.progress import Progress

from .jobs import Number, Squares


def test_a_mistake_in_one_cell_does_not_stop_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cells = [Number(13), Number(2)]
    with RunFolder.open(tmp_path / "study") as home, Progress("study", 2) as progress:
        found, failed = computed(cells, Squares(), home, 1, progress)
    assert (found[Number(2)]["square"], failed) == (4, {Number(13): "13 is unlucky"})
    assert progress.done == 2
    said = capfd.readouterr().err
    assert "number 13: failed: 13 is unlucky\n" in said
    assert "number 2: its square is 4, 0 s\n" in said


def test_a_finished_cell_is_not_computed_again(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "study") as home:
        computed([Number(2)], Squares(), home, 1, Progress("study", 1, quiet=True))
        file = home.path / "cells" / "numbers" / "2.json"
        file.write_text('{"square": 5}')
        found, _ = computed([Number(2), Number(3)], Squares(), home, 1, progress := Progress("study", 2, quiet=True))
    assert [one["square"] for one in found.values()] == [5, 9]
    assert progress.done == 2


def test_the_line_of_a_cell() -> None:
    assert line(Number(2), Squares(), {"square": 4}, 12.4) == "number 2: its square is 4, 12 s"


def test_ctrl_c_says_what_is_kept(tmp_path: Path) -> None:
    said = "keeps the finished cells; --resume computes the others"
    with pytest.raises(Interrupted, match=said), RunFolder.open(tmp_path / "study") as home:
        computed([Number(-1)], Squares(), home, 1, Progress("study", 1, quiet=True))


def test_a_folder_that_vanishes_ends_the_study_with_the_next_cell(tmp_path: Path) -> None:
    class Moves(Squares):
        def compute(self, cell: Number, out: Path, work: Path) -> dict[str, Any]:
            assert cell.number == 0, "the study goes on"
            found = super().compute(cell, out, work)
            out.rename(tmp_path / "elsewhere")
            out.mkdir()
            work.mkdir(parents=True)  # so that the cell itself ends well
            return found

    cells = [Number(0), Number(1)]
    with pytest.raises(UserError, match="study was removed"), RunFolder.open(tmp_path / "study") as home:
        computed(cells, Moves(), home, 1, Progress("study", 2, quiet=True))


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in the place of processes, which take ten seconds to import everything."""
    with ThreadPoolExecutor(count) as executor:
        yield executor


def test_several_at_a_time_give_what_one_after_the_other_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "workers", threads)
    cells = [Number(n) for n in range(5)]
    apart = {cell: found for cell, found, _ in spread(cells, Squares(), tmp_path / "a", 2)}
    assert apart == {cell: found for cell, found, _ in alone(cells, Squares(), tmp_path / "b")}
    assert [apart[cell]["square"] for cell in cells] == [0, 1, 4, 9, 16]


def test_a_killed_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "workers", threads)
    with pytest.raises(UserError, match=r"a process was killed.* go on with --resume and a smaller --jobs"):
        list(spread([Number(-1)], Squares(BrokenProcessPool), tmp_path, 1))
