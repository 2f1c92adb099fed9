"""One training run, from settings to a run folder."""

import platform
from collections.abc import Callable
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers

from burnish.algorithms.interface import Algorithm, name_of
from burnish.config import Settings, as_dict, build, checked
from burnish.config.build import values_of
from burnish.data import builtin, names, tokenise
from burnish.data.rendering import tells_time
from burnish.data.walk import in_order
from burnish.evaluation.reward_models import centre_on
from burnish.policies.interface import Models
from burnish.policies.language.reference import weights_hash
from burnish.recipes.train.batches import length, offline, online, streaming
from burnish.recipes.train.card import write_card
from burnish.recipes.train.models import (
    adamw,
    count_trained,
    left_out,
    load_models,
    pick_device,
    say,
    warn_of_rounding,
)
from burnish.recipes.train.rows import evaluation_rows, first_responses, streamed, tokenised
from burnish.run import RunFolder, UserError, threads_allowed
from burnish.training.language.learner import GradientLearner
from burnish.training.loop import out_of_patience, train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State, load_best, restore


def train(algorithm: Algorithm, *, data: Any = "builtin", eval_data: Any = None, **options: Any) -> Path:
    """Train a language model with `algorithm` and return the run folder.

    `train(DPO(beta=0.1), model="gpt2", data="pairs.jsonl", out="runs/dpo")`. `algorithm` is a built-in method, or any
    frozen dataclass derived from `burnish.Algorithm`. Every option is a field of `burnish.config.Settings`, as on the
    command line, or of the experience of an online method; `experience=` takes an experience of your own instead.
    `data` and `eval_data` may also be a `datasets.Dataset`, a list of rows, or a list of names, which is a mixture:
    `data=["a.jsonl:0.7", "b.jsonl:0.3"]`. With `streaming` it may be a `datasets.IterableDataset`.
    Raises UserError for invalid input.
    """
    known = names.text_of(data) or names.IN_MEMORY
    known_eval = None if eval_data is None else names.text_of(eval_data) or names.IN_MEMORY
    own = values_of(algorithm) | {"algorithm": name_of(algorithm)}
    if doubled := own.keys() & options.keys():
        raise UserError(f"{min(doubled)} belongs to the algorithm: set it there, as {type(algorithm).__name__}(…)")
    algorithm, settings = build(type(algorithm), own | {"data": known, "eval_data": known_eval} | options)
    return run_training(algorithm, settings, data, eval_data)


def run_training(
    algorithm: Algorithm,
    settings: Settings,
    data: Any = None,
    eval_data: Any = None,
    change: Callable[[Models], None] | None = None,
) -> Path:
    """`train` with checked settings; `data` replaces the settings' own where it is in memory, and `change` is applied
    to the models before anything else is done."""
    settings = checked(algorithm, settings)
    if settings.out is None:
        raise UserError("give --out, the run folder to write")
    prepare_torch(settings)
    with RunFolder.open(settings.out, resume=settings.resume) as run:
        run.claim(as_dict(algorithm, settings))
        if (run.path / "model").exists():
            say(settings, f"{run.path} is complete: nothing to resume")
            return run.path
        models = load_models(algorithm, settings)
        if settings.lora_rank is not None:
            say(settings, count_trained(models))
            if settings.lora_targets is None and (sentence := left_out(models)):
                say(settings, sentence)
        if rounding := warn_of_rounding(models):
            say(settings, rounding)
        if change is not None:
            change(models)
        trained = models.main
        clock = clock_of(run, trained.tokenizer)
        given = settings.data if data is None else data
        rows = (
            streamed(algorithm, settings, trained, given, clock)
            if settings.streaming
            else tokenised(algorithm, settings, trained, given, "train", clock)
        )
        held_data = settings.eval_data if eval_data is None else eval_data
        held = evaluation_rows(algorithm, settings, trained, held_data, clock)
        for data_set in (rows, held):
            if data_set is not None:
                say(settings, data_set.describe())
        note_environment(run, settings, rows, held, models, clock)
        models = _fit(algorithm, models, settings, run, rows, held)
        if settings.streaming:
            say(settings, rows.describe_read())
        if "scorer" in models:
            centre(models.scorer, rows, settings)
        if "critic" in models:
            with run.replace_folder("critic") as folder:
                models.critic.save(folder)
        with run.replace_folder("model") as folder:  # last: it is what says that the run is complete
            trained.save(folder)
            write_card(folder, trained.tokenizer, algorithm, settings, rows, held, run.path / "metrics.jsonl")
    return run.path


