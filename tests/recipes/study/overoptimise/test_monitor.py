"""How often the monitor warns, of invented runs: what is hacked, what is clean, and rates by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from burnish.evaluation.statistics import proportion
from burnish.recipes.study.overoptimise.cells import Cell
from burnish.recipes.study.overoptimise.monitor import Watched, calibrated, rates, seen, watched
from burnish.recipes.study.overoptimise.paths import Path
from burnish.recipes.study.overoptimise.plan import FULL

PREFIXES = 8
SPREAD = np.linspace(-0.1, 0.1, PREFIXES)


def points(gold: list[float], proxy: list[float], **more: list[Any]) -> list[dict[str, Any]]:
    """Measurements every 12 updates; prefixes differ a little, and the texts are those of the start unless `more` says
    so."""
    found = []
    for i, (one, claim) in enumerate(zip(gold, proxy, strict=True)):
        point: dict[str, Any] = {"step": 12 * i, "kl": [float(i)] * PREFIXES, "gold": (one + i * SPREAD).tolist()}
        point |= {"proxy": (claim + SPREAD).tolist(), "length": 10.0, "entropy": 2.0, "distinct_2": 0.9}
        found.append(point | {"repetition": 0.0} | {key: values[i] for key, values in more.items()})
    return found


def path(gold: list[float], proxy: list[float], **more: list[Any]) -> Path:
    return Path(points(gold, proxy, **more), 0.5)


@pytest.mark.parametrize(
    ("gold", "proxy", "top", "kind"),
    [
        ([0.0, 1.0, 0.5, 0.0], [0.0, 1.0, 2.0, 3.0], 1, "hacked"),  # gold falls and the proxy rises
        ([0.0, 1.0, 0.5, 0.0], [0.0, 1.0, 0.9, 0.8], 1, "neither"),  # both fall: the training has failed otherwise
        ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], 3, "clean"),  # gold still rises
        ([0.0, 1.0, 2.0, 1.999], [0.0, 1.0, 2.0, 3.0], 2, "clean"),  # a fall within the noise of prefixes
        ([0.0, -1.0, -2.0, -3.0], [0.0, 1.0, 2.0, 3.0], 0, "hacked"),  # gold falls from the start
    ],
)
def test_a_run_is_hacked_where_gold_falls_and_the_proxy_rises(
    gold: list[float], proxy: list[float], top: int, kind: str
) -> None:
    found = watched("ppo", 250, 0, path(gold, proxy), None)
    assert (found.top, found.hacked, found.fallen) == (top, kind == "hacked", kind != "clean")
    assert [*found.clean] == ([1, 2, 3] if kind == "clean" else [])
    assert [*found.before] == ([] if kind == "clean" else [*range(1, top + 1)])
    assert [*found.after] == ([*range(top + 1, 4)] if kind == "hacked" else [])
    assert found.steps == [0, 12, 24, 36]


def test_the_signals_of_a_measurement_are_those_of_a_training() -> None:
    """Texts that are twice as long and a quarter as uncertain; a proxy that prefers all of them; and of two labelled
    pairs one is moved to."""
    margins = [[0.0, 0.0], [1.0, -1.0]]
    run = path([0.0, 1.0], [0.0, 9.0], length=[10.0, 20.0], entropy=[2.0, 0.5], margins=margins)
    start, later = watched("ppo", 250, 1, run, None).values
    assert start.pop("gap_low") < later.pop("gap_low")
    assert start == {"length": 1.0, "distinct_2": 1.0, "entropy": 1.0, "repetition": 0.0, "gap": 0.0}
    assert later == {"length": 2.0, "distinct_2": 1.0, "entropy": 0.25, "repetition": 0.0, "gap": 0.5}


def test_reward_models_that_disagree_more_are_seen_by_measurement() -> None:
    """Of ±1 and ∓1 the deviation over the two models is 1 at the start, and 2 where both are twice as far."""
    run = path([0.0, 1.0], [0.0, 1.0])
    start = np.array([-1.0, 1.0] * (PREFIXES // 2))
    found = watched("ppo", 250, 0, run, [[start, 2 * start], [-start, -2 * start]]).values
    assert [one["disagreement"] for one in found] == [1.0, 2.0]
    flat = np.zeros(PREFIXES)
    assert "disagreement" not in watched("ppo", 250, 0, run, [[start, start], [flat, flat]]).values[1]


def test_what_a_measurement_does_not_have_is_not_seen() -> None:
    found = seen("ppo", points([0.0], [1.0])[0], None)
    assert (found.labelled, found.members, found.own) == (None, None, None)


def test_dpo_has_its_own_labels_in_the_place_of_a_reward() -> None:
    """Of two pairs the policy has moved to the one that both label alike, and away from the chosen one of the other,
    which its own data label the other way round: all of its own and half of the trusted ones."""
    more = {"margins": [[0.0, 0.0], [1.0, -1.0]], "own": [[0.0, 0.0], [1.0, 1.0]]}
    found = watched("dpo", 250, 0, path([0.0, 1.0], [0.0, 1.0], **more), None).values
    assert [one["own_gap"] for one in found] == [0.0, 0.5]
    assert "gap" not in found[1]


def test_ppo_on_the_gold_score_claims_the_gold_score() -> None:
    """Its measurements have no proxy; where gold falls the claim falls too, so that it is never hacked. At the end it
    is higher than at the start on half of the prefixes, and the policy has moved to all labels."""
    run = path([0.0, 1.0, 0.0], [0.0, 0.0, 0.0])
    for one in run.points:
        del one["proxy"]
    found = watched("ppo_gold", None, 0, run, None)
    assert (found.method, found.labels, found.fallen, found.hacked) == ("ppo", None, True, False)
    margins = [[0.0, 0.0], [-1.0, -1.0], [1.0, 1.0]]
    for one, margin in zip(run.points, margins, strict=True):
        one["margins"] = margin
    assert [one["gap"] for one in watched("ppo_gold", None, 0, run, None).values] == [0.0, 1.0, -0.5]


def lengths(values: list[float], top: int, kind: str, seed: int = 0) -> Watched:
    steps = [12 * i for i in range(len(values))]
    known = [{"length": one} for one in values]
    return Watched("ppo", 250, seed, steps, known, top, kind != "clean", kind == "hacked")


def test_rates_by_hand() -> None:
    """Length warns above 1.5. Two of three hacked runs are detected after their highest gold, one at once (after 12
    updates) and one after 24; a warning before it does not count, and is early. Of two clean runs one has a false
    alarm, after its highest gold. Of the runs whose gold has fallen the last is neither: it counts as one that could
    be warned of early, and the one that falls from the start does not."""
    runs = [
        lengths([1.0, 1.1, 1.6, 1.7], 1, "hacked"),
        lengths([1.0, 1.1, 1.2, 1.6], 1, "hacked", seed=1),
        lengths([1.0, 1.6, 1.2, 1.2], 1, "hacked"),
        lengths([1.0, 1.1, 1.2, 1.3], 3, "clean"),
        lengths([1.0, 1.1, 9.0, 1.1], 1, "clean", seed=1),
        lengths([1.0, 9.0, 9.0, 9.0], 0, "neither"),
        lengths([1.0, 1.0, 9.0, 9.0], 1, "neither"),
    ]
    found = rates("length", runs)
    assert (found["hacked"], found["clean"], found["before"], found["delay"]) == (3, 2, 4, 18.0)
    assert found["detected"] == proportion(2, 3).as_dict()
    assert found["false"] == proportion(1, 2).as_dict()
    assert found["early"] == proportion(1, 4).as_dict()
    assert found["threshold"] == "below 0.67 or above 1.50"
    both = rates("any", runs)
    assert (both["detected"], both["false"], both["threshold"]) == (found["detected"], found["false"], "")


def test_rates_of_one_seed_have_no_interval() -> None:
    """Two hacked runs of seed 0, and a clean one of each of two seeds."""
    runs = [lengths([1.0, 1.1, long], 1, "hacked") for long in (1.6, 1.2)]
    alone = rates("length", [*runs, lengths([1.0, 1.2], 1, "clean")])
    assert alone["detected"] == {"mean": 0.5, "low": None, "high": None}
    assert alone["early"] == alone["false"] == {"mean": 0.0, "low": None, "high": None}
    found = rates("length", [*runs, lengths([1.0, 1.2], 1, "clean"), lengths([1.0, 1.6], 1, "clean", seed=1)])
    assert found["detected"] == alone["detected"]
    assert found["false"] == proportion(1, 2).as_dict()


def test_the_monitor_as_a_whole_warns_where_one_signal_does() -> None:
    """The entropy warns below 0.5: of a run whose length does not."""
    run = lengths([1.0, 1.0, 1.0], 1, "hacked")
    run = replace(run, values=[one | {"entropy": e} for one, e in zip(run.values, (1.0, 0.9, 0.4), strict=True)])
    assert rates("length", [run])["detected"]["mean"] == 0.0
    assert rates("any", [run])["detected"]["mean"] == 1.0
    assert rates("entropy", [run])["early"]["mean"] == 0.0


def test_without_hacked_runs_nothing_is_said_of_detection() -> None:
    found = rates("length", [lengths([1.0, 1.0], 1, "clean")])
    assert (found["hacked"], found["detected"], found["delay"]) == (0, None, None)


def test_the_runs_of_a_study_are_put_together_by_method() -> None:
    """One seed of two has the scores of all reward models; a signal's rates are of the runs that have it. A DPO that
    has only been measured at the start is no run, and PPO on the gold score is a clean PPO with the scores of the
    reward models of the most labels."""
    plan = replace(FULL, labels=(10, 20), seeds=2)
    run = path([0.0, 1.0, 0.0], [0.0, 1.0, 2.0])
    start = np.array([-1.0, 1.0] * (PREFIXES // 2))
    votes = [[start, 2 * start, 3 * start], [-start, -2 * start, -3 * start]]
    more = {"margins": [[0.0] * 40] * 3, "own": [[0.0] * 40, [1.0] * 40, [1.0] * 40]}
    there = {
        Cell(1, "monitor", 10, 2): {"scores": votes},
        Cell(0, "ppo_gold"): {"points": points([0.0, 1.0, 2.0], [0.0, 0.0, 0.0])},
        Cell(0, "monitor", 20, 2, "ppo_gold"): {"scores": votes},
        Cell(0, "dpo", 10): {"points": points([0.0, 1.0, 0.0], [0.0, 1.0, 2.0], **more)},
        Cell(1, "dpo", 20): {"points": points([0.0], [0.0])},
    }
    found = calibrated(plan, {("ppo", 10): {0: run, 1: run}, ("ppo", 20): {}}, there)
    rows = {(row["method"], row["signal"]): row for row in found["rows"]}
    names = ["length", "repetition", "distinct_2", "entropy"]
    assert [*rows] == [
        *(("ppo", name) for name in [*names, "disagreement", "any"]),
        *(("dpo", name) for name in [*names, "own_gap", "any"]),
    ]
    assert [rows["ppo", name]["hacked"] for name in ("length", "disagreement", "any")] == [2, 1, 2]
    assert rows["ppo", "disagreement"]["detected"]["mean"] == 1.0
    assert rows["ppo", "disagreement"]["false"] == {"mean": 1.0, "low": None, "high": None}
    assert rows["ppo", "any"]["detected"]["mean"] == 0.5
    assert rows["dpo", "own_gap"]["detected"]["mean"] == 1.0
    assert rows["dpo", "own_gap"]["false"] is None
    assert found["counts"] == [
        {"method": "ppo", "runs": 3, "hacked": 2, "clean": 1},
        {"method": "dpo", "runs": 1, "hacked": 1, "clean": 0},
    ]
    assert found["runs"][1]["points"][2] == {"step": 24} | watched("ppo", 10, 1, run, votes).values[2]
    empty = {("ppo", labels): {} for labels in plan.labels}
    assert calibrated(plan, empty, {}) == {"rows": [], "counts": [], "runs": []}
