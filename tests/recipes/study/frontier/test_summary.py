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
    The second seed has no best of n."""
    found = {Cell(): {"points": [], "pairs": 12, "agreed": 0.75, "seconds": 5.0, "sampled": 100}}
    for seed in range(2):
        found[Cell(seed)] = {"points": [point(0, 0.0, 0.0, kl=[0.0, 0.0])], "seconds": 3.0, "wall": 4.0}
        found[Cell(seed, "dpo", 0.1)] = run(point(16, 1.0, 1.0, chosen=-35.0, rejected=-40.0))
        found[Cell(seed, "ppo", 9.0)] = run(point(16, 1.0, 2.0 + seed))
        found[Cell(seed, "ppo", 3.0)] = run(point(16, 0.5, 1.0))
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


def test_points_have_the_seconds_until_then_with_those_of_the_reward_model() -> None:
    """A reward model takes 3 seconds; what is measured at step 16 has trained for 7."""
    found = cells()
    for method in ("dpo", "ppo"):
        value = 0.1 if method == "dpo" else 9.0
        found[Cell(0, method, value)] = run(point(16, 1.0, 1.0, seconds=7.0))
    points = [one for one in summarise(PLAN, found, {}, None)["points"] if one["seed"] == 0]
    seconds = {name: [one["seconds"] for one in points if one["name"] == name] for name in PLAN.grid}
    assert (seconds["dpo"], seconds["ppo"][2:]) == ([0.0, 7.0], [3.0, 10.0])
    assert seconds["best_of_n"] == [None, None]


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


def test_methods_on_the_same_reward_model_are_paired_with_ppo() -> None:
    """At 1 nat PPO has 2 and 3, by seed, and RLOO 2.5 and 4: differences of 0.5 and 1. DPO, which has no reward model,
    and PPO itself have none."""
    plan, found = replace(PLAN, grid=PLAN.grid | {"rloo": (0.05,)}), cells()
    for seed, gold in enumerate((2.5, 4.0)):
        found[Cell(seed, "rloo", 0.05)] = run(point(16, 1.0, gold))
    got = summarise(plan, found, {}, None)
    rows = {row["name"]: row for row in got["levels"][0]["rows"]}
    assert got["rival"] == "ppo"
    assert [rows["rloo"]["rival"][key] for key in ("mean", "low", "high")] == pytest.approx([0.75, 0.5, 1.0])
    assert rows["rloo"]["difference"]["mean"] == pytest.approx(2.25)
    assert [rows[name]["rival"] for name in ("dpo", "ppo", "best_of_n")] == [None] * 3
    assert all(row["rival"] is None for row in got["levels"][1]["rows"])
    assert summary()["rival"] is None  # PPO alone learns from the reward model


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
    assert ends["DPO, β 0.1"]["rejected_moved"] == {"mean": -9.0, "low": -9.0, "high": -9.0}
    assert (ends["PPO, KL target 3"]["chosen_moved"]["mean"], ends["Best of 4"]["chosen_moved"]) == (0.0, None)
    assert ends["PPO, KL target 9"]["gold"] == 2.5


def test_the_fall_of_log_probabilities_has_an_interval_over_seeds() -> None:
    """−5 and −7: a mean of −6, a standard error of 1, and of one degree of freedom t is 12.706; of one seed none."""
    found = cells()
    found[Cell(1, "dpo", 0.1)] = run(point(16, 1.0, 1.0, chosen=-37.0, rejected=-40.0))
    ends = {row["setting"]: row for row in summarise(PLAN, found, {}, None)["ends"]}
    moved = ends["DPO, β 0.1"]["chosen_moved"]
    assert [moved[key] for key in ("mean", "low", "high")] == pytest.approx([-6.0, -18.706, 6.706], abs=1e-3)
    del found[Cell(1, "dpo", 0.1)]
    alone = {row["setting"]: row for row in summarise(PLAN, found, {}, None)["ends"]}
    assert alone["DPO, β 0.1"]["chosen_moved"] == {"mean": -5.0, "low": None, "high": None}


def test_costs_are_means_of_trainings() -> None:
    costs = summary()["costs"]
    assert costs["ppo"] == {"seconds": 10.0, "wall": 20.0, "sampled": 300.0, "learned": 400.0, "runs": 4}
    assert costs["reward"] == {"seconds": 3.0, "wall": 4.0, "sampled": None, "learned": None, "runs": 2}
    assert costs["start"]["runs"] == 1


def three(*lost: tuple[int, str, float]) -> dict[str, Any]:
    """The summary of three seeds, of which these trainings diverged at step 20 after a point at 0.5 nats and gold 9."""
    some = cells()
    for cell in [cell for cell in some if cell.seed == 0]:
        some[Cell(2, cell.method, cell.value)] = some[cell]
    for seed, method, value in lost:
        some[Cell(seed, method, value)] = run(point(8, 0.5, 9.0), diverged=20)
    return summarise(replace(PLAN, seeds=3), some, {}, None)


def test_seeds_that_diverged_are_left_out_and_named() -> None:
    """PPO at a KL target of 9 has gold scores of 2, 3 and 2 at 1 nat; of seed 1 it diverged before it."""
    found = three((1, "ppo", 9.0))
    row = next(row for row in found["levels"][0]["rows"] if row["name"] == "ppo")
    assert (row["gold"]["mean"], row["settings"], row["paired"]) == (pytest.approx(2.0), ["9"], 2)
    assert (found["seeds"], found["without"]) == (
        {"dpo": 3, "ppo": 2, "best_of_n": 2},
        {"ppo": {"seeds": [1], "settings": []}},
    )
    end = found["lines"]["ppo"][-1]
    assert (end["kl"], end["mean"], end["low"] is None) == (pytest.approx(1.0), pytest.approx(2.0), False)
    assert found["diverged"] == [{"setting": "PPO, KL target 9", "seed": 1, "step": 20}]


def test_the_points_of_a_training_that_diverged_stay_and_are_marked() -> None:
    found = three((1, "ppo", 9.0))
    points = [one for one in found["points"] if (one["name"], one["seed"]) == ("ppo", 1)]
    marked = [(one["value"], one["step"], one["diverged"]) for one in points]
    assert marked == [(3.0, 0, None), (3.0, 16, None), (9.0, 0, 20), (9.0, 8, 20)]
    assert {one["diverged"] for one in found["points"] if one["seed"] == 0} == {None}


def test_ends_are_of_the_seeds_that_have_not_diverged() -> None:
    ends = {row["setting"]: row for row in three((1, "ppo", 9.0))["ends"]}
    assert (ends["PPO, KL target 9"]["gold"], ends["PPO, KL target 9"]["seeds"]) == (2.0, 2)
    assert ends["PPO, KL target 9"]["diverged"] == [{"seed": 1, "step": 20}]
    assert (ends["PPO, KL target 3"]["seeds"], ends["PPO, KL target 3"]["diverged"]) == (3, [])
    none = {row["setting"]: row for row in three(*((seed, "dpo", 0.1) for seed in range(3)))["ends"]}["DPO, β 0.1"]
    assert (none["gold"], none["chosen_moved"], none["seeds"], len(none["diverged"])) == (None, None, 0, 3)


def test_a_setting_that_diverges_with_every_seed_leaves_the_others_of_its_method() -> None:
    found = three(*((seed, "ppo", 9.0) for seed in range(3)))
    assert (found["seeds"]["ppo"], found["without"]["ppo"]) == (3, {"seeds": [], "settings": ["9"]})
    assert found["lines"]["ppo"][-1]["kl"] == pytest.approx(0.5)
    alone = three(*((seed, "dpo", 0.1) for seed in range(3)))
    assert (alone["seeds"]["dpo"], alone["without"]["dpo"]["seeds"]) == (0, [0, 1, 2])
    assert "dpo" not in alone["lines"]
    assert all(row["difference"] is None for row in alone["levels"][0]["rows"])


def test_what_is_missing_is_said() -> None:
    found = summary()
    assert found["missing"] == ["seed 1, Best of n"]
    assert (found["diverged"], found["without"]) == ([], {})
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
    assert "Of fewer than 2 seeds: Best of n, 1 of 2 seeds." in said
    assert max(map(len, said.splitlines())) <= 80
