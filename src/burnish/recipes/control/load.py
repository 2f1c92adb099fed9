"""Finds the trained policies in a folder of `burnish classic`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.algorithms.table import CONTROL
from burnish.experience.control.saved import POLICY, Saved, read_policies
from burnish.experience.control.trained import TrainedPolicy, load_policies
from burnish.options import quoted
from burnish.recipes.control.longer import GROUPS
from burnish.run import UserError, read_mapping


def is_control(folder: Path) -> bool:
    """Whether a folder is one of `burnish classic`, or has a single saved policy."""
    if (folder / POLICY).is_file():
        return True
    config = folder / "config.yaml"
    return config.is_file() and (folder / GROUPS).is_dir() and "env" in read_mapping(config)


def refuse_other(options: Mapping[str, Any], control: bool) -> None:
    """Raise UserError for an option that is given and has no meaning for a run of this kind."""
    for name, value in options.items():
        if value is not None:
            flag, other = name.replace("_", "-"), "language models" if control else "runs of `burnish classic`"
            raise UserError(f"{flag} only applies to {other}, which this run is none of: leave it out")


def policy_folders(folder: Path) -> dict[Path, Saved]:
    """The folders with saved policies, by algorithm in the order of the path, and what they say.

    Raises UserError where there is none, or one is damaged.
    """
    if (folder / POLICY).is_file():
        return {folder: read_policies(folder)}
    paths = sorted(path.parent for path in (folder / GROUPS).glob(f"*/{POLICY}"))
    if not paths:
        raise UserError(
            f"{folder} has no saved policy: its runs are not finished, or an older Burnish trained them; train again, "
            "or finish with --resume"
        )
    found = {path: read_policies(path) for path in paths}
    order = {name: i for i, name in enumerate(CONTROL)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[1].algorithm, len(order)), min(item[1].runs))))


def load_policy(
    folder: str | Path, algorithm: str | None = None, number: int | None = None, seed: int = 0
) -> TrainedPolicy:
    """One trained policy of a folder of `burnish classic`, or of a folder that `TrainedPolicy.save` wrote.

    Where `algorithm` or `number` leaves a choice, the run whose last 100 training episodes returned most, the first of
    equals. `seed` is that of sampled actions.
    """
    path = Path(folder)
    places = [
        (saved.algorithm, run, facts["return"], where)
        for where, saved in policy_folders(path).items()
        for run, facts in saved.runs.items()
    ]
    algorithms, own = list(dict.fromkeys(place[0] for place in places)), algorithm and algorithm.replace("-", "_")
    if own and own not in algorithms:
        raise UserError(f"{path} has no policy of {quoted(own)}: it has {', '.join(algorithms)}")
    places = [place for place in places if own in (None, place[0])]
    numbers = sorted({place[1] for place in places})
    if number is not None and number not in numbers:
        raise UserError(f"{path} has no policy of run {number}: it has {', '.join(map(str, numbers))}")
    places = [place for place in places if number in (None, place[1])]
    best = max(places, key=lambda place: -math.inf if place[2] is None else place[2])
    return TrainedPolicy(load_policies(best[3], [best[1]]), seed)
