"""Choose the learning rates of the classical path: the same small search for every algorithm.

    python bench/classic_search.py --env CartPole-v1 --out runs/search

Every rate is tried with 5 runs of 500 episodes, of a seed that the experiment does not use; the one with the highest
mean return over all episodes is chosen. All else is as in burnish.recipes.control.presets.
"""

import argparse
import json
from pathlib import Path

from burnish import classic

RATES = (1e-3, 3e-3, 5e-3, 1e-2)
SEED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--algorithms", default="reinforce,reinforce_baseline,actor_critic,trpo,ppo")
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/search"))
    asked = parser.parse_args()
    names = asked.algorithms.split(",")
    table: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for rate in asked.rates.split(","):
        folder = classic(
            env=asked.env,
            algorithms={name: {"learning_rate": float(rate)} for name in names},
            runs=asked.runs,
            episodes=asked.episodes,
            seed=SEED,
            out=str(asked.out / f"rate-{float(rate):g}"),
            resume=True,
        )
        found = json.loads((folder / "summary.json").read_text())["algorithms"]
        for name in names:
            table[name][f"{float(rate):g}"] = [found[name]["mean"]["mean"], found[name]["last_100"]["mean"]]
    for name, by_rate in table.items():
        best = max(by_rate, key=lambda rate: by_rate[rate][0])
        told = ", ".join(f"{rate}: {mean:.0f} ({end:.0f})" for rate, (mean, end) in by_rate.items())
        print(f"{name}: {best}; mean return over all episodes (over the last 100) at {told}")
    (asked.out / "search.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
