"""Numbers of invented cells, worked by hand: points, levels, ends, costs, and what is missing."""

from dataclasses import replace
from typing import Any

import pytest

from burnish.recipes.study.frontier.cells import Cell
from burnish.recipes.study.frontier.plan import REDUCED
from burnish.recipes.study.frontier.summary import every_cell, summarise, table

PLAN = replace(
    REDUCED, grid={"dpo": (0.1,), "ppo": (3.0, 9.0), "best_of_n": (2, 4)}, seeds=2, levels=(1.0, 4.0), held_out=2
)


def point(step: int, kl: float, gold: float, /, **changes: Any) -> dict[str, Any]:
    """Two prefixes whose gold scores differ by 2, and whose KLs by 2."""
    rest: dict[str, Any] = {
        "kl": [kl - 1, kl + 1],
        "length": 9.0,
        "entropy": 3.0,
        "distinct_2": 0.9,
        "ended": 1.0,
        "chosen": -30.0,
        "rejected": -31.0,
    }
    return {"step": step, "gold": [gold - 1, gold + 1]} | rest | changes


def run(*points: dict[str, Any], diverged: int | None = None) -> dict[str, Any]:
    costs = {"seconds": 10.0, "wall": 20.0, "sampled": 300, "learned": 400}
    return {"points": list(points), "diverged": diverged} | costs


def cells() -> dict[Cell, dict[str, Any]]:
    """DPO goes to gold 1 at 1 nat, PPO to 2, its other setting no farther than half a nat; best of n to 0.5 within 1.
    The second seed has no best of n, and one PPO that has diverged."""
    found = {Cell(): {"points": [], "pairs": 12, "agreed": 0.75, "seconds": 5.0, "sampled": 100}}
    for seed in range(2):
        found[Cell(seed)] = {"points": [point(0, 0.0, 0.0, kl=[0.0, 0.0])], "seconds": 3.0, "wall": 4.0}
        found[Cell(seed, "dpo", 0.1)] = run(point(16, 1.0, 1.0, chosen=-35.0, rejected=-40.0))
        found[Cell(seed, "ppo", 9.0)] = run(point(16, 1.0, 2.0 + seed))
        found[Cell(seed, "ppo", 3.0)] = run(point(16, 0.5, 1.0), diverged=20 if seed else None)
    bound = {"entropy": None, "chosen": None, "rejected": None}
    found[Cell(0, "best_of_n")] = run(
        point(4, 1.0, 0.5, kl=[1.0, 1.0], **bound), point(2, 0.25, 0.3, kl=[0.25, 0.25], **bound)
    )
    return found


def summary(**changes: Any) -> dict[str, Any]:
    return summarise(replace(PLAN, **changes), cells(), {}, "burnish study frontier")


def test_every_cell_has_its_place() -> None:
    names = [cell.name for cell in every_cell(PLAN)]
    assert names[:5] == ["start", "seed-0/reward", "seed-1/reward", "seed-0/dpo-0.1", "seed-0/ppo-3"]
    assert names[-1] == "seed-1/best_of_n"
    assert len(set(names)) == len(names) == 3 + 2 * 4


def test_points_have_means_and_standard_errors() -> None:
    """±1 around the mean is a sample variance of 2, so a standard error of 1."""
    found = summary()["points"]
    dpo = [one for one in found if one["name"] == "dpo" and one["seed"] == 1]
    assert [(one["step"], one["kl"], one["kl_se"], one["gold"], one["gold_se"]) for one in dpo] == [
        (0, 0.0, 0.0, 0.0, pytest.approx(1)),
        (16, 1.0, pytest.approx(1), 1.0, pytest.approx(1)),
    ]
    pool = [one for one in found if one["name"] == "best_of_n"]
    assert [(one["step"], one["kl"], one["bound"]) for one in pool] == [(2, 0.25, True), (4, 1.0, True)]


