"""Statistics of repeated runs: by hand, by loops, and by going through every resample there is."""

import itertools
import json
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from burnish.evaluation.returns import (
    LABELS,
    PATH,
    difference,
    episodes_to_threshold,
    interquartile_mean,
    leader,
    probability_of_improvement,
    spread,
    story,
    summarise,
)
from burnish.run import UserError


def make_frame(returns: dict[str, list[list[float]]]) -> pd.DataFrame:
    """A row an episode; episode e of a run has length e, so that a run of E episodes has E·(E + 1)/2 steps."""
    rows = []
    for name, runs in returns.items():
        for run, episodes in enumerate(runs):
            for e, value in enumerate(episodes, start=1):
                row = {"algorithm": name, "run": run, "episode": e, "return": float(value), "length": e}
                rows.append(row | {"steps": e * (e + 1) // 2})
    return pd.DataFrame(rows)


def made_summary(**runs: list[float]) -> dict:
    """What `story` and `leader` read of a summary, the same numbers for both measures."""
    algorithms = {
        name: {"mean": {"mean": sum(v) / len(v)}, "mean_per_run": v, "last_100_per_run": v} for name, v in runs.items()
    }
    return {"algorithms": algorithms, "digits": 1, "last": 100}


def all_resamples(values: list[float]) -> list[tuple[float, ...]]:
    return list(itertools.product(values, repeat=len(values)))


# Single statistics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100, 1, 4, 2], 3.0),  # of 1, 2, 4, 100 the middle two
        ([0, 6, 1, 5, 2, 4, 3, 100], 3.5),  # 2, 3, 4, 5 remain
        ([9, 1, 2, 3, 70], 14 / 3),  # a quarter of five is one: 2, 3, 9 remain
        ([7, 9], 8.0),
        ([5], 5.0),
    ],
)
def test_the_interquartile_mean(values: list[float], expected: float) -> None:
    assert interquartile_mean(values) == pytest.approx(expected)
    assert interquartile_mean(np.array([values, values]).T, axis=0) == pytest.approx([expected, expected])


def test_the_spread_is_that_of_a_sample() -> None:
    """1, 3: mean 2, squares 1 + 1, over n − 1 = 1. A single run has none."""
    assert spread([1, 3]) == pytest.approx(math.sqrt(2))
    assert spread([[1, 3, 5], [4, 4, 4]]) == pytest.approx([2.0, 0.0])
    assert math.isnan(spread([4.0]))


def test_episodes_to_a_threshold_by_hand() -> None:
    """Averages of three: 2, 5, 8, 5. The second of them ends with episode 4."""
    returns = [0, 0, 6, 9, 9, -3]
    assert episodes_to_threshold(returns, 5, window=3) == 4
    assert episodes_to_threshold(returns, 5.01, window=3) == 5
    assert episodes_to_threshold(returns, 8.01, window=3) is None
    assert episodes_to_threshold([9, 9], 5, window=3) is None
    assert episodes_to_threshold([5, 5, 5], 5, window=3) == 3
    assert episodes_to_threshold([500.0] * 99, 475) is None
    assert episodes_to_threshold([500.0] * 100, 475) == 100


def test_episodes_to_a_threshold_by_loops() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        returns, window = rng.integers(0, 10, size=40).tolist(), int(rng.integers(1, 12))
        reached = [e for e in range(window, 41) if sum(returns[e - window : e]) >= 6 * window]
        assert episodes_to_threshold(returns, 6, window) == (reached[0] if reached else None)


def exact_ends(statistics: list[float]) -> tuple[float, float]:
    low, high = np.quantile(statistics, [0.025, 0.975])
    return float(low), float(high)


def test_the_probability_that_a_run_beats_another() -> None:
    """Of nine pairs 1 never wins, 2 ties twice, 3 wins twice: (0 + 1 + 2) / 9. Ends: of all 27 · 27 resamples."""
    a, b = [1.0, 2.0, 3.0], [2.0, 2.0, 4.0]

    def share(first: tuple[float, ...], second: tuple[float, ...]) -> float:
        return sum((x > y) + (x == y) / 2 for x in first for y in second) / 9

    found = probability_of_improvement(a, b)
    assert found.mean == pytest.approx(1 / 3)
    ends = exact_ends([share(x, y) for x in all_resamples(a) for y in all_resamples(b)])
    assert (found.low, found.high) == pytest.approx(ends, abs=0.03)
    assert 0 <= found.low < 0.1
    assert 0.6 < found.high < 0.9


