"""The monitor of a run, see `burnish.evaluation.monitor`: each evaluation compares what is seen of the policy with what
was seen of it before its first update, and the first time that a signal is beyond its threshold a sentence says so."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.config import Settings
from burnish.data.walk import in_order
from burnish.evaluation.monitor import ROUNDING, Seen, Warned, disagreement, signals, warned
from burnish.evaluation.preferences import log_margins
from burnish.experience.interface import Source
from burnish.experience.language.sampling import Scored
from burnish.policies.interface import Models
from burnish.policies.language.sampler import PolicySampler
from burnish.recipes.train.batches import Evaluator
from burnish.recipes.train.models import device_of
from burnish.recipes.train.rows import Data, completing
from burnish.rewards.completed import checked_scores
from burnish.rewards.divided import divided
from burnish.run import RunFolder, UserError, read_jsonl, read_mapping, write_atomically
from burnish.run.folder import WATCH
from burnish.run.world import World
from burnish.training.resume import EVALUATED, State

WATCHED = 128
"""Held-out prompts that are completed at each evaluation, and held-out pairs of the run's own data."""

PREFIX = "watch/"
"""What the names of its metrics begin with."""


@dataclass
class Monitor:
    """An evaluation with the monitor's metrics beside its own. `look` sees the policy as it is now."""

    evaluator: Evaluator
    look: Callable[[], Seen]
    start: Seen
    state: State
    run: RunFolder
    tell: Callable[[str], None]
    warnings: list[Warned]

    def __call__(self) -> dict[str, float]:
        metrics = self.evaluator()
        values = signals(self.look(), self.start)
        known = {one.signal for one in self.warnings}
        news = [one for one in warned([(self.state.step, values)]) if one.signal not in known]
        for one in news:
            self.tell(f"warning: {one.sentence}")
        if news:
            self.warnings += news
            self.keep()
        return metrics | {f"{PREFIX}{name}": value for name, value in values.items()}

    def keep(self) -> None:
        """Write into the run's folder what the start was, and the warnings."""
        if self.run.world.is_main:
            said = [asdict(one) | {"sentence": one.sentence} for one in self.warnings]
            found = {"start": self.start.as_dict(), "warnings": said}
            write_atomically(self.run.path / WATCH, json.dumps(found) + "\n")


def monitored(
    evaluator: Evaluator | None,
    models: Models,
    settings: Settings,
    data: Data,
    run: RunFolder,
    state: State,
    tell: Callable[[str], None],
) -> Evaluator | None:
    """The evaluation of a run that goes on from `state`, with the monitor where the settings ask for it.

    The start is looked at before the first update, and read from the folder where the run is resumed after it. Raises
    UserError where nothing can be watched, or the folder has no start.
    """
    if evaluator is None or not settings.watch:
        return evaluator
    look = partial(seen, models, settings, data, run.world)
    if state.step == 0:
        with models.gathered():
            start = checked(look())
    else:
        start = run.world.from_main(lambda: read_start(run))
    rows = run.world.from_main(lambda: read_jsonl(run.path / "metrics.jsonl")) if state.step else []
    found = Monitor(evaluator, look, start, state, run, tell, warned(map(values_of, rows)))
    found.keep()
    return found


def values_of(row: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """The step of a row of metrics, and the monitor's values in it."""
    head = EVALUATED + PREFIX
    return row["step"], {name.removeprefix(head): value for name, value in row.items() if name.startswith(head)}


def read_start(run: RunFolder) -> Seen:
    """What was seen of the policy before its first update. Raises UserError where the folder does not say."""
    path = run.path / WATCH
    try:
        return Seen.from_dict(read_mapping(path)["start"])
    except (OSError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(
            f"{path}, what was seen of the policy before its first update, cannot be read: restore it, or train again "
            "in another --out"
        ) from error


def checked(start: Seen) -> Seen:
    """Raises UserError where a disagreement of reward models would have no scale."""
    if start.members is None:
        return start
    try:
        differ = disagreement(start.members, start.members)
    except ValueError as error:
        raise UserError(f"watch_rewards: {error}, so that it cannot disagree: leave it out") from error
    if differ <= ROUNDING:
        raise UserError(
            "watch_rewards: the reward models agree about every completion of the start: give different ones"
        )
    return start


def seen(models: Models, settings: Settings, data: Data, world: World) -> Seen:
    """What is seen of the policy now, on the first held-out prompts and on labelled pairs; always from the same random
    streams."""
    policy, knobs = models.policy, completing(settings).experience
    reward = None if settings.experience is None else knobs.reward
    source = Source(models, data.prompts, PolicySampler(policy, world), reward, settings.seed, world=world)
    found: Scored = knobs.complete(source, range(min(len(data.prompts), WATCHED)), 0)
    more: dict[str, Any] = {"scores": None if reward is None else found.scores.cpu().numpy()}
    if (jury := settings.watch_rewards) is not None:
        more["members"] = np.array([checked_scores(divided(one, world), found.completed) for one in jury])
    if data.labels is not None:
        more["labelled"] = margins_of(models, data.labels, len(data.labels), world)
        if settings.experience is None:
            more["own"] = margins_of(models, data.held, min(len(data.held), WATCHED), world)
    return Seen.of(found.completed.responses, found.sampled.logprobs, **more)


def margins_of(models: Models, rows: Any, count: int, world: World) -> Float[np.ndarray, "N"]:
    """log π(chosen) − log π(rejected) of the first rows of a data set."""
    device = device_of(models)
    return log_margins(models.policy, (one.to(device) for one in in_order(rows, 64, range(count))), world)