def test_rows_at_a_level_are_paired_with_the_references() -> None:
    near, away = summary()["levels"]
    rows = {row["name"]: row for row in near["rows"]}
    assert rows["dpo"]["gold"]["mean"] == pytest.approx(1.0)
    assert rows["dpo"]["difference"] is None
    assert rows["ppo"]["gold"]["mean"] == pytest.approx(2.5)
    assert rows["ppo"]["settings"] == ["9"]
    assert rows["ppo"]["difference"]["mean"] == pytest.approx(1.5)
    assert (rows["ppo"]["difference"]["low"], rows["ppo"]["difference"]["high"]) == pytest.approx((1.0, 2.0))
    assert all(row["gold"] is None and row["difference"] is None for row in away["rows"])


def test_one_seed_gives_no_interval() -> None:
    pool = next(row for row in summary()["levels"][0]["rows"] if row["name"] == "best_of_n")
    assert pool["gold"] == {"mean": pytest.approx(0.5), "low": None, "high": None}
    assert pool["difference"] == {"mean": pytest.approx(-0.5), "low": None, "high": None}
    alone = summary(seeds=1)
    assert all(row["difference"] is None or row["difference"]["low"] is None for row in alone["levels"][0]["rows"])
    assert all(one["low"] is None for line in alone["lines"].values() for one in line)


def test_the_sizes_of_best_of_n_are_one_line() -> None:
    line = summary()["lines"]["best_of_n"]
    assert (line[0]["mean"], line[-1]["kl"], line[-1]["mean"]) == pytest.approx((0.0, 1.0, 0.5))


def test_ends_say_how_far_log_probabilities_have_moved() -> None:
    ends = {row["setting"]: row for row in summary()["ends"]}
    assert (ends["DPO, β 0.1"]["chosen_moved"], ends["DPO, β 0.1"]["rejected_moved"]) == (-5.0, -9.0)
    assert (ends["PPO, KL target 3"]["chosen_moved"], ends["Best of 4"]["chosen_moved"]) == (0.0, None)
    assert ends["PPO, KL target 9"]["gold"] == 2.5


def test_costs_are_means_of_trainings() -> None:
    costs = summary()["costs"]
    assert costs["ppo"] == {"seconds": 10.0, "wall": 20.0, "sampled": 300.0, "learned": 400.0, "runs": 4}
    assert costs["reward"] == {"seconds": 3.0, "wall": 4.0, "sampled": None, "learned": None, "runs": 2}
    assert costs["start"]["runs"] == 1


def test_what_is_missing_and_what_diverged_is_said() -> None:
    found = summary()
    assert found["missing"] == ["seed 1, Best of n"]
    assert found["diverged"] == [{"setting": "PPO, KL target 3", "seed": 1, "step": 20}]
    assert found["seeds"] == {"dpo": 2, "ppo": 2, "best_of_n": 1}
    assert (found["start"]["pairs"], found["start"]["agreed"]) == (12, 0.75)
    failed = summarise(PLAN, cells(), {"seed 1, Best of n": "no"}, None)
    assert failed["missing"] == []
    begun = summarise(PLAN, {}, {}, None)
    assert (begun["points"], begun["lines"], begun["start"], len(begun["missing"])) == ([], {}, None, 11)


def test_without_its_reward_model_a_seed_has_the_methods_that_need_none() -> None:
    """Seed 1's reward model diverged: its PPO and its best of n are not missing, they are never computed."""
    some = {cell: one for cell, one in cells().items() if cell.seed != 1 or cell.method in (None, "dpo")}
    some[Cell(1)] = some[Cell(1)] | {"diverged": 5}
    found = summarise(PLAN, some, {}, None)
    assert found["diverged"] == [{"setting": "reward model", "seed": 1, "step": 5}]
    assert found["stopped"] == ["seed 1, PPO, KL target 3", "seed 1, PPO, KL target 9", "seed 1, Best of n"]
    assert found["missing"] == []
    assert found["seeds"] == {"dpo": 2, "ppo": 1, "best_of_n": 1}
    assert found["levels"][0]["rows"][0]["gold"]["low"] is not None


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table(summary())
    said = capsys.readouterr().out
    assert "gold at 1 nats" in said
    assert ["PPO", "+2.50"] in [line.split()[:2] for line in said.splitlines()]
    assert "not reached" in said
    assert max(map(len, said.splitlines())) <= 80
