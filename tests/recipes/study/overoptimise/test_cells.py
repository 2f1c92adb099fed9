"""Cells: names, which labels a proxy learns from, what it orders, and a PPO that diverges."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.recipes.study.overoptimise import cells
from burnish.recipes.study.overoptimise.cells import (
    Cell,
    Overoptimise,
    judged,
    learned,
    pooled,
    started,
    trained,
)
from burnish.run import UserError, read_jsonl

from .worlds import TINY, Longer, begun


def test_a_cell_has_a_file_of_its_own_and_a_name_for_readers() -> None:
    every = [Cell(), Cell(2, None, 250), Cell(2, "ppo", 4000), Cell(2, "best_of_n"), Cell(2, "monitor", 4000, 3)]
    every += [Cell(2, "ppo_gold"), Cell(2, "dpo", 250), Cell(2, "monitor", 250, 3, "dpo")]
    names = ["start", "seed-2/reward-250", "seed-2/ppo-4000", "seed-2/best_of_n", "seed-2/monitor-4000-of-3"]
    names += ["seed-2/ppo_gold", "seed-2/dpo-250", "seed-2/monitor-dpo-250-of-3"]
    assert [one.name for one in every] == names
    assert [one.label for one in every] == [
        "the start and its pairs",
        "seed 2, reward model, 250 labels",
        "seed 2, PPO, 4,000 labels",
        "seed 2, best of n",
        "seed 2, PPO's texts by 3 reward models of 4,000 labels",
        "seed 2, PPO on the gold score",
        "seed 2, DPO, 250 labels",
        "seed 2, the texts of DPO by 3 reward models of 250 labels",
    ]
    assert [every[i].run for i in (4, 7)] == [Cell(2, "ppo", 4000), Cell(2, "dpo", 250)]
    assert Cell(2, "monitor", 4000, 3, "ppo_gold").run == Cell(2, "ppo_gold")


def test_a_cell_is_damaged_without_points_or_as_another_one() -> None:
    job, mine = Overoptimise(TINY), {"seed": 0, "method": "ppo", "labels": 2}
    assert not job.is_whole(Cell(0, "ppo", 2), mine)
    assert not job.is_whole(Cell(0, "ppo", 4), mine | {"points": []})
    assert job.is_whole(Cell(0, "ppo", 2), mine | {"points": []})
    assert not job.is_whole(Cell(0, "ppo", 2, 3), mine | {"points": []})


def test_the_line_of_a_cell() -> None:
    points = [{"gold": [0.0, 1.0], "kl": [2.0, 4.0]}]
    job, cell = Overoptimise(TINY), Cell(0, "ppo", 2)
    assert job.line(cell, {"points": points, "diverged": None}) == "gold 0.50 at 3.00 nats"
    assert job.line(cell, {"points": points, "diverged": 7}) == "gold 0.50 at 3.00 nats, diverged at step 7"
    assert job.line(cell, {"points": []}) == "no measurement"
    assert job.line(Cell(0, "monitor", 2, 3), {"points": [], "scores": [[[1.0]] * 2] * 3}) == (
        "3 reward models at 2 measurements"
    )
    assert job.line(Cell(0, None, 2), {"points": [], "correct": [1, 0.5]}) == "right about 75% of held-out pairs"


def test_reward_models_of_all_seeds_score_the_ids_that_ppo_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is taken to count the ids of a response."""
    tokens = [[5] * (1 + i % 3) for i in range(TINY.held_out)]
    (tmp_path / "cells" / "seed-1").mkdir(parents=True)
    points = [{"tokens": tokens}, {"tokens": tokens[::-1]}]
    (tmp_path / "cells" / "seed-1" / "ppo-2.json").write_text(json.dumps({"points": points}))
    asked: list[str] = []
    monkeypatch.setattr(cells, "load_scorer", lambda folder, _: asked.append(folder.name) or Longer())
    lengths = [float(len(one)) for one in tokens]
    for lost, names in ((None, ["seed-0-2", "seed-1-2", "seed-2-2"]), (2, ["seed-0-2", "seed-1-2"])):
        asked.clear()
        for seed in range(3):
            rewarded(tmp_path, seed, 2, 7 if seed == lost else None)
        assert judged(Cell(1, "monitor", 2, 3), TINY, tmp_path)["scores"] == [[lengths, lengths[::-1]]] * len(names)
        assert asked == names


def rewarded(folder: Path, seed: int, labels: int, diverged: int | None) -> None:
    """The cell of a reward model."""
    file = folder / "cells" / f"seed-{seed}" / f"reward-{labels}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"points": [], "diverged": diverged}))