def test_samples_of_two_sizes_and_of_no_overlap() -> None:
    """Three wins of six pairs; and where all win there is no width."""
    assert probability_of_improvement([3, 0], [1, 2, -1]).mean == pytest.approx(4 / 6)
    sure = probability_of_improvement([5, 6], [1, 2])
    assert (sure.mean, sure.low, sure.high) == (1, 1, 1)


@pytest.mark.parametrize(
    ("statistic", "oracle"),
    [(np.mean, np.mean), (spread, lambda x: math.sqrt(sum((v - sum(x) / 4) ** 2 for v in x) / 3))],
)
def test_a_difference_of_independent_samples(statistic: Callable, oracle: Callable) -> None:
    """Its ends are the quantiles over all 256 · 256 pairs of resamples."""
    a, b = [0.0, 1.0, 5.0, 7.0], [2.0, 3.0, 3.5, 6.0]
    found = difference(a, b, statistic, resamples=40_000)
    assert found.mean == pytest.approx(oracle(a) - oracle(b))
    first, second = (np.array([oracle(x) for x in all_resamples(values)]) for values in (a, b))
    ends = exact_ends(np.subtract.outer(first, second).ravel().tolist())
    assert (found.low, found.high) == pytest.approx(ends, abs=0.15)


# The summary -------------------------------------------------------------------------------------------------------


def test_a_summary_by_hand() -> None:
    """PPO's runs: 20 episodes of 0 and 100 of 12, or of 6: means 10 and 5 over all, 12 and 6 over the last 100.

    The first run's average of 100 is 9.6 as soon as there are 100 episodes; that of the second is 6 at the very end.
    """
    frame = make_frame({"ppo": [[0] * 20 + [12] * 100, [0] * 20 + [6] * 100], "reinforce": [[1] * 120, [3] * 120]})
    found = summarise(frame, threshold=6, seconds={"ppo": 2.5})
    assert (found["episodes"], found["last"], found["threshold"], found["unfinished"]) == (120, 100, 6, {})
    assert list(found["algorithms"]) == ["reinforce", "ppo"]
    ppo = found["algorithms"]["ppo"]
    assert (ppo["label"], ppo["runs"], ppo["seconds"]) == ("PPO", 2, 2.5)
    assert ppo["mean_per_run"] == pytest.approx([10, 5])
    assert ppo["last_100_per_run"] == pytest.approx([12, 6])
    assert (ppo["mean"]["mean"], ppo["last_100"]["mean"], ppo["last_100_iqm"]["mean"]) == pytest.approx((7.5, 9, 9))
    assert ppo["mean_std"] == pytest.approx(5 / math.sqrt(2))
    assert ppo["last_100_std"] == pytest.approx(6 / math.sqrt(2))
    assert ppo["steps"] == 2 * 120 * 121 // 2
    assert ppo["runs_at_least"] == 2
    assert ppo["episodes_to_threshold"] == {"median": 110.0, "never": 0, "per_run": [100, 120]}
    reinforce = found["algorithms"]["reinforce"]
    assert (reinforce["seconds"], reinforce["runs_at_least"]) == (None, 0)
    assert reinforce["episodes_to_threshold"] == {"median": None, "never": 2, "per_run": [None, None]}
    beats = found["probability_of_improvement"]["mean"]
    assert beats["ppo"]["reinforce"] == {"mean": 1, "low": 1, "high": 1}
    assert beats["reinforce"]["ppo"] == {"mean": 0, "low": 0, "high": 0}


def test_a_run_that_stands_apart_does_not_move_the_interquartile_mean() -> None:
    """Of 1, 2, 4 and 100 the middle two; runs of two episodes have their last two."""
    found = summarise(make_frame({"ppo": [[1, 1], [2, 2], [100, 100], [4, 4]]}))
    one = found["algorithms"]["ppo"]
    assert (one["last_100_iqm"]["mean"], one["last_100"]["mean"], found["last"]) == (3, 26.75, 2)