def _fit(algorithm: Algorithm, models: Models, settings: Settings, run: RunFolder, rows: Any, held: Any) -> Models:
    """Reference, optimizer, resumption and the loop."""
    steps, per_epoch = length(algorithm, settings, None if settings.streaming else len(rows.plan))
    source = streaming if settings.streaming else online if settings.experience else offline
    feed = source(algorithm, models, settings, rows, held, steps)
    optimizer = adamw(feed.models, settings)
    tell = partial(say, settings)
    state = restore(run, feed.models, optimizer, tell) if settings.resume else State()
    learner = GradientLearner(algorithm, feed.models, optimizer, settings, steps, per_epoch, run)
    with Progress(name_of(algorithm).upper(), steps, state.step, settings.quiet) as progress:
        state = train_loop(
            feed.models,
            feed.batches(state),
            learner=learner,
            settings=settings,
            steps=steps,
            run=run,
            state=state,
            evaluator=feed.evaluator,
            progress=progress,
        )
    if settings.patience:
        if out_of_patience(settings, state):
            say(settings, f"stopped after step {state.step}: no better evaluation in the last {settings.patience}")
        load_best(run, feed.models)
    return feed.models


def centre(scorer: Any, rows: Any, settings: Settings) -> None:
    """Centre the scores on demonstrations: the built-in ones, or the chosen responses of the user's comparisons."""
    label = "the built-in demonstrations"
    if settings.data == "builtin":
        demonstrations = builtin.demonstrations("train")
        texts = tokenise.demonstrations(demonstrations, scorer.tokenizer, settings.max_length, label)
        batches: Any = in_order(texts, 64)
    else:
        label = "the chosen responses"
        if settings.streaming:
            rows, label = rows.streams[0].start.rows, f"the first chosen responses of {rows.streams[0].name}"
        batches = (first_responses(batch) for batch in in_order(rows, 64))
    mean = centre_on(scorer, batches)
    say(settings, f"scores are centred on {label}, which scored {mean:.3f} on average before and score 0 now")


def clock_of(run: RunFolder, tokenizer: Any) -> datetime | None:
    """The time at which a chat template that writes it is rendered: when the run began, also where it is resumed."""
    if not tells_time(str(tokenizer.chat_template)):
        return None
    noted = run.noted().get("clock")
    return datetime.fromisoformat(noted) if noted else datetime.now()


def note_environment(
    run: RunFolder, settings: Settings, rows: Any, held: Any, models: Models, clock: datetime | None
) -> None:
    """Record versions and hashes that the result depends on, or compare them in a resumed run."""
    packages = ["burnish", "torch", "transformers", "tokenizers", "datasets", "safetensors", "peft", "numpy"]
    if settings.load_in_4bit or settings.load_in_8bit:
        packages.append("bitsandbytes")
    now = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages},
        "device": pick_device(settings.device),
        "threads": torch.get_num_threads(),
        "seed": settings.seed,
        "data_sha256": rows.fingerprint,
        "eval_data_sha256": None if held is None else held.fingerprint,
        "model_sha256": weights_hash(models.main.model),
    }
    if clock is not None:
        now["clock"] = clock.isoformat()
    if settings.streaming:
        now["data_bytes"] = rows.file_bytes
    if "critic" in models:
        now["critic_sha256"] = weights_hash(models.critic.model)
    if differences := run.describe(now):
        say(settings, f"resumed in a different environment, so not to the same bits: {', '.join(differences)}")


def prepare_torch(settings: Settings) -> None:
    """Threads and determinism: the same machine, versions and thread count give the same bits."""
    if settings.threads:
        refuse_threads(settings.threads)
        torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    transformers.utils.logging.disable_progress_bar()  # the bars that matter are ours


def refuse_threads(count: int) -> None:
    """Raise UserError if the system does not let this process have so many threads: PyTorch would abort."""
    if (allowed := threads_allowed(count)) < count:
        raise UserError(f"--threads {count}: the system allows no more than {allowed}; give fewer")