def test_a_reward_model_that_diverges_is_recorded_with_its_step_and_not_kept(tmp_path: Path) -> None:
    """And nobody is asked to order pairs with it. The best of n is then the other reward models'."""
    begun(tmp_path)
    (tmp_path / "work").mkdir()
    wild = replace(TINY, reward_rate=1e9, warmup=0.0, epochs=4)
    found = trained(0, 2, wild, tmp_path, tmp_path / "work")
    assert (found["points"], found["diverged"], "correct" in found) == ([], 2, False)
    assert not (tmp_path / "rewards").exists()
    assert Overoptimise(wild).line(Cell(0, None, 2), found) == "no measurement, diverged at step 2"


def test_the_best_of_n_is_by_the_reward_models_that_have_not_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path)
    monkeypatch.setattr(cells, "load_scorer", lambda *_: Longer())
    rewarded(tmp_path, 0, 2, 7)
    rewarded(tmp_path, 0, 4, None)
    assert [(one["labels"], one["step"]) for one in pooled(0, TINY, tmp_path)["points"]] == [(4, 1), (4, 2), (4, 3)]


def test_a_reward_model_is_measured_on_held_out_pairs_and_on_its_own_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trained model is taken to prefer the longer response, which is the second of all pairs and by far the better
    one. Held out: a label that the judge agrees with and the model too; one that is wrong and the model agrees with
    it; and one that is wrong and the model against it."""
    begun(tmp_path)
    (tmp_path / "work").mkdir()
    long, short = " a very long and good one.", " bad."
    sides = [("A", long, short, True), ("B", long, short, False), ("A", short, long, False)]
    held = [dict(zip(("prompt", "chosen", "rejected", "right"), one, strict=True)) for one in sides]
    (tmp_path / "start" / "held.jsonl").write_text("".join(json.dumps(one) + "\n" for one in held))
    pair = {"first": short, "second": long, "gap": -9.0}
    lines = [json.dumps({"prompt": f"Film {i}"} | pair | ({"gap": 9.0} if i == 3 else {})) + "\n" for i in range(4)]
    (tmp_path / "start" / "pairs.jsonl").write_text("".join(lines))
    read: list[list[dict[str, Any]]] = []
    spent = {"diverged": None, "seconds": 1.0}
    monkeypatch.setattr(cells, "rewarded", lambda plan, data, *_: read.append(read_jsonl(data)) or spent)
    monkeypatch.setattr(cells, "load_scorer", lambda *_: Longer())
    found = trained(0, 4, TINY, tmp_path, tmp_path / "work")
    assert found == {
        "points": [],
        "correct": [1.0, 0.0, 1.0],
        "prefix": [0, 1, 0],
        "fitted": 0.75,
        "agreed": 1.0,
        "diverged": None,
        "seconds": 1.0,
    }
    assert {key for one in read[0] for key in one} == {"prompt", "chosen", "rejected"}  # and no score
    assert sorted(one["chosen"] for one in read[0]) == [long] * 3 + [short]


def test_too_few_pairs_are_refused(tmp_path: Path, narrow_model: str) -> None:
    plan = replace(TINY, model=narrow_model, labels=(2, 500))
    with pytest.raises(UserError, match=r"pairs that end and differ, fewer than the 500 that are to be labelled"):
        started(plan, tmp_path, tmp_path / "work")
    assert not (tmp_path / "start").exists()


def test_a_ppo_that_diverges_is_recorded_with_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first update at a learning rate of 1e9 leaves weights from which nothing can be sampled or measured: what
    remains is the start. Of a proxy whose scores are not finite nothing remains."""
    begun(tmp_path)
    (tmp_path / "work").mkdir()
    trained(0, 2, TINY, tmp_path, tmp_path / "work")
    wild = replace(TINY, learning_rate=1e9, warmup=0.0, steps=4, eval_every=4)
    found = learned(0, 2, wild, tmp_path, tmp_path / "work" / "ppo")
    assert found["diverged"] in (1, 2)
    assert [one["step"] for one in found["points"]] == [0]
    assert found["points"][0]["kl"] == [0.0] * wild.held_out
    assert len(found["points"][0]["texts"]) == wild.held_out > wild.shown
    monkeypatch.setattr(cells, "load_scorer", lambda *_: Infinite())
    assert learned(0, 2, TINY, tmp_path, tmp_path / "work" / "more") == {"points": [], "diverged": 0}


class Infinite(Longer):
    def scores(self, batch: Any) -> torch.Tensor:
        return torch.full((len(batch),), torch.inf)
