"""Cells: names, which labels a proxy learns from, what it orders, and a PPO that diverges."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.policies.language.loading import Loading, load_tokenizer
from burnish.recipes.assets import resolve_model
from burnish.recipes.study.overoptimise.cells import Cell, Overoptimise, chosen_rows, learned, ordered, started, trained
from burnish.run import UserError

from ..worlds import narrow
from .worlds import TINY


def test_a_cell_has_a_file_of_its_own_and_a_name_for_readers() -> None:
    every = [Cell(), Cell(2, None, 250), Cell(2, "ppo", 4000), Cell(2, "best_of_n")]
    assert [one.name for one in every] == ["start", "seed-2/reward-250", "seed-2/ppo-4000", "seed-2/best_of_n"]
    assert [one.label for one in every] == [
        "the start and its pairs",
        "seed 2, reward model, 250 labels",
        "seed 2, PPO, 4,000 labels",
        "seed 2, best of n",
    ]


def test_a_cell_is_damaged_without_points_or_as_another_one() -> None:
    job, mine = Overoptimise(TINY), {"seed": 0, "method": "ppo", "labels": 2}
    assert not job.is_whole(Cell(0, "ppo", 2), mine)
    assert not job.is_whole(Cell(0, "ppo", 4), mine | {"points": []})
    assert job.is_whole(Cell(0, "ppo", 2), mine | {"points": []})


def test_the_line_of_a_cell() -> None:
    points = [{"gold": [0.0, 1.0], "kl": [2.0, 4.0]}]
    job, cell = Overoptimise(TINY), Cell(0, "ppo", 2)
    assert job.line(cell, {"points": points, "diverged": None}) == "gold 0.50 at 3.00 nats"
    assert job.line(cell, {"points": points, "diverged": 7}) == "gold 0.50 at 3.00 nats, diverged at step 7"
    assert job.line(cell, {"points": []}) == "no measurement"
    assert job.line(Cell(0, None, 2), {"points": [], "correct": [1, 0.5]}) == "right about 75% of held-out pairs"


def test_more_labels_have_the_fewer_among_them_and_seeds_differ() -> None:
    few, many = chosen_rows(3, 5, 20), chosen_rows(3, 15, 20)
    assert many[:5] == few
    assert len({*many}) == 15
    assert chosen_rows(4, 5, 20) != few


def test_pairs_are_ordered_as_the_judge_orders_them() -> None:
    """The scorer prefers the longer response. The first label agrees with the judge and the scorer with it, the second
    label is wrong and the scorer agrees with it; the third is wrong and the scorer against it."""

    class Longer:
        device = torch.device("cpu")
        tokenizer = load_tokenizer(str(resolve_model("builtin")), Loading())

        def dropout(self, on: bool) -> None: ...

        def scores(self, batch: Any) -> torch.Tensor:
            return batch.mask.sum(-1).float()

    long, short = " a very long and good one.", " bad."
    pairs = [
        {"prompt": "The film is", "chosen": long, "rejected": short, "right": True},
        {"prompt": "The film is", "chosen": long, "rejected": short, "right": False},
        {"prompt": "The film is", "chosen": short, "rejected": long, "right": False},
    ]
    assert ordered(Longer(), pairs, 32).tolist() == [1.0, 0.0, 1.0]


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    plan = replace(TINY, model=narrow(tmp_path / "narrow"), labels=(2, 500))
    with pytest.raises(UserError, match=r"pairs that end and differ, fewer than the 500 that are to be labelled"):
        started(plan, tmp_path, tmp_path / "work")
    assert not (tmp_path / "start").exists()


def begun(folder: Path) -> None:
    """A start with eight pairs and eight prompts."""
    start = folder / "start"
    start.mkdir()
    narrow(start / "model")
    pairs = [{"prompt": f"Film {i}", "chosen": " good.", "rejected": " a bad one.", "right": True} for i in range(8)]
    for name, rows in (("pairs", pairs), ("held", pairs), ("prompts", [{"prompt": one["prompt"]} for one in pairs])):
        (start / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))


def test_a_ppo_that_diverges_is_recorded_with_its_step(tmp_path: Path) -> None:
    """The first update at a learning rate of 1e9 leaves weights from which nothing can be sampled or measured: what
    remains is the start."""
    begun(tmp_path)
    (tmp_path / "work").mkdir()
    trained(0, 2, TINY, tmp_path, tmp_path / "work")
    wild = replace(TINY, learning_rate=1e9, warmup=0.0, steps=4, eval_every=4)
    found = learned(0, 2, wild, tmp_path, tmp_path / "work" / "ppo")
    assert found["diverged"] in (1, 2)
    assert [one["step"] for one in found["points"]] == [0]
    assert found["points"][0]["kl"] == [0.0] * wild.held_out