def test_intervals_are_over_runs() -> None:
    """Two runs of constant return: a quarter of the resamples is twice the one, a quarter twice the other."""
    one = summarise(make_frame({"ppo": [[0] * 50, [10] * 50]}))["algorithms"]["ppo"]
    assert (one["mean"]["low"], one["mean"]["high"]) == (0, 10)
    assert (one["last_100"]["low"], one["last_100"]["high"]) == (0, 10)


def test_the_last_100_and_all_are_two_measures_of_improvement() -> None:
    """REINFORCE is better over all episodes, PPO over the last hundred."""
    frame = make_frame({"ppo": [[0] * 100 + [3] * 100], "reinforce": [[9] * 100 + [2] * 100]})
    found = summarise(frame)["probability_of_improvement"]
    assert (found["mean"]["ppo"]["reinforce"]["mean"], found["last_100"]["ppo"]["reinforce"]["mean"]) == (0, 1)


def test_probabilities_of_a_pair_add_up_to_one() -> None:
    """Runs of 0 … 5 and of ½ … 5½: of 36 pairs the first wins 15."""
    frame = make_frame({"trpo": [[i] for i in range(6)], "ppo": [[i + 0.5] for i in range(6)]})
    beats = summarise(frame)["probability_of_improvement"]["mean"]
    one, other = beats["trpo"]["ppo"], beats["ppo"]["trpo"]
    assert (one["mean"], other["mean"]) == pytest.approx((15 / 36, 21 / 36))
    assert (one["low"] + other["high"], one["high"] + other["low"]) == pytest.approx((1, 1))
    assert 0 < one["low"] < one["mean"] < one["high"] < 1


def test_the_median_counts_runs_that_never_arrive_as_later_than_all() -> None:
    """A run arrives 80 episodes after it first gets 10: with threshold 8, at 100, 105, 110 and never (at 205)."""
    runs = [[0] * late + [10] * (130 - late) for late in (0, 25, 30, 125)]
    two = summarise(make_frame({"ppo": runs[:2] + runs[3:]}), threshold=8)["algorithms"]["ppo"]
    assert two["episodes_to_threshold"] == {"median": 105.0, "never": 1, "per_run": [100, 105, None]}
    half = summarise(make_frame({"ppo": [*runs[1:3], runs[3], runs[3]]}), threshold=8)["algorithms"]["ppo"]
    assert half["episodes_to_threshold"]["median"] is None
    assert (half["episodes_to_threshold"]["never"], half["runs_at_least"]) == (2, 2)


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    frame = make_frame({name: rng.normal(size=(4, 130)).tolist() for name in ("ppo", "trpo")})
    shuffled = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    assert summarise(shuffled, 0.1) == summarise(frame, 0.1)
    assert summarise(frame.assign(algorithm=frame.algorithm.astype("category")), 0.1) == summarise(frame, 0.1)


def test_algorithms_come_in_the_order_of_the_path() -> None:
    names = ["mine", "ppo", "reinforce", "actor_critic"]
    found = summarise(make_frame({name: [[1, 2]] for name in names}))
    assert list(found["algorithms"]) == ["reinforce", "actor_critic", "ppo", "mine"]
    assert found["algorithms"]["mine"]["label"] == "mine"


def test_runs_that_did_not_finish_are_left_out_and_counted() -> None:
    frame = make_frame({"ppo": [[1, 1, 7], [5, 5], [3, 3, 3]], "trpo": [[1], [2]]})
    found = summarise(frame)
    assert found["unfinished"] == {"ppo": 1, "trpo": 2}
    assert list(found["algorithms"]) == ["ppo"]
    assert found["algorithms"]["ppo"]["mean_per_run"] == [3, 3]
    cut = summarise(frame, episodes=2)
    assert cut["unfinished"] == {"trpo": 2}
    assert cut["algorithms"]["ppo"]["mean_per_run"] == [1, 5, 3]
    with pytest.raises(UserError, match="No run has finished its 4 episodes"):
        summarise(frame, episodes=4)


