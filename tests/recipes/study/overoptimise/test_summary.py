"""Numbers of invented cells with planted fits: gains, coefficients, peaks, falls, differences, and what is missing."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from burnish.recipes.study.overoptimise.cells import Cell
from burnish.recipes.study.overoptimise.plan import FULL
from burnish.recipes.study.overoptimise.summary import every_cell, stopped, summarise, table

PLAN = replace(FULL, labels=(10, 40), sizes=(1, 2, 4), seeds=2, held_out=2, scale=0.5)
FAR = (0.0, 1.0, 2.0, 3.0)
"""Distances of PPO's points."""


def point(step: int, d: float, gain: float, claim: float) -> dict[str, Any]:
    """Two prefixes, on which the start has gold scores of 1 and −1, and proxy scores of 5 and 6."""
    rest: dict[str, Any] = {"length": 9.0, "entropy": 3.0, "distinct_2": 0.9, "ended": 1.0, "repetition": step / 100}
    gold, proxy = [1 + gain, gain - 1], [5 + 2 * claim, 6 + 2 * claim]
    return {"step": step, "gold": gold, "proxy": proxy, "kl": [d * d - 0.5 * d, d * d + 0.5 * d]} | rest


def run(points: list[dict[str, Any]], diverged: int | None = None) -> dict[str, Any]:
    costs = {"seconds": 10.0, "wall": 20.0, "sampled": 300, "learned": 400}
    return {"points": points, "diverged": diverged} | costs


def rl(alpha: float, beta: float) -> Callable[[float], float]:
    return lambda d: d * (alpha - beta * math.log(d)) if d else 0.0


def cells(seeds: int = 2) -> dict[Cell, dict[str, Any]]:
    """PPO of 10 labels is d (2 − 1.5 log d), with its peak at e^(1/3) = 1.396, and of 40 labels d (2 − 0.1 log d), far
    from its own. The best of n is d (1 − 0.2 d) of both."""
    found = {Cell(): {"points": [], "pairs": 12, "agreed": 0.75, "seconds": 5.0, "sampled": 100}}
    for seed in range(seeds):
        best = []
        for labels, beta in ((10, 1.5), (40, 0.1)):
            correct = {"correct": [1.0, 0.0, 1.0, labels / 40], "prefix": [0, 1, 1, 1], "fitted": 0.9 + seed / 100}
            found[Cell(seed, None, labels)] = {"points": [], "seconds": 3.0, "diverged": None} | correct
            gains = [rl(2.0, beta)(d) for d in FAR]
            points = [point(12 * i, d, gains[i], 3 * d) for i, d in enumerate(FAR)]
            points[-1]["texts"] = [f"text of {labels}", "a second", "a third", "a fourth"]
            found[Cell(seed, "ppo", labels)] = run(points)
            for n in PLAN.sizes:
                d = math.sqrt(math.log(n) - (n - 1) / n)
                best.append(point(n, d, d * (1 - 0.2 * d), d) | {"labels": labels, "kl": [d * d] * 2})
        found[Cell(seed, "best_of_n")] = run(best)
    votes = [[[0.0, 1.0]] * len(FAR), [[1.0, 0.0]] * len(FAR)]
    judged = [Cell(seed, "monitor", labels, seeds) for seed in range(seeds) for labels in (10, 40)] if seeds > 1 else []
    return found | {cell: {"points": [], "seconds": 1.0, "scores": votes} for cell in judged}


def row(summary: dict[str, Any], method: str, labels: int) -> dict[str, Any]:
    return next(one for one in summary["rows"] if (one["method"], one["labels"]) == (method, labels))


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return summarise(PLAN, cells(), {}, "burnish study overoptimise")


def test_every_cell_has_its_place_in_the_order_of_need() -> None:
    names = [cell.name for cell in every_cell(PLAN)]
    mine = ["seed-0/reward-10", "seed-0/reward-40", "seed-0/ppo-10", "seed-0/ppo-40", "seed-0/best_of_n"]
    others = ["ppo_gold", "online_dpo-10", "online_dpo-40", "dpo-10", "dpo-40"]
    mine[4:4] = [f"seed-0/{one}" for one in others]
    assert names[:11] == ["start", *mine]
    kinds = ["10", "40", "ppo_gold-40", *others[1:]]
    assert names[21:] == [f"seed-{seed}/monitor-{kind}-of-2" for seed in (0, 1) for kind in kinds]
    assert len({*names}) == len(names) == 35
    assert len(every_cell(replace(PLAN, seeds=1))) == 11


