"""Returns of repeated runs: means with confidence intervals, and tests of the expected order of the algorithms.

A frame has one row per episode: `algorithm, run, episode` (numbered from 1 in the order in which they began)`, return,
length, steps` (the run's environment steps when the episode ended). Episodes of one run are correlated and runs are
independent, so every interval is over runs.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from burnish.evaluation.statistics import Interval, Statistic, interval_of_mean, win_scores
from burnish.report import wording
from burnish.run import UserError

COLUMNS = ("algorithm", "run", "episode", "return", "length", "steps")
LABELS = {
    "reinforce": "REINFORCE",
    "reinforce_baseline": "REINFORCE with baseline",
    "actor_critic": "Actor-critic",
    "trpo": "TRPO",
    "ppo": "PPO",
    "q_learning": "Q-learning",
    "dqn": "DQN",
    "sac": "SAC",
}
"""The display names of the algorithms: first those of the path, in the order in which they build on each other."""
PATH = ("reinforce", "reinforce_baseline", "actor_critic", "trpo", "ppo")
LAST = 100  # episodes at the end of a run; also the window of the average that is compared with the threshold
FEW = 5  # with fewer runs, bootstrap intervals are too narrow to decide anything
MEASURES = {"mean": "the mean return over all episodes", "last_100": "the mean return over the last {} episodes"}

Table = dict[str, Any]


def summarise(
    frame: pd.DataFrame,
    threshold: int | float | None = None,
    seed: int = 0,
    seconds: Mapping[str, int | float] | None = None,
    episodes: int | None = None,
    steps: int | None = None,
) -> Table:
    """All numbers of the page and the table of `burnish classic`, as a JSON-serialisable dictionary.

    `threshold` is the 100-episode average that counts as solved, `seconds` the wall time of each algorithm, `episodes`
    the length of a run (default: the longest run). Later episodes are ignored; a run with fewer is left out and counted
    in `unfinished`. With `steps`, the environment steps that a run had, runs are compared over all their episodes,
    however many each had. An interval is `{"mean", "low", "high"}`; with a single run, low and high are None. Raises
    UserError if the frame lacks a column, has no finished run, a return that is not finite, or a duplicate episode.
    """
    _check(frame)
    sizes = frame.groupby(["algorithm", "run"]).size()
    episodes = int(sizes.min()) if steps else episodes or int(sizes.max())
    frame = frame[(frame.episode <= episodes) | bool(steps)].assign(algorithm=frame.algorithm.astype(str))
    whole = frame.groupby(["algorithm", "run"]).episode.transform("size") >= episodes
    left_out = frame[~whole].groupby("algorithm").run.nunique()
    if not whole.any():
        raise UserError(f"No run has finished its {episodes:,} episodes: wait until at least one run has finished.")
    finished = frame[whole].sort_values(["run", "episode"], kind="stable")
    found: Table = {
        "threshold": threshold,
        "episodes": episodes,
        "steps": steps,
        "last": min(LAST, episodes),
        "digits": _digits(finished["return"].abs().mean()),
        "unfinished": {str(name): int(count) for name, count in left_out.items()},
        "algorithms": {},
    }
    for name in ordered(finished.algorithm.unique().tolist()):
        rows = finished[finished.algorithm == name]
        found["algorithms"][name] = _algorithm(rows, label(name), threshold, seed, (seconds or {}).get(name))
    found["probability_of_improvement"] = {
        measure: _probabilities({name: one[f"{measure}_per_run"] for name, one in found["algorithms"].items()}, seed)
        for measure in MEASURES
    }
    found["leader"] = leader(found, seed)
    found["story"] = story(found, seed)
    return found


def ordered(names: Sequence[str]) -> list[str]:
    """The algorithms in the order of `LABELS`, then unknown ones in the order given."""
    known = [name for name in LABELS if name in names]
    return known + [str(name) for name in names if name not in LABELS]


def label(name: str) -> str:
    """The display name of an algorithm; an unknown name is returned unchanged."""
    return LABELS.get(name, name)


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Any:
    """Mean of the middle half of the values: a quarter of them, rounded down, is cut off at each end.

    Less sensitive to outliers than the mean, and less noisy than the median.
    Source: Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4.2.
    """
    from scipy import stats  # its import takes long, and a process that only trains needs none of it

    return stats.trim_mean(np.asarray(values, dtype=float), 0.25, axis=axis)


def spread(values: ArrayLike, axis: int = -1) -> Any:
    """Standard deviation across runs with denominator n − 1; NaN for a single run."""
    array = np.asarray(values, dtype=float)
    return np.std(array, axis=axis, ddof=1) if array.shape[axis] > 1 else array.mean(axis=axis) * math.nan


def episodes_to_threshold(returns: ArrayLike, threshold: int | float, window: int = LAST) -> int | None:
    """The first episode e for which the mean return of episodes e − window + 1 … e is at least `threshold`.

    None if there is no such episode, or the run is shorter than the window. `returns` is `[E]`, in episode order.
    """
    array = np.asarray(returns, dtype=float)
    if len(array) < window:
        return None
    averages = np.lib.stride_tricks.sliding_window_view(array, window).mean(axis=-1)
    reached = np.flatnonzero(averages >= threshold)
    return int(reached[0]) + window if len(reached) else None


def probability_of_improvement(a: ArrayLike, b: ArrayLike, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Probability that a run of A beats a run of B: the fraction of all pairs of runs, ties counting half.

    P(A > B) = 1/(R·S) Σᵢ Σⱼ [aᵢ > bⱼ] + ½·[aᵢ = bⱼ], with a percentile bootstrap over the runs of each. If every run of
    A beats every run of B, the interval has zero width, however few runs there are. `a` is `[R]`, `b` is `[S]`.
    Source: Agarwal et al. (2021), section 4.3.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    wins = win_scores(*np.broadcast_arrays(first[:, None], second))
    rng = np.random.default_rng(seed)
    weights = [rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n for n in wins.shape]
    low, high = np.quantile(((weights[0] @ wins) * weights[1]).sum(axis=-1), [0.025, 0.975])
    return Interval(float(wins.mean()), float(low), float(high))


def difference(
    a: ArrayLike, b: ArrayLike, statistic: Statistic = np.mean, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """statistic(a) − statistic(b) for two independent samples, with a percentile bootstrap that resamples each.

    In 1,000 simulated pairs of normal samples, the 95 % interval covers the true difference in 94 % of cases for means
    of 20 runs and 93 % for their `spread`, but only in 88 % for means of 5 runs. `a` is `[R]`, `b` is `[S]`.
    """
    rng = np.random.default_rng(seed)
    samples = [np.asarray(values, dtype=float) for values in (a, b)]
    drawn = [statistic(x[rng.integers(len(x), size=(resamples, len(x)))], axis=-1) for x in samples]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    return Interval(float(statistic(samples[0], axis=-1) - statistic(samples[1], axis=-1)), float(low), float(high))


@dataclass(frozen=True)
class Claim:
    """The claim that `algorithm` has a higher mean of `measure` than each rival or, if `steady`, a smaller spread."""

    text: str
    algorithm: str
    rivals: Sequence[str]
    measure: str
    steady: bool = False


def story(summary: Mapping[str, Any], seed: int = 0) -> list[Table]:
    """Test the expected order of the algorithms against the data, one claim at a time.

    Expected: in the order of `PATH`, each algorithm learns faster than the one before (a higher mean return over all
    episodes) and varies less (a smaller standard deviation of that mean across runs); PPO has the highest return over
    all episodes and at the end, and varies least at the end. Claims about algorithms that were not run are left out.
    See `judged` for the verdicts.
    """
    models = summary["algorithms"]
    path = [name for name in PATH if name in models]
    claims = []
    for before, after in itertools.pairwise(path):
        claims.append(Claim(f"{label(after)} learns faster than {label(before)}", after, [before], "mean"))
        claims.append(Claim(f"{label(after)} varies less than {label(before)}", after, [before], "mean", steady=True))
    others = [name for name in models if name != "ppo" and (name in path or name not in LABELS)]
    if "ppo" in models and others:
        if others != path[-2:-1]:  # otherwise "PPO learns faster than …" is the same claim
            claims.append(Claim("PPO has the highest return over all episodes", "ppo", others, "mean"))
        claims.append(Claim("PPO ends with the highest return", "ppo", others, "last_100"))
        claims.append(Claim("PPO varies least at the end", "ppo", others, "last_100", steady=True))
    return [judged(claim, summary, seed) for claim in claims]


def leader(summary: Mapping[str, Any], seed: int = 0) -> Table | None:
    """The algorithm with the highest mean return over all episodes, judged as a claim; None for a single algorithm.

    `undecided` lists the algorithms that it cannot be told apart from.
    """
    models = summary["algorithms"]
    if len(models) < 2:
        return None
    first = max(models, key=lambda name: models[name]["mean"]["mean"])
    others = [name for name in models if name != first]
    claim = Claim(f"{label(first)} has the highest return over all episodes", first, others, "mean")
    pairs = {name: judged(Claim("", first, [name], "mean"), summary, seed)["verdict"] for name in others}
    return judged(claim, summary, seed) | {"undecided": [name for name in others if pairs[name] != "holds"]}


def judged(claim: Claim, summary: Mapping[str, Any], seed: int = 0) -> Table:
    """Test a claim; returns `claim, algorithm, rival, verdict, difference` and the numbers as a `sentence`.

    The verdict is `holds` if the 95 % intervals of the differences to all rivals lie on the claimed side of 0, and
    `does not hold` if one lies on the other side. Otherwise, or with fewer than `FEW` runs, it is `cannot be told`.
    `rival` is the rival that decides the verdict, `difference` the difference to it (None with too few runs).
    """
    name, sign = claim.algorithm, -1 if claim.steady else 1
    runs = {key: summary["algorithms"][key][f"{claim.measure}_per_run"] for key in (name, *claim.rivals)}
    statistic: Statistic = spread if claim.steady else np.mean
    level = {key: float(statistic(values, axis=-1)) for key, values in runs.items()}
    sides = {}
    for rival in claim.rivals:
        if min(len(runs[name]), len(runs[rival])) < FEW:
            gap = Interval(level[name] - level[rival], -math.inf, math.inf)
        else:
            gap = difference(runs[name], runs[rival], statistic, seed=seed)
        low, high = sorted((sign * gap.low, sign * gap.high))
        sides[rival] = (low, high, gap)
    beaten = [rival for rival in claim.rivals if sides[rival][1] < 0]
    rival = min(beaten or claim.rivals, key=lambda key: (sides[key][0], sign * sides[key][2].mean))
    low, _, gap = sides[rival]
    verdict = "does not hold" if beaten else "holds" if low > 0 else "cannot be told"
    what = MEASURES[claim.measure].format(summary["last"])
    what = f"The standard deviation across runs of {what}" if claim.steady else f"The {what.removeprefix('the ')}"
    numbers = {key: wording.number(level[key], summary["digits"]) for key in (name, rival)}
    sentence = f"{what} is {numbers[name]} for {label(name)} and {numbers[rival]} for {label(rival)}"
    few = not math.isfinite(low)
    if few:
        sentence += f"; fewer than {FEW} runs each are too few to tell"
    else:
        ends = wording.range_of(gap.as_dict(), summary["digits"], signed=True)
        signed = wording.number(gap.mean, summary["digits"], signed=True)
        sentence += f" (difference {signed}, 95 % interval {ends})"
    test: Table = {"claim": claim.text, "algorithm": name, "rival": rival, "verdict": verdict}
    return test | {"difference": None if few else gap.as_dict(), "sentence": f"{sentence}."}


def _algorithm(
    rows: pd.DataFrame, title: str, threshold: int | float | None, seed: int, seconds: int | float | None
) -> Table:
    """Summarise one algorithm from the rows of its finished runs, sorted by run and episode."""
    returns = [run.to_numpy(dtype=float) for _, run in rows.groupby("run")["return"]]
    means, ends = (np.array([part.mean() for part in parts]) for parts in (returns, [run[-LAST:] for run in returns]))
    found: Table = {
        "label": title,
        "runs": len(returns),
        "mean": interval_of_mean(means, seed=seed),
        "last_100": interval_of_mean(ends, seed=seed),
        "last_100_iqm": interval_of_mean(ends, interquartile_mean, seed=seed),
        "mean_std": _number(spread(means)),
        "last_100_std": _number(spread(ends)),
        "mean_per_run": means.tolist(),
        "last_100_per_run": ends.tolist(),
        "steps": int(rows.groupby("run").steps.max().sum()),
        "seconds": seconds,
        "runs_at_least": None,
        "episodes_to_threshold": None,
    }
    if threshold is not None:
        found["runs_at_least"] = int((ends >= threshold).sum())
        reached = [episodes_to_threshold(run, threshold) for run in returns]
        median = float(np.median([math.inf if episode is None else episode for episode in reached]))
        never = reached.count(None)
        found["episodes_to_threshold"] = {"median": _number(median), "never": never, "per_run": reached}
    return found


def _probabilities(values: Mapping[str, Sequence[float]], seed: int) -> dict[str, dict[str, Table]]:
    """`{A: {B: interval of P(A > B)}}` for every ordered pair, with P(B > A) = 1 − P(A > B)."""
    names = list(values)
    found: dict[str, dict[str, Table]] = {name: {} for name in names}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            one = probability_of_improvement(values[a], values[b], seed=seed)
            alone = min(len(values[a]), len(values[b])) == 1
            low, high = (None, None) if alone else (one.low, one.high)
            found[a][b] = {"mean": one.mean, "low": low, "high": high}
            low, high = (None, None) if alone else (1 - one.high, 1 - one.low)
            found[b][a] = {"mean": 1 - one.mean, "low": low, "high": high}
    return found


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _digits(size: float) -> int:
    """Number of decimals to print for returns of this magnitude."""
    return 1 if size >= 10 else 2 if size >= 1 else 3


def _check(frame: pd.DataFrame) -> None:
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise UserError(
            f"The table of returns has no column {wording.listed(missing)}: it needs {wording.listed(COLUMNS)}."
        )
    if frame.empty:
        raise UserError("The table of returns has no episodes: run the algorithms before summarising them.")
    for wrong, why in (
        (~np.isfinite(frame["return"].to_numpy(dtype=float)), "has a return that is not finite"),
        (frame.duplicated(["algorithm", "run", "episode"]).to_numpy(), "occurs twice"),
    ):
        if wrong.any():
            where = "Episode {episode} of run {run} of {algorithm}".format(**frame[wrong].iloc[0])
            raise UserError(f"{where} {why}: correct or remove it in the table of returns.")
