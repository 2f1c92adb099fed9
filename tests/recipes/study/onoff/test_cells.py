"""Which cells there are, what they are called, and when a file is whole."""

from burnish.recipes.study.onoff.cells import Cell, OnOff, every_cell, late_settings
from burnish.recipes.study.onoff.plan import FULL, QUICK

from .worlds import TINY


def test_every_setting_of_every_run_has_a_cell() -> None:
    """4 algorithms, the weights of both tasks, and 1 + 4·4 and 1 + 2·4 settings of late data."""
    cells = [*every_cell(FULL)]
    assert len({cell.name for cell in cells}) == len({cell.label for cell in cells}) == len(cells)
    assert len(cells) == 10 * (4 + 1 + 17) + 5 * (1 + 9)
    assert [cell.run for cell in cells] == sorted(cell.run for cell in cells)
    assert {*every_cell(QUICK)} == {cell for cell in every_cell(QUICK) if cell.run < 2}
    assert late_settings(TINY, "language") == [
        (0, "none"),
        (1, "none"),
        (1, "action"),
        (1, "product"),
        (1, "truncated"),
    ]


def test_names() -> None:
    assert Cell("efficiency", "CartPole-v1", 3, "dqn").name == "efficiency-CartPole-v1-dqn/run-3"
    assert Cell("efficiency", "CartPole-v1", 3, "dqn").label == "DQN on CartPole, run 3"
    assert Cell("weights", "language", 0).name == "weights-language/run-0"
    assert Cell("weights", "language", 0).label == "weights in Language, run 0"
    assert Cell("late", "CartPole-v1", 1, "product", 8).name == "late-CartPole-v1-8-product/run-1"
    assert Cell("late", "CartPole-v1", 1, "product", 8).label == "CartPole, 8 turns late, their products, run 1"
    assert Cell("late", "language", 1).label == "Language, 0 turns late, run 1"


def test_whole_files_and_lines() -> None:
    job, cell = OnOff(TINY), Cell("late", "language", 0, "action", 1)
    whole = {"what": "action", "lag": 1, "value": 2.5, "failed": None}
    assert job.is_whole(cell, whole)
    assert not job.is_whole(cell, whole | {"lag": 2})
    assert not job.is_whole(cell, {"what": "action", "lag": 1})
    assert not job.is_whole(Cell("efficiency", "CartPole-v1", 0, "action", 1), whole)
    assert job.line(cell, whole) == "2.5 at the end"
    assert job.line(cell, whole | {"failed": "it broke"}) == "its training failed: it broke"
    assert job.line(Cell("weights", "language", 0), {"rows": [{}, {}]}) == "2 measurements of weights"