def test_planted_coefficients_and_peaks_come_back(summary: dict[str, Any]) -> None:
    few, many, best = row(summary, "ppo", 10), row(summary, "ppo", 40), row(summary, "best_of_n", 10)
    assert (few["fit"]["alpha"]["mean"], few["fit"]["beta"]["mean"]) == pytest.approx((2.0, 1.5))
    assert few["fit"]["peak"]["mean"] == pytest.approx(math.exp(1 / 3))
    assert (best["fit"]["alpha"]["mean"], best["fit"]["beta"]["mean"]) == pytest.approx((1.0, 0.2))
    assert best["fit"]["peak"]["mean"] == pytest.approx(2.5)
    assert (few["far"], best["far"]) == pytest.approx((3.0, math.sqrt(math.log(4) - 3 / 4)))
    assert (few["fit"]["within"], many["fit"]["within"], best["fit"]["within"]) == ("yes", "no", "no")
    assert few["fit"]["rms"] == pytest.approx(0.0, abs=1e-9)


def test_intervals_hold_what_was_planted(summary: dict[str, Any]) -> None:
    """The KL of the best of n is the same for all prefixes, and so all resamples have the planted coefficients; PPO's
    differs between the two prefixes."""
    best, few = row(summary, "best_of_n", 40)["fit"], row(summary, "ppo", 10)["fit"]
    assert (best["beta"]["low"], best["beta"]["high"]) == pytest.approx((0.2, 0.2))
    assert few["beta"]["low"] < 1.5 < few["beta"]["high"]
    for one in few["curve"][1:]:
        assert one["low"] <= one["gold"] + 1e-9
        assert one["gold"] <= one["high"] + 1e-9
    assert (few["curve"][0]["d"], few["curve"][0]["gold"]) == (0.0, 0.0)
    assert few["curve"][-1]["d"] == pytest.approx(3.0)


def test_gains_are_less_the_starts_and_claims_times_the_scale(summary: dict[str, Any]) -> None:
    """At d = 3 the proxy's score has risen by 18, which is 9 points at a scale of 0.5. ±1.5 around a KL of 9 is a
    standard error of 1.5."""
    (last,) = [one for one in summary["points"] if (one["labels"], one["seed"], one["step"]) == (10, 1, 36)]
    assert (last["d"], last["kl"], last["kl_se"]) == pytest.approx((3.0, 9.0, 1.5))
    assert (last["gold"], last["proxy"]) == pytest.approx((rl(2.0, 1.5)(3.0), 9.0))
    assert (last["gold_se"], last["proxy_se"]) == pytest.approx((0.0, 0.0))
    few = row(summary, "ppo", 10)
    assert (few["end"]["mean"], few["claimed"]["mean"]) == pytest.approx((rl(2.0, 1.5)(3.0), 9.0))
    assert few["gap"]["mean"] == pytest.approx(9.0 - rl(2.0, 1.5)(3.0))


def test_the_fall_is_from_the_highest_measurement(summary: dict[str, Any]) -> None:
    """Gains of 0, 2, 1.92 and 1.06: highest at the second point."""
    few, many = row(summary, "ppo", 10), row(summary, "ppo", 40)
    assert few["best"] == [12]
    assert few["fall"]["mean"] == pytest.approx(2.0 - rl(2.0, 1.5)(3.0))
    assert (many["best"], many["last"], many["fall"]["mean"]) == ([36], 36, 0.0)


def test_more_labels_are_compared_with_fewer_by_seed_and_resample(summary: dict[str, Any]) -> None:
    best, ppo = summary["differences"]
    assert (ppo["method"], ppo["few"], ppo["many"]) == ("ppo", 10, 40)
    assert ppo["end"]["mean"] == pytest.approx(rl(2.0, 0.1)(3.0) - rl(2.0, 1.5)(3.0))
    assert ppo["beta"]["mean"] == pytest.approx(0.1 - 1.5)
    assert ppo["beta"]["high"] < 0
    assert ppo["alpha"]["mean"] == pytest.approx(0.0)
    assert (ppo["last"], ppo["seeds"], best["last"]) == (36, 2, 4)
    assert best["beta"]["mean"] == pytest.approx(0.0)


