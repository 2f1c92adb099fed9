"""Cells: names, and a method that diverges."""

import json
from dataclasses import replace
from pathlib import Path

from burnish.recipes.study.frontier.cells import Cell, Frontier, learned, trained

from ..worlds import narrow
from .worlds import TINY


def test_a_cell_has_a_file_of_its_own_and_a_name_for_readers() -> None:
    cells = [Cell(), Cell(2), Cell(2, "dpo", 0.05), Cell(2, "best_of_n")]
    assert [one.name for one in cells] == ["start", "seed-2/reward", "seed-2/dpo-0.05", "seed-2/best_of_n"]
    assert [one.label for one in cells] == [
        "the start and its pairs",
        "seed 2, reward model",
        "seed 2, DPO, β 0.05",
        "seed 2, Best of n",
    ]


def test_a_cell_is_damaged_without_points_or_with_another_value() -> None:
    job = Frontier(TINY)
    assert not job.is_whole(Cell(0, "dpo", 0.1), {"value": 0.1})
    assert not job.is_whole(Cell(0, "dpo", 0.1), {"points": [], "value": 0.2})
    assert job.is_whole(Cell(0, "dpo", 0.1), {"points": [], "value": 0.1})


def test_the_line_of_a_cell() -> None:
    points = [{"gold": [0.0, 1.0], "kl": [2.0, 4.0]}]
    job, cell = Frontier(TINY), Cell(0, "dpo", 0.1)
    assert job.line(cell, {"points": points, "diverged": None}) == "gold 0.50 at 3.00 nats"
    assert job.line(cell, {"points": points, "diverged": 7}) == "gold 0.50 at 3.00 nats, diverged at step 7"
    assert job.line(cell, {"points": [], "diverged": 1}) == "no measurement"


def begun(folder: Path) -> None:
    """A start with eight pairs."""
    start = folder / "start"
    start.mkdir()
    narrow(start / "model")
    pairs = [{"prompt": f"Film {i}", "chosen": " good.", "rejected": " a bad one."} for i in range(8)]
    for name in ("pairs", "held"):
        (start / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pairs))


def test_a_reward_model_that_diverges_is_recorded_with_its_step_and_not_kept(tmp_path: Path) -> None:
    """The first update at a learning rate of 1e9 leaves weights whose gradient is not finite. The start is measured all
    the same: methods without a reward model need it."""
    begun(tmp_path)
    wild = replace(TINY, reward_rate=1e9, warmup=0.0, reward_steps=4)
    found = trained(wild, 0, tmp_path, tmp_path / "work")
    assert found["diverged"] == 2
    assert not (tmp_path / "rewards").exists()
    assert [(one["step"], one["kl"]) for one in found["points"]] == [(0, [0.0] * wild.held_out)]
    assert Frontier(wild).line(Cell(0), found).endswith("at 0.00 nats, diverged at step 2")


def test_a_method_that_diverges_is_recorded_with_its_step(tmp_path: Path) -> None:
    """The first update at a learning rate of 1e9 leaves weights whose gradient is not finite."""
    begun(tmp_path)
    wild = replace(TINY, learning_rate=1e9, warmup=0.0, grid={"ipo": (0.1,)}, steps=4, eval_every=4)
    found = learned(Cell(0, "ipo", 0.1), wild, tmp_path, tmp_path / "work")
    assert found["diverged"] == 2
    assert found["points"] == []