def test_a_single_run_has_no_ends_and_json_takes_everything() -> None:
    found = summarise(make_frame({"ppo": [[1, 2]], "trpo": [[2, 2]]}), threshold=475)
    one = found["algorithms"]["ppo"]
    assert one["mean"] == one["last_100_iqm"] == {"mean": 1.5, "low": None, "high": None}
    assert (one["mean_std"], one["last_100_std"]) == (None, None)
    assert found["probability_of_improvement"]["mean"]["ppo"]["trpo"] == {"mean": 0, "low": None, "high": None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert summarise(make_frame({"ppo": [[1, 2]]}))["algorithms"]["ppo"]["runs_at_least"] is None


@pytest.mark.parametrize(("size", "digits"), [(400, 1), (-400, 1), (3, 2), (0.5, 3)])
def test_decimals_follow_the_size_of_returns(size: float, digits: int) -> None:
    assert summarise(make_frame({"ppo": [[size, size]]}))["digits"] == digits


# The story ---------------------------------------------------------------------------------------------------------

TIGHT, WIDE = [-0.2, -0.1, 0.0, 0.1, 0.2, 0.0], [-20, -10, 0, 10, 20, 0.0]


def around(centre: float, offsets: list[float]) -> list[float]:
    return [centre + offset for offset in offsets]


def verdicts(**runs: list[float]) -> dict[str, str]:
    return {test["claim"]: test["verdict"] for test in story(made_summary(**runs))}


def test_each_step_of_the_path_has_its_tests() -> None:
    """Two a step of the path, and three of PPO against all."""
    rising = {name: around(100.0 * i, WIDE if i < 2 else TIGHT) for i, name in enumerate(PATH)}
    found = verdicts(**rising)
    assert list(LABELS)[: len(PATH)] == list(PATH)
    assert verdicts(**rising, dqn=around(900, TIGHT)) == found  # which is no step of it
    assert len(found) == 4 * 2 + 3
    assert found["REINFORCE with baseline learns faster than REINFORCE"] == "holds"
    assert found["REINFORCE with baseline varies less than REINFORCE"] == "cannot be told"
    assert found["Actor-critic varies less than REINFORCE with baseline"] == "holds"
    assert found["PPO learns faster than TRPO"] == "holds"
    assert found["PPO has the highest return over all episodes"] == "holds"
    assert found["PPO ends with the highest return"] == "holds"
    assert found["PPO varies least at the end"] == "cannot be told"  # TRPO varies as little


def test_claims_that_do_not_hold_are_reported() -> None:
    found = verdicts(trpo=around(300, TIGHT), ppo=around(200, WIDE))
    assert found["PPO learns faster than TRPO"] == "does not hold"
    assert found["PPO varies less than TRPO"] == "does not hold"
    assert found["PPO ends with the highest return"] == "does not hold"
    assert found["PPO varies least at the end"] == "does not hold"
    assert len(found) == 4  # of two algorithms, the step says already which is higher over all episodes


def test_steps_that_were_not_run_are_left_out() -> None:
    assert list(verdicts(reinforce=around(1, WIDE), actor_critic=around(2, WIDE))) == [
        "Actor-critic learns faster than REINFORCE",
        "Actor-critic varies less than REINFORCE",
    ]
    assert verdicts(ppo=around(1, WIDE)) == {}
    assert len(verdicts(ppo=around(1, WIDE), mine=around(2, WIDE))) == 3


def test_ppo_is_judged_by_the_rival_that_decides() -> None:
    """Above two, level with the second: not told; below the third: does not hold, however far the first is."""
    runs = {"reinforce": around(0, WIDE), "trpo": around(100, WIDE), "ppo": around(101, WIDE)}
    (best,) = [t for t in story(made_summary(**runs)) if t["claim"] == "PPO ends with the highest return"]
    assert (best["verdict"], best["rival"], best["algorithm"]) == ("cannot be told", "trpo", "ppo")
    (best,) = [
        t
        for t in story(made_summary(**runs, mine=around(300, WIDE)))
        if t["claim"] == "PPO ends with the highest return"
    ]
    assert (best["verdict"], best["rival"]) == ("does not hold", "mine")
    assert best["difference"]["mean"] == pytest.approx(101 - 300)


def test_a_rival_that_is_surely_better_decides_before_one_that_only_may_be() -> None:
    runs = {"trpo": around(101, TIGHT), "ppo": around(100, TIGHT), "mine": [10 * value for value in around(9.5, WIDE)]}
    (best,) = [t for t in story(made_summary(**runs)) if t["claim"] == "PPO ends with the highest return"]
    assert (best["verdict"], best["rival"]) == ("does not hold", "trpo")


def test_few_runs_decide_nothing() -> None:
    four = story(made_summary(trpo=[1.0, 1, 1, 1], ppo=[9.0, 9, 9, 9, 9]))
    assert {test["verdict"] for test in four} == {"cannot be told"}
    assert all(test["difference"] is None for test in four)
    assert four[0]["sentence"] == (
        "The mean return over all episodes is 9.0 for PPO and 1.0 for TRPO; fewer than 5 runs each are too few to tell."
    )
    assert story(made_summary(trpo=[1.0] * 5, ppo=[9.0] * 5))[0]["verdict"] == "holds"
    assert story(made_summary(trpo=[1.0], ppo=[9.0]))[1]["sentence"].startswith(
        "The standard deviation across runs of the mean return over all episodes is – for PPO and – for TRPO"
    )


def test_the_sentence_has_the_numbers() -> None:
    """Means −5 and −7.5; six equal runs each leave no width. Deviations are 0, and so are not told apart."""
    faster, steadier, best, _ = story(made_summary(trpo=[-7.5] * 6, ppo=[-5.0] * 6))
    assert faster["sentence"] == (
        "The mean return over all episodes is −5.0 for PPO and −7.5 for TRPO "
        "(difference +2.5, 95 % interval +2.5 to +2.5)."
    )
    assert best["sentence"].startswith("The mean return over the last 100 episodes is −5.0 for PPO")
    assert steadier["verdict"] == "cannot be told"
    assert steadier["difference"] == {"mean": 0, "low": 0, "high": 0}


def test_the_leader_and_those_beside_it() -> None:
    runs = {"trpo": around(98, WIDE), "ppo": around(50, TIGHT), "mine": around(100, WIDE)}
    found = leader(made_summary(**runs))
    assert found is not None
    assert (found["algorithm"], found["verdict"], found["undecided"]) == ("mine", "cannot be told", ["trpo"])
    alone = leader(made_summary(**(runs | {"trpo": around(20, WIDE)})))
    assert alone is not None
    assert (alone["verdict"], alone["undecided"], alone["rival"]) == ("holds", [], "ppo")
    assert leader(made_summary(ppo=[1.0] * 9)) is None


def test_the_summary_tells_the_story_of_both_measures() -> None:
    """Over all episodes TRPO is higher, over the last hundred PPO."""
    jitter = np.linspace(0, 0.5, 6)
    runs = {
        "trpo": [[9 + j] * 100 + [2 + j] * 100 for j in jitter],
        "ppo": [[0 + j] * 100 + [3 + j] * 100 for j in jitter],
    }
    found = summarise(make_frame(runs))
    told = {test["claim"]: test["verdict"] for test in found["story"]}
    assert (told["PPO learns faster than TRPO"], told["PPO ends with the highest return"]) == ("does not hold", "holds")
    assert found["leader"]["algorithm"] == "trpo"


# Mistakes ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_summarised_is_refused() -> None:
    frame = make_frame({"ppo": [[1, 2], [3, 4]]})
    with pytest.raises(UserError, match="has no column length and steps: it needs algorithm"):
        summarise(frame.drop(columns=["length", "steps"]))
    with pytest.raises(UserError, match="has no episode"):
        summarise(frame.iloc[:0])
    for bad in (math.nan, math.inf):
        broken = frame.copy()
        broken.loc[3, "return"] = bad
        with pytest.raises(UserError, match="Episode 2 of run 1 of ppo has a return that is not finite"):
            summarise(broken)
    with pytest.raises(UserError, match="Episode 1 of run 0 of ppo occurs twice"):
        summarise(pd.concat([frame, frame.iloc[:1]]))