def test_reward_models_texts_and_costs(summary: dict[str, Any]) -> None:
    """One pair of the first prefix and three of the second, each prefix the same weight."""
    few, many = summary["rewards"]
    assert (few["correct"]["mean"], many["correct"]["mean"]) == pytest.approx(((1 + 1.25 / 3) / 2, (1 + 2 / 3) / 2))
    assert (few["fitted"], few["seeds"]) == (pytest.approx(0.905), 2)
    assert PLAN.shown == 3
    assert [(one["labels"], one["seed"], one["texts"]) for one in summary["texts"]] == [
        (10, 0, ["text of 10", "a second", "a third"]),
        (40, 0, ["text of 40", "a second", "a third"]),
    ]
    assert summary["costs"]["ppo"] == {"seconds": 10.0, "wall": 20.0, "sampled": 300.0, "learned": 400.0, "runs": 4}
    assert summary["costs"]["reward"]["wall"] is None


def test_the_state_of_texts_is_of_the_start_and_the_end(summary: dict[str, Any]) -> None:
    before, after = row(summary, "ppo", 10)["state"]
    assert (before["repetition"], after["repetition"]) == pytest.approx((0.0, 0.36))
    assert (before["length"], after["entropy"]) == (9.0, 3.0)
    assert row(summary, "best_of_n", 10)["state"] is None


def test_one_seed_gives_no_interval() -> None:
    found = summarise(replace(PLAN, seeds=1), cells(1), {}, None)
    few = row(found, "ppo", 10)
    assert few["fit"]["alpha"] == {"mean": pytest.approx(2.0), "low": None, "high": None}
    assert (few["fit"]["within"], few["fit"]["curve"][3]["low"], few["fall"]["low"]) == (None, None, None)
    assert found["differences"] == []


def test_what_is_missing_and_what_diverged_is_said() -> None:
    """A PPO that diverged before its second measurement has no path; one that diverged later has a shorter one."""
    some = cells()
    some[Cell(0, "ppo", 10)] = run(some[Cell(0, "ppo", 10)]["points"][:1], diverged=3)
    some[Cell(1, "ppo", 40)] = run(some[Cell(1, "ppo", 40)]["points"][:3], diverged=30)
    del some[Cell(1, "best_of_n")]
    found = summarise(PLAN, some, {"seed 1, best of n": "no"}, None)
    assert not [one for one in found["missing"] if "PPO, " in one or "best of n" in one]
    assert found["diverged"] == [
        {"label": "seed 0, PPO, 10 labels", "step": 3},
        {"label": "seed 1, PPO, 40 labels", "step": 30},
    ]
    assert (row(found, "ppo", 10)["seeds"], row(found, "best_of_n", 10)["seeds"]) == (1, 1)
    many = row(found, "ppo", 40)
    assert (many["seeds"], many["far"]) == (2, pytest.approx(2.0))
    assert many["end"]["mean"] == pytest.approx(rl(2.0, 0.1)(2.0))
    assert (many["last"], many["state"][1]["repetition"]) == (24, pytest.approx(0.24))
    assert (many["compared"], many["without"], many["cut"]) == (2, [], [1])
    assert many["reached"] == pytest.approx([2.0, 2.0])
    assert found["gaps"] == {
        "best_of_n": {"missing": [], "failed": ["seed 1, best of n"], "stopped": [], "diverged": []},
        "ppo": {"missing": [], "failed": [], "stopped": []}
        | {"diverged": ["seed 0, PPO, 10 labels, at step 3", "seed 1, PPO, 40 labels, at step 30"]},
    }
    marked = {(one["labels"], one["seed"]) for one in found["points"] if one["diverged"] == 30}
    assert marked == {(40, 1)}
    begun = summarise(PLAN, {}, {}, None)
    assert (begun["points"], begun["rows"], begun["start"], len(begun["missing"])) == ([], [], None, 35)
    assert len(begun["gaps"]["ppo"]["missing"]) == 1 + 4 + 4


