"""Stages of a study of squares: what is found, what failed, and what is published when Ctrl-C ends it."""

from pathlib import Path
from typing import Any

import pytest

from burnish.recipes.study.folder import opened
from burnish.recipes.study.results import Results, staged
from burnish.run import UserError
from burnish.training.loop import Interrupted

from .jobs import Number, Squares

Published = list[dict[str, int] | None]


def study(out: Path, numbers: list[list[int]], published: Published, resume: bool = False) -> Any:
    """A stage per list; what is published are the squares so far, None before there is one."""

    def stages(results: Results[Number]) -> None:
        for some in numbers:
            results.stage([Number(one) for one in some])
            results.write()

    def publish(results: Results[Number]) -> dict[str, int] | None:
        found = {cell.label: one["square"] for cell, one in results.found.items()} or None
        published.append(found)
        return found

    folder = opened(out, {"numbers": "some"}, (), resume, True)
    return staged(folder, Squares(), sum(map(len, numbers)), 1, True, stages, publish)


def test_stages_are_computed_and_published_and_failures_told(tmp_path: Path) -> None:
    published: Published = []
    summary, failures = study(tmp_path / "out", [[2], [13, 3]], published)
    assert summary == {"number 2": 4, "number 3": 9}
    assert failures == {"number 13": "13 is unlucky"}
    assert published == [{"number 2": 4}, summary, summary]
    assert not (tmp_path / "out" / "work").exists()


def test_ctrl_c_publishes_what_is_finished_of_the_stage(tmp_path: Path) -> None:
    published: Published = []
    with pytest.raises(Interrupted, match="keeps the finished cells"):
        study(tmp_path / "out", [[2], [3, -1, 4]], published)
    assert published == [{"number 2": 4}, {"number 2": 4, "number 3": 9}]
    summary, _ = study(tmp_path / "out", [[2], [3, 4]], published, resume=True)
    assert summary == {"number 2": 4, "number 3": 9, "number 4": 16}


def test_nothing_to_show_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was computed: number 13: 13 is unlucky"):
        study(tmp_path / "out", [[13]], [])
