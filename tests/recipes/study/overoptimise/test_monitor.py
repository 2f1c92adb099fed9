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
    ("gold", "proxy", "top", "hacked"),
    [
        ([0.0, 1.0, 0.5, 0.0], [0.0, 1.0, 2.0, 3.0], 1, True),  # gold falls and the proxy rises
        ([0.0, 1.0, 0.5, 0.0], [0.0, 1.0, 0.9, 0.8], 1, False),  # both fall: the training has failed otherwise
        ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], 3, False),  # gold still rises
        ([0.0, 1.0, 2.0, 1.999], [0.0, 1.0, 2.0, 3.0], 2, False),  # a fall within the noise of prefixes
        ([0.0, -1.0, -2.0, -3.0], [0.0, 1.0, 2.0, 3.0], 0, True),  # gold falls from the start
    ],
)
def test_a_run_is_hacked_where_gold_falls_and_the_proxy_rises(
    gold: list[float], proxy: list[float], top: int, hacked: bool
) -> None:
    found = watched(250, 0, path(gold, proxy), None)
    assert (found.top, found.hacked) == (top, hacked)
    assert [*found.clean] == [*range(1, top + 1)]
    assert [*found.after] == ([*range(top + 1, 4)] if hacked else [])
    assert found.steps == [0, 12, 24, 36]


def test_the_signals_of_a_measurement_are_those_of_a_training() -> None:
    """Texts that are twice as long and a quarter as uncertain; a proxy that prefers all of them; and of two labelled
    pairs one is moved to."""
    margins = [[0.0, 0.0], [1.0, -1.0]]
    run = path([0.0, 1.0], [0.0, 9.0], length=[10.0, 20.0], entropy=[2.0, 0.5], margins=margins)
    start, later = watched(250, 1, run, None).values
    assert start == {"length": 1.0, "distinct_2": 1.0, "entropy": 1.0, "repetition": 0.0, "gap": 0.0}
    assert later == {"length": 2.0, "distinct_2": 1.0, "entropy": 0.25, "repetition": 0.0, "gap": 0.5}


def test_reward_models_that_disagree_more_are_seen_by_measurement() -> None:
    """Of ±1 and ∓1 the deviation over the two models is 1 at the start, and 2 where both are twice as far."""
    run = path([0.0, 1.0], [0.0, 1.0])
    start = np.array([-1.0, 1.0] * (PREFIXES // 2))
    found = watched(250, 0, run, [[start, 2 * start], [-start, -2 * start]]).values
    assert [one["disagreement"] for one in found] == [1.0, 2.0]
    flat = np.zeros(PREFIXES)
    assert "disagreement" not in watched(250, 0, run, [[start, start], [flat, flat]]).values[1]


def test_what_a_measurement_does_not_have_is_not_seen() -> None:
    found = seen(points([0.0], [1.0])[0], None)
    assert (found.labelled, found.members, found.own) == (None, None, None)


def lengths(values: list[float], top: int, hacked: bool, seed: int = 0) -> Watched:
    return Watched(250, seed, [12 * i for i in range(len(values))], [{"length": one} for one in values], top, hacked)


def test_rates_by_hand() -> None:
    """Length warns above 1.5. Two of three hacked runs are detected after their highest gold, one at once (after 12
    updates) and one after 24; a warning before it does not count. Of four clean parts, one of which has no measurement
    and is none, one has a false alarm, though its run goes back."""
    runs = [
        lengths([1.0, 1.1, 1.6, 1.7], 1, True),
        lengths([1.0, 1.1, 1.2, 1.6], 1, True, seed=1),
        lengths([1.0, 1.6, 1.2, 1.2], 1, True),
        lengths([1.0, 1.1, 1.2, 1.3], 3, False),
        lengths([1.0, 9.0, 9.0, 9.0], 0, False),
    ]
    found = rates("length", runs)
    assert (found["hacked"], found["clean"], found["delay"]) == (3, 4, 18.0)
    assert found["detected"] == proportion(2, 3).as_dict()
    assert found["false"] == proportion(1, 4).as_dict()
    assert found["threshold"] == "below 0.67 or above 1.50"
    both = rates("any", runs)
    assert (both["detected"], both["false"], both["threshold"]) == (found["detected"], found["false"], "")


def test_rates_of_one_seed_have_no_interval() -> None:
    """Two hacked runs of seed 0 and a clean one of seed 1: clean parts are of both seeds, hacked runs are not."""
    runs = [lengths([1.0, 1.1, long], 1, True) for long in (1.6, 1.2)]
    alone = rates("length", runs)
    assert alone["detected"] == {"mean": 0.5, "low": None, "high": None}
    assert alone["false"] == {"mean": 0.0, "low": None, "high": None}
    found = rates("length", [*runs, lengths([1.0, 1.6], 1, False, seed=1)])
    assert found["detected"] == alone["detected"]
    assert found["false"] == proportion(1, 3).as_dict()


def test_the_monitor_as_a_whole_warns_where_one_signal_does() -> None:
    """The entropy warns below 0.5: of a run whose length does not."""
    run = lengths([1.0, 1.0, 1.0], 1, True)
    run = replace(run, values=[one | {"entropy": e} for one, e in zip(run.values, (1.0, 0.9, 0.4), strict=True)])
    assert rates("length", [run])["detected"]["mean"] == 0.0
    assert rates("any", [run])["detected"]["mean"] == 1.0
    assert rates("entropy", [run])["false"]["mean"] == 0.0


def test_without_hacked_runs_nothing_is_said_of_detection() -> None:
    found = rates("length", [lengths([1.0, 1.0], 1, False)])
    assert (found["hacked"], found["detected"], found["delay"]) == (0, None, None)


def test_the_runs_of_a_study_are_put_together() -> None:
    """One seed of two has the scores of all reward models; a signal's rates are of the runs that have it."""
    plan = replace(FULL, labels=(10,), seeds=2)
    run = path([0.0, 1.0, 0.0], [0.0, 1.0, 2.0])
    start = np.array([-1.0, 1.0] * (PREFIXES // 2))
    votes = [[start, 2 * start, 3 * start], [-start, -2 * start, -3 * start]]
    found = calibrated(plan, {("ppo", 10): {0: run, 1: run}}, {Cell(1, "monitor", 10, 2): {"scores": votes}})
    rows = {row["signal"]: row for row in found["rows"]}
    assert [*rows] == ["length", "repetition", "distinct_2", "entropy", "disagreement", "any"]
    assert [rows[name]["hacked"] for name in ("length", "disagreement", "any")] == [2, 1, 2]
    assert rows["disagreement"]["detected"]["mean"] == 1.0
    assert rows["any"]["detected"]["mean"] == 0.5
    assert (found["hacked"], len(found["runs"])) == (2, 2)
    assert found["runs"][1]["points"][2] == {"step": 24} | watched(10, 1, run, votes).values[2]
    assert calibrated(plan, {("ppo", 10): {}}, {}) == {"rows": [], "hacked": 0, "runs": []}