def test_without_a_reward_model_what_needs_it_is_never_computed() -> None:
    """Of two seeds one reward model of 10 labels diverged: its PPO is not there, and no second one for the monitor; the
    best of n is by the other."""
    some = cells()
    some[Cell(0, None, 10)] = {"points": [], "diverged": 5}
    for cell in (Cell(0, "ppo", 10), Cell(0, "monitor", 10, 2), Cell(1, "monitor", 10, 2)):
        del some[cell]
    found = summarise(PLAN, some, {}, None)
    assert not [one for one in found["missing"] if "DPO" not in one and "gold score" not in one]
    judged = [f"seed {seed}, PPO's texts by 2 reward models of 10 labels" for seed in (0, 1)]
    assert [one for one in found["stopped"] if "DPO" not in one] == ["seed 0, PPO, 10 labels", *judged]
    assert "seed 0, DPO, 10 labels" in found["stopped"]
    assert found["diverged"] == [{"label": "seed 0, reward model, 10 labels", "step": 5}]
    assert [(one["labels"], one["seeds"]) for one in found["rewards"]] == [(10, 1), (40, 2)]
    lost = {Cell(0, None, labels): {"points": [], "diverged": 5} for labels in (10, 40)}
    assert Cell(0, "best_of_n") in stopped(PLAN, lost)
    assert Cell(1, "best_of_n") not in stopped(PLAN, lost)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_that_diverges_does_not_shorten_two_that_are_whole(seed: int) -> None:
    """It diverged after its third point, at d = 2, for both numbers of labels; the others go on to 3."""
    some = cells(3)
    for labels in (10, 40):
        some[Cell(seed, "ppo", labels)] = run(some[Cell(seed, "ppo", labels)]["points"][:3], diverged=30)
    found = summarise(replace(PLAN, seeds=3), some, {}, None)
    many = row(found, "ppo", 40)
    assert (many["seeds"], many["compared"], many["without"], many["cut"]) == (3, 2, [seed], [])
    assert (many["last"], many["far"], many["reached"]) == (36, pytest.approx(2.0), pytest.approx([3.0, 3.0]))
    assert many["end"]["mean"] == pytest.approx(rl(2.0, 0.1)(3.0))
    assert many["state"][1]["repetition"] == pytest.approx(0.36)
    (ppo,) = [one for one in found["differences"] if one["method"] == "ppo"]
    assert (ppo["last"], ppo["seeds"]) == (36, 2)


def test_few_and_many_labels_are_compared_after_the_same_update() -> None:
    """The seeds of 40 labels end at d = 2 and at d = 3, those of 10 labels at 3: both are compared at 2."""
    some = cells()
    some[Cell(1, "ppo", 40)] = run(some[Cell(1, "ppo", 40)]["points"][:3], diverged=30)
    (ppo,) = [one for one in summarise(PLAN, some, {}, None)["differences"] if one["method"] == "ppo"]
    assert ppo["end"]["mean"] == pytest.approx(rl(2.0, 0.1)(2.0) - rl(2.0, 1.5)(2.0))
    assert (ppo["last"], ppo["seeds"]) == (24, 2)


def test_the_distances_at_the_end_are_the_range_over_seeds() -> None:
    """Seed 0 ends at d = 3, seed 1 comes back from 3 to 2.5: all reach 3, and end between 2.5 and 3."""
    some = cells()
    some[Cell(1, "ppo", 10)]["points"].append(point(48, 2.5, 0.0, 1.0))
    some[Cell(0, "ppo", 10)]["points"].append(point(48, 3.0, 0.0, 1.0))
    for seed in (0, 1):
        judged = some[Cell(seed, "monitor", 10, 2)]
        judged["scores"] = [[*votes, [0.0, 1.0]] for votes in judged["scores"]]
    few = row(summarise(PLAN, some, {}, None), "ppo", 10)
    assert (few["far"], few["reached"]) == (pytest.approx(3.0), pytest.approx([2.5, 3.0]))


def test_the_table_is_printed(summary: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    table(summary)
    said = capsys.readouterr().out
    assert ["PPO", "10", "2.00", "1.50", "1.40", "3.00"] in [line.split()[:6] for line in said.splitlines()]
    assert max(map(len, said.splitlines())) <= 80
