"""One training run, from settings to a run folder."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from burnish.algorithms.interface import Algorithm, name_of
from burnish.config import Settings, as_dict, build, checked, defaults
from burnish.config.build import values_of
from burnish.data import names
from burnish.options import quoted
from burnish.policies.interface import Models
from burnish.recipes.train.batches import length, offline, online, same_reference, streaming
from burnish.recipes.train.card import write_card
from burnish.recipes.train.centre import centre
from burnish.recipes.train.environment import clock_of, fingerprints, note_environment, note_models
from burnish.recipes.train.given import (
    NOTHING,
    Given,
    begun,
    calling,
    check_given,
    model_and_name,
    objects_of,
    saved,
)
from burnish.recipes.train.longer import LENGTH, as_begun, check_finished, check_longer, is_complete, reopen
from burnish.recipes.train.models import (
    count_trained,
    left_out,
    load_models,
    pick_device,
    say,
    warn_of_rounding,
    with_reward,
)
from burnish.recipes.train.monitor import monitored
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.rows import Data, read_data, streams_data
from burnish.recipes.train.several import check_config, check_models, check_shard, divide, in_turn, of_process, useless
from burnish.run import RunFolder, UserError, hushed, said_if_slow, without_keys, write_checksums
from burnish.run.follower import opened
from burnish.run.log import logged
from burnish.run.records import HARMLESS
from burnish.run.trackers import Trackers, check_installed
from burnish.run.world import ALONE, CONNECTION, joined
from burnish.training.language.learner import GradientLearner
from burnish.training.language.optimizer import check_optimizer, make_optimizer
from burnish.training.loop import out_of_patience, train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State, load_best, restore, start_from


def train(
    algorithm: Algorithm,
    *,
    data: Any = "builtin",
    eval_data: Any = None,
    model: Any = Settings.model,
    tokenizer: Any = None,
    on_step: Any = None,
    **options: Any,
) -> Path:
    """Train a language model with `algorithm` and return the run folder, which `burnish.load` reads.

    Args:
        algorithm: A built-in method, as `burnish.DPO(beta=0.1)`, or any frozen dataclass derived from
            `burnish.Algorithm`.
        data: A name as on the command line, a list of names (a mixture, `["a.jsonl:0.7", "b.jsonl:0.3"]`), a
            `datasets.Dataset` or `DatasetDict`, or any finite iterable of dicts. With `streaming` also a
            `datasets.IterableDataset`.
        eval_data: The same, to evaluate on during training.
        model: A name or folder, or a `transformers.PreTrainedModel` with its `tokenizer`. The object does not change: a
            copy of it is trained, in the `dtype` that the options say.
        tokenizer: The tokenizer of a model object.
        on_step: Called after each logged step with its number (from 1) and its metrics, a dict.
        **options: Every other field of `burnish.Settings`, as on the command line: `out`, the run folder to write,
            `steps`, `learning_rate` and so on; and those of the experience of an online method, such as `reward`, which
            may be a function. `experience=` takes an experience of your own instead.

    Returns:
        The run folder: `model/` in it loads in transformers.

    Raises:
        UserError: For invalid input, and where a reward or `on_step` raises.

    Example:
        >>> import burnish
        >>> rows = [{"prompt": "The film was", "chosen": " good.", "rejected": " bad."}] * 4
        >>> run = burnish.train(burnish.DPO(beta=0.1), data=rows, steps=2, batch_size=2, out="runs/pairs", quiet=True)
        >>> print(run)
        runs/pairs
    """
    if not isinstance(algorithm, Algorithm):
        raise UserError(f"algorithm must be an object such as burnish.DPO(beta=0.1), not {quoted(algorithm)}")
    model, name = model_and_name(model)
    known = names.text_of(data) or names.IN_MEMORY
    known_eval = None if eval_data is None else names.text_of(eval_data) or names.IN_MEMORY
    own = values_of(algorithm) | {"algorithm": name_of(algorithm)}
    if named := {"preset", "like"} & options.keys():
        raise UserError(f"{min(named)} is for configurations, as its options are the object's here: set them in it")
    if doubled := own.keys() & options.keys():
        raise UserError(f"{min(doubled)} belongs to the algorithm: set it there, as {type(algorithm).__name__}(…)")
    given = Given(data, eval_data, model, tokenizer, on_step)
    texts = {"data": known, "eval_data": known_eval, "model": name}
    algorithm, settings = build(type(algorithm), own | texts | options)
    return run_training(algorithm, settings, given)


def run_training(
    algorithm: Algorithm,
    settings: Settings,
    given: Given = NOTHING,
    change: Callable[[Models], None] | None = None,
) -> Path:
    """`train` with checked settings. The objects of `given` take the place of the settings' own text, and `change` is
    applied to the models before anything else is done."""
    world, quiet = joined(), settings.quiet
    settings = of_process(checked(algorithm, settings), given, world)
    if settings.out is None:
        raise UserError("give --out, the run folder to write")
    config, objects = as_dict(algorithm, settings), given.keys | objects_of(settings).keys()
    check_given(settings.out, config, objects)
    check_installed(settings.track.split(",") if settings.track else ())
    prepare_torch(settings)
    check_optimizer(settings, pick_device(settings.device))
    check_shard(settings, world)
    with (
        opened(settings.out, settings.resume, world) as run,
        logged(run.path, world),
        hushed(quiet),
        following(run, settings) as trackers,
    ):
        settings = replace(settings, quiet=quiet)  # what the other processes say goes to their logs
        check_given(run.path, begun(run), objects)
        if settings.streaming is None:
            known = begun(run).get("streaming", False) if run.resumed else None
            settings = replace(settings, streaming=streams_data(settings, given.data) if known is None else known)
            config = as_dict(algorithm, settings)
        free = HARMLESS | (LENGTH if settings.resume else set())
        if settings.sampler is not None and begun(run).get("sampler") is not None:
            free |= {"sampler"}  # the same sampler may have another address
        check_config(config, world)
        run.claim(config, free, defaults(algorithm, settings))
        if world.from_main(lambda: is_complete(run, settings)):
            say(settings, f"{run.path} is complete: nothing to resume")
            return run.path
        if settings.from_:
            check_finished(Path(settings.from_), settings)
        with saved(given, settings, run.path, run.resumed) as loaded, world.losing(CONNECTION):
            _train(algorithm, loaded, settings, given, change, run, trackers)
        world.barrier()  # until the model is written
    return run.path


def _train(
    algorithm: Algorithm,
    loaded: Settings,
    settings: Settings,
    given: Given,
    change: Callable[[Models], None] | None,
    run: RunFolder,
    trackers: Trackers,
) -> None:
    """`run_training` in an open folder; `loaded` are the settings with the place of a given model."""
    world = run.world
    with in_turn(settings, world), said_if_slow("loading the model", settings.quiet):
        models = load_models(algorithm, loaded)
    check_models(models, world)
    if settings.lora_rank is not None:
        say(settings, count_trained(models))
        if settings.lora_targets is None and (sentence := left_out(models)):
            say(settings, sentence)
    if rounding := warn_of_rounding(models):
        say(settings, rounding)
    if change is not None:
        change(models)
    rewarding = with_reward(models, loaded)
    found = fingerprints(models, rewarding.experience, rewarding.watch_rewards or ())
    note_models(run, settings, found)
    trained = models.main
    clock = world.from_main(lambda: clock_of(run, trained.tokenizer))
    data = settings.data if given.data is None else given.data
    held_data = settings.eval_data if given.eval_data is None else given.eval_data
    with world.main_first(), said_if_slow("reading and tokenising the data", settings.quiet):
        read = read_data(algorithm, settings, trained, data, held_data, clock)
    for data_set in read.named:
        say(settings, data_set.describe())
    for line in useless(settings, world, read.rows.plan):
        say(settings, line)
    note_environment(run, settings, read, found, clock)

    def follow(step: int) -> None:
        trackers.start(without_secrets(as_dict(algorithm, settings)), step)
        if given.on_step is not None:
            run.listeners.append(calling(given.on_step))

    models = _fit(algorithm, models, loaded, rewarding, run, follow, read)
    if settings.streaming:
        say(settings, read.rows.describe_read())
    if "scorer" in models:
        with models.gathered():
            if world.is_main:
                centre(models.scorer, read.rows, settings)
    if world.is_main or models.divided:
        finish(algorithm, models, settings, run, read.rows, read.held)


def finish(algorithm: Algorithm, models: Models, settings: Settings, run: RunFolder, rows: Any, held: Any) -> None:
    """Write the trained models, with checksums: the main process, or all that divide the weights."""
    together = run.world if models.divided else ALONE
    if "critic" in models:
        with run.replace_folder("critic") as folder:
            together.barrier()  # the folder is there
            models.critic.save(folder, settings.save_dtype)
    with run.replace_folder("model") as folder:  # last: it is what says that the run is complete
        together.barrier()
        models.main.save(folder, settings.save_dtype)
        if run.world.is_main:
            write_card(folder, models.main.tokenizer, algorithm, settings, rows, held, run.path / "metrics.jsonl")
            parts = {"model": folder} | ({"critic": run.path / "critic"} if "critic" in models else {})
            write_checksums(run.path, parts)


def _fit(
    algorithm: Algorithm,
    models: Models,
    settings: Settings,
    rewarding: Settings,
    run: RunFolder,
    follow: Callable[[int], None],
    data: Data,
) -> Models:
    """Reference, optimizer, resumption and the loop. `rewarding` are the settings with the reward itself; `follow` is
    called with the step from which the run goes on."""
    rows, world = data.rows, run.world
    earlier, count = world.from_main(lambda: as_begun(run, settings)), None if rows.plan is None else len(rows.plan)
    before, _ = length(algorithm, earlier, count)
    steps, per_epoch = length(algorithm, settings, count)
    check_longer(run, earlier, before, settings, steps)
    source: Any = streaming if settings.streaming else partial(online, run=run.path) if settings.experience else offline
    feed = source(algorithm, models, rewarding, data, steps, world)
    divide(feed.models, settings, world)
    optimizer = make_optimizer(feed.models, settings, world)
    tell = partial(say, settings)
    if steps > before:
        keep = settings.streaming or same_reference(algorithm, settings, rows, before, steps)
        if not keep:
            say(settings, "the reference's log-probabilities of more rows round in another way: training starts again")
        if world.is_main:
            reopen(run, settings, keep)
    state = restore(run, feed.models, optimizer, tell, steps, feed.past) if settings.resume else State()
    if settings.from_ and state.step == 0:
        start_from(Path(settings.from_), feed.models, optimizer, tell)
    if steps > before:
        say(settings, f"{run.path} goes on from step {state.step} to step {steps}")
    follow(state.step)
    learner = GradientLearner(algorithm, feed.models, optimizer, settings, steps, per_epoch, run, feed.past)
    learner.saved = state.step
    evaluator = monitored(feed.evaluator, feed.models, rewarding, data, run, state, tell)
    with Progress(name_of(algorithm).rpartition(":")[2].upper(), steps, state.step, settings.quiet) as progress:
        state = train_loop(
            feed.models,
            feed.batches(state),
            learner=learner,
            settings=settings,
            steps=steps,
            run=run,
            state=state,
            evaluator=evaluator,
            progress=progress,
        )
    learner.save_end(state)
    if out_of_patience(settings, state):
        say(settings, f"stopped after step {state.step}: no better evaluation in the last {settings.patience}")
    if settings.keeps_best:
        say(
            settings,
            f"the model has the weights of step {state.best_step}, with the lowest eval_loss, {state.best_loss:.4g}",
        )
        load_best(run, feed.models, state)
    return feed.models


def following(run: RunFolder, settings: Settings) -> Trackers:
    """The trackers of a run, which say what fails."""
    return Trackers(run, settings.track, partial(say, settings))


def without_secrets(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with its web addresses cut to host and path."""
    return {key: without_keys(value) if isinstance(value, str) else value for key, value in config.items()}
