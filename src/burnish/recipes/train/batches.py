"""Where a run's batches come from: offline a walk over the data, online completions of its prompts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.batches import Drawn
from burnish.config import Settings
from burnish.data.prompts import Prompts
from burnish.data.walk import batches_per_epoch, in_order, visited, walk
from burnish.experience.language.bests import Bests, bests
from burnish.experience.language.completions import Completions, rollouts
from burnish.experience.language.groups import held_out
from burnish.experience.language.pairs import Pairs, pairs
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.train.models import device_of, say, with_reference
from burnish.recipes.train.rewards import resolve_reward
from burnish.rewards.completed import Reward
from burnish.run import UserError
from burnish.training.resume import State
from burnish.training.step import evaluate

EVALUATED_PROMPTS = 256
SOURCES: dict[type, Callable[..., Iterator[Drawn]]] = {Completions: rollouts, Pairs: pairs, Bests: bests}
"""What draws a run's batches, by its knobs."""

Evaluator = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Turns:
    """The loop's batches from a state on, with the models as complete as they need them, and what evaluates them."""

    models: Models
    batches: Callable[[State], Iterator[Drawn]]
    evaluator: Evaluator | None


def length(algorithm: Any, settings: Settings, rows: int) -> tuple[int, int]:
    """The updates of a run, and those of one pass over the data; online, a rollout of prompts has several."""
    per_epoch = batches_per_epoch(rows, settings.batch_size)
    if settings.experience is not None:
        whole, rest = divmod(rows, settings.experience.rollout)
        sizes = [settings.experience.rollout] * whole + [rest] * (rest > 0)
        per_epoch = algorithm.update_epochs * sum(batches_per_epoch(size, settings.batch_size) for size in sizes)
    steps = settings.steps or max(1, round((settings.epochs or 1.0) * per_epoch))
    if settings.warmup >= max(1, steps):
        raise UserError(f"a warmup of {settings.warmup:g} steps never ends in a run of {steps}: make it shorter")
    return steps, per_epoch


def offline(algorithm: Any, models: Models, settings: Settings, rows: Any, held: Any, steps: int) -> Turns:
    """Batches of a data set, and the loss on held rows."""
    name = name_of(algorithm)
    if 0 < len(rows) % settings.batch_size < ALGORITHMS[name].least_rows:
        left = len(rows) % settings.batch_size
        say(settings, f"warning: the last batch of an epoch has {left} row, too few for {name}: change --batch-size")
    evaluator = None
    if held is not None:
        evaluator = evaluator_of(algorithm, with_reference(algorithm, models, held, range(len(held)), settings), held)
    seen = visited(len(rows), settings.batch_size, settings.seed, steps)
    models, device = with_reference(algorithm, models, rows, seen, settings), device_of(models)

    def batches(state: State) -> Iterator[Drawn]:
        return (Drawn(b.to(device)) for b in walk(rows, settings.batch_size, settings.seed, state.batches))

    return Turns(models, batches, evaluator)


def online(
    algorithm: Any, models: Models, settings: Settings, rows: Prompts, held: Prompts | None, steps: int
) -> Turns:
    """Completions of prompts with the policy as it is when they are asked for, and what it makes of held prompts."""
    knobs = settings.experience
    assert knobs is not None
    reward = resolve_reward(knobs.reward, cast(LanguagePolicy, models.policy))

    def batches(state: State) -> Iterator[Drawn]:
        return SOURCES[type(knobs)](models, knobs, rows, reward, settings.seed, state.batches, state.experience)

    evaluator = None if held is None else sampled_evaluator(models, knobs, held, reward, settings.seed)
    return Turns(models, batches, evaluator)


def evaluator_of(algorithm: Any, models: Models, held: Any) -> Evaluator:
    """Loss and metrics on held rows, whenever called."""
    batches = [b.to(device_of(models)) for b in in_order(held, 64)]
    return lambda: evaluate(algorithm, models, batches)


def sampled_evaluator(
    models: Models, knobs: Completions | Pairs | Bests, held: Prompts, reward: Reward, seed: int
) -> Evaluator:
    """What a completion of each held prompt is worth, always of the same random streams; the loss is the negative of
    the objective E[score] − β·KL, at the β that the run began with, or of the score where no β prices KL."""
    count = min(len(held), EVALUATED_PROMPTS)
    if not isinstance(knobs, Completions):
        return partial(held_out, models, knobs, held, reward, seed, count)
    shown = replace(knobs, rollout=count, kl_target=None, keep_samples=0)

    def measure() -> dict[str, float]:
        found = next(rollouts(models, shown, held, reward, seed)).metrics
        return {"loss": -found["objective/rlhf_reward"]} | {k: v for k, v in found.items() if k != "rollout"}

    return measure
