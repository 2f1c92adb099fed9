"""Where a run's batches come from: offline a walk over the data, online an experience."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from burnish.algorithms.interface import Algorithm, name_of
from burnish.batches import Drawn
from burnish.config import Settings
from burnish.data.walk import batches_per_epoch, in_order, visited, walk
from burnish.experience.interface import Source, draws
from burnish.policies.interface import Models, Sampler, Wanted
from burnish.policies.language.lagged import LaggedSampler, PastWeights
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.sampler import SAMPLER, sampler_of
from burnish.recipes.train.models import device_of, loading_of, say, starting_point, with_reference
from burnish.recipes.train.rewards import environment_of, resolve_reward
from burnish.recipes.train.rows import Data
from burnish.run import UserError
from burnish.run.world import ALONE, World
from burnish.training.language.schedule import phases
from burnish.training.resume import State
from burnish.training.step import evaluate

EVALUATED_PROMPTS = 256

FIRST_ROLLOUTS = 2
"""After so many rollouts a reward that gave one number alone is warned of."""

Evaluator = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Feed:
    """The loop's batches from a state on, the models that they need, what evaluates them, and the earlier weights that
    they are drawn with."""

    models: Models
    batches: Callable[[State], Iterator[Drawn]]
    evaluator: Evaluator | None
    past: PastWeights | None = None


def length(algorithm: Algorithm, settings: Settings, rows: int | None) -> tuple[int, int | None]:
    """The updates of a run, and those of one epoch of so many rows; online, each rollout of prompts has several.

    Where the rows of streamed data were not counted, `rows` and what is returned for it are None.
    """
    if rows is None:
        return with_warmup(settings, settings.steps or 1), None
    per_epoch = batches_per_epoch(rows, settings.batch_size)
    if (experience := settings.experience) is not None:
        rollout = experience.rollout or rows
        whole, rest = divmod(rows, rollout)
        sizes = [size * experience.rows_per_prompt for size in [rollout] * whole + [rest] * (rest > 0)]
        per_epoch = sum(updates(algorithm, settings, size) for size in sizes)
    steps = settings.steps or max(1, round((settings.epochs or 1.0) * per_epoch))
    return with_warmup(settings, steps), per_epoch


def updates(algorithm: Algorithm, settings: Settings, rows: int) -> int:
    """The updates of a rollout of so many rows, where the method ends none early."""
    return algorithm.passes * batches_per_epoch(rows, settings.batch_size)


def with_warmup(settings: Settings, steps: int) -> int:
    """The updates of a run. Raises UserError where its warm-up never ends, or its decay does not fit in."""
    if settings.warmup >= max(1, steps):
        raise UserError(f"a warmup of {settings.warmup:g} steps never ends in a run of {steps}: make it shorter")
    warmup, decay = phases(settings, steps)
    if warmup + decay > steps:
        raise UserError(
            f"a warmup of {warmup} and a decay of {decay} steps are more than the run's {steps}: shorten one"
        )
    return steps


def offline(
    algorithm: Algorithm, models: Models, settings: Settings, data: Data, steps: int, world: World = ALONE
) -> Feed:
    """Batches of a data set, and the loss on held-out rows."""
    rows = data.rows
    left = len(rows.plan) % settings.batch_size
    if 0 < left < algorithm.least_rows:
        name = name_of(algorithm)
        say(settings, f"warning: the last batch of an epoch has {left} row, too few for {name}: change --batch-size")
    evaluator = held_out(algorithm, models, data.held, settings, world)
    seen = visited(rows.plan, settings.batch_size, settings.seed, steps)
    models, device = with_reference(algorithm, models, rows, seen, settings, world), device_of(models)

    def batches(state: State) -> Iterator[Drawn]:
        return (Drawn(b.to(device)) for b in walk(rows, settings.batch_size, settings.seed, state.batches))

    return Feed(models, batches, evaluator)


def same_reference(algorithm: Algorithm, settings: Settings, rows: Any, steps: int, more: int) -> bool:
    """Whether runs of so many steps have the same reference, to the bit.

    A table's last bits depend on which rows are computed together, and these are all that the run visits.
    """
    if settings.experience is not None or "reference" not in algorithm.roles:
        return True
    one, other = (visited(rows.plan, settings.batch_size, settings.seed, count) for count in (steps, more))
    return one == other


def streaming(
    algorithm: Algorithm, models: Models, settings: Settings, data: Data, steps: int, world: World = ALONE
) -> Feed:
    """Batches of streamed data, and the loss on held-out rows. Each process reads all rows.

    The reference is a second model, or the starting adapter: a table would need all rows beforehand.
    """
    evaluator = held_out(algorithm, models, data.held, settings, world)
    if "reference" in algorithm.roles:
        models = models.having(reference=starting_point(models.policy, settings))
    device = device_of(models)

    def batches(state: State) -> Iterator[Drawn]:
        drawn = data.rows.batches(settings.batch_size, state.experience)
        return (Drawn(batch.to(device), data.rows.progress, state=position) for batch, position in drawn)

    return Feed(models, batches, evaluator)


def online(
    algorithm: Algorithm,
    models: Models,
    settings: Settings,
    data: Data,
    steps: int,
    world: World = ALONE,
    run: Path | None = None,
) -> Feed:
    """Batches that the experience draws with the policy as it is then, and its evaluation on held-out prompts.

    A sampler elsewhere is handed the weights in a folder of the `run`. With a staleness the weights are those of an
    earlier turn; an evaluation is always with the policy as it is.
    """
    experience, held = settings.experience, data.held
    lag, folder = settings.staleness, None if run is None else run / SAMPLER
    sampler = sampler_of(models.policy, settings, world, folder, scoring=lag > 0)
    lagged = LaggedSampler(sampler, PastWeights(models.policy, lag)) if lag else None
    drawing = lagged or sampler
    loading = loading_of(settings)
    reward = resolve_reward(experience.reward, models.policy, loading) if "reward" in experience.needs else None
    environment = environment_of(experience, models.policy)
    say_once = cache(partial(say, settings))

    states = [State()]

    def batches(state: State) -> Iterator[Drawn]:
        source = Source(models, data.rows, drawing, reward, settings.seed, say_once, environment, data.texts, world)
        states[:] = [state]
        drawn = by_whole_weights(models, draws(experience, source, state.batches, state.experience))
        if lagged is not None:
            each = updates(algorithm, settings, (experience.rollout or len(data.rows)) * experience.rows_per_prompt)
            left = lambda: -(-(steps - state.step) // each)  # noqa: E731
            return behind(watched(drawn, say_once), lagged, state.batches, left, partial(experience.ahead, source))
        return fresh(watched(drawn, say_once), sampler, models.policy, state)

    evaluator = None
    if held is not None and experience.evaluates:
        held_source = Source(models, held, sampler, reward, settings.seed, say_once, environment, None, world)
        count = min(len(held), EVALUATED_PROMPTS)

        def evaluator() -> dict[str, float]:
            drawing.load(models.policy.parameters(), states[0].step)  # in the middle of a rollout's updates, too
            return experience.evaluate(held_source, count)

    return Feed(models, batches, evaluator, None if lagged is None else lagged.past)


def fresh(rollouts: Iterator[Drawn], sampler: Sampler, policy: LanguagePolicy, state: State) -> Iterator[Drawn]:
    """The rollouts, each with the policy's weights as they are when it is asked for."""
    sampler.load(policy.parameters(), state.step)
    for drawn in rollouts:
        yield drawn
        sampler.load(policy.parameters(), state.step)


def behind(
    rollouts: Iterator[Drawn],
    sampler: LaggedSampler,
    turn: int,
    left: Callable[[], int],
    wanted: Callable[[int], Wanted | None],
) -> Iterator[Drawn]:
    """The rollouts from `turn` on, each with the weights of an earlier turn, and the event of which these were.

    `left` gives how many turns there are, this one included, and `wanted` what a turn asks the sampler for.
    """
    try:
        while True:
            sampler.begin(turn, turn + left() - 1, wanted)
            drawn = next(rollouts, None)
            if drawn is None:
                return
            metrics = drawn.metrics | {"sampler/staleness": turn - sampler.version}
            events = [{"turn": turn, "weights": sampler.version}]
            yield replace(drawn, metrics=metrics, events=events, spent={"turn": turn} | sampler.spent)
            turn += 1
    finally:
        sampler.close()


def by_whole_weights(models: Models, rollouts: Iterator[Drawn]) -> Iterator[Drawn]:
    """The same rollouts, drawn with the whole weights in every process, which draw different completions."""
    while True:
        with models.gathered():
            drawn = next(rollouts, None)
        if drawn is None:
            return
        yield drawn


def watched(rollouts: Iterator[Drawn], tell: Callable[[str], None]) -> Iterator[Drawn]:
    """The same rollouts; `tell` is given a sentence for each reward that gave one number alone in the first of them.

    A reward is known by the mean and the deviation of its scores among a rollout's metrics.
    """
    first: list[dict[str, float]] = []
    for drawn in rollouts:
        if len(first) < FIRST_ROLLOUTS:
            first.append(drawn.metrics)
            if len(first) == FIRST_ROLLOUTS:
                for sentence in constant_rewards(first):
                    tell(sentence)
        yield drawn


def constant_rewards(metrics: Sequence[dict[str, float]]) -> list[str]:
    """A sentence for each reward that gave the same number to every completion of these rollouts."""
    pairs = {"objective/scores": ("objective/scores_std", "the reward")}
    for name in metrics[0]:
        if name.startswith("rewards/") and name.endswith("/std"):
            key = name.removesuffix("/std")
            pairs[f"{key}/mean"] = (name, f"the reward {key.removeprefix('rewards/')}")
    found = []
    for mean, (std, reward) in pairs.items():
        values = [one.get(mean, math.nan) for one in metrics]
        spread = max(values) - min(values) + max(one.get(std, math.nan) for one in metrics)
        if spread <= 1e-6 * max(1.0, abs(values[0])):
            found.append(
                f"warning: {reward} gave {values[0]:g} to every completion of the first {len(metrics)} rollouts: there "
                "is nothing to learn from it unless it changes"
            )
    return found


def held_out(
    algorithm: Algorithm, models: Models, held: Any, settings: Settings, world: World = ALONE
) -> Evaluator | None:
    """Loss and metrics on held-out rows, with the reference's table for them; None without such rows."""
    if held is None:
        return None
    models = with_reference(algorithm, models, held, range(len(held)), settings, world)
    return evaluator_of(algorithm, models, held, world)


def evaluator_of(algorithm: Algorithm, models: Models, held: Any, world: World = ALONE) -> Evaluator:
    """Loss and metrics on held-out rows, whenever called."""
    batches = [b.to(device_of(models)) for b in in_order(held, 64)]
    return lambda: evaluate(algorithm, models, batches, world)
