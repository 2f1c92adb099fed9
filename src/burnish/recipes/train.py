"""One training run, from settings to a run folder."""

import dataclasses
import platform
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers

from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.config import Settings, as_dict, build, checked
from burnish.data import builtin, sources, tokenise
from burnish.data.corpora import cache_folder
from burnish.data.walk import batches_per_epoch, in_order, visited, walk
from burnish.policies.interface import Models
from burnish.policies.language import LanguagePolicy, load_policy
from burnish.policies.reference import cached_reference, weights_hash
from burnish.recipes.assets import resolve_model
from burnish.run import RunFolder, UserError
from burnish.training.loop import out_of_patience, train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State, load_best, restore
from burnish.training.step import evaluate

IN_MEMORY = "(in memory)"


def train(algorithm: Any, *, data: Any = "builtin", eval_data: Any = None, **options: Any) -> Path:
    """Train a language model with `algorithm` and return the run folder.

    `train(DPO(beta=0.1), model="gpt2", data="pairs.jsonl", out="runs/dpo")`. Every option is a field of
    `burnish.config.Settings`, as on the command line. `data` and `eval_data` may also be a `datasets.Dataset` or a
    list of rows. Raises UserError where the input is at fault.
    """
    known = data if isinstance(data, str | Path) else IN_MEMORY
    known_eval = eval_data if isinstance(eval_data, str | Path | None) else IN_MEMORY
    own = dataclasses.asdict(algorithm) | {"algorithm": name_of(algorithm)}
    if doubled := own.keys() & options.keys():
        raise UserError(f"{min(doubled)} belongs to the algorithm: give it there, as {type(algorithm).__name__}(…)")
    algorithm, settings = build(name_of(algorithm), own | {"data": known, "eval_data": known_eval} | options)
    return run_training(algorithm, settings, data, eval_data)


def run_training(algorithm: Any, settings: Settings, data: Any = None, eval_data: Any = None) -> Path:
    """`train` with checked settings; `data` stands in for the settings' own where it lives in memory."""
    settings = checked(algorithm, settings)
    if settings.out is None:
        raise UserError("give --out, the run folder to write")
    prepare_torch(settings)
    with RunFolder.open(settings.out, resume=settings.resume) as run:
        run.claim(as_dict(algorithm, settings))
        if (run.path / "model").exists():
            say(settings, f"{run.path} is complete: nothing to resume")
            return run.path
        policy = load_policy(resolve_model(settings.model), pick_device(settings.device), settings.precision)
        rows = tokenised(algorithm, settings, policy, settings.data if data is None else data, "train")
        held = evaluation_rows(algorithm, settings, policy, settings.eval_data if eval_data is None else eval_data)
        for data_set in (rows, held):
            if data_set is not None:
                say(settings, data_set.describe())
        note_environment(run, settings, rows, held, weights_hash(policy.model))
        _fit(algorithm, policy, settings, run, rows, held)
        with run.replace_folder("model") as folder:
            policy.save(folder)
    return run.path


def _fit(algorithm: Any, policy: LanguagePolicy, settings: Settings, run: RunFolder, rows: Any, held: Any) -> None:
    """Reference, optimizer, resumption and the loop."""
    per_epoch = batches_per_epoch(len(rows), settings.batch_size)
    steps = settings.steps or max(1, round((settings.epochs or 1.0) * per_epoch))
    if settings.warmup >= max(1, steps):
        raise UserError(f"a warmup of {settings.warmup:g} steps never ends in a run of {steps}: make it shorter")
    seen = visited(len(rows), settings.batch_size, settings.seed, steps)
    models = with_reference(algorithm, policy, rows, seen, settings)
    evaluator = None
    if held is not None:
        everything = range(len(held))
        evaluator = evaluator_of(algorithm, with_reference(algorithm, policy, held, everything, settings), held)
    optimizer = adamw(policy, settings)
    state = restore(run, models, optimizer, lambda sentence: say(settings, sentence)) if settings.resume else State()
    with Progress(name_of(algorithm).upper(), steps, state.step, settings.quiet) as progress:
        state = train_loop(
            algorithm,
            models,
            (b.to(policy.device) for b in walk(rows, settings.batch_size, settings.seed, state.step)),
            settings=settings,
            steps=steps,
            steps_per_epoch=per_epoch,
            run=run,
            state=state,
            optimizer=optimizer,
            evaluator=evaluator,
            progress=progress,
        )
    if settings.patience:
        if out_of_patience(settings, state):
            say(settings, f"stopped after step {state.step}: no better evaluation in the last {settings.patience}")
        load_best(run, models)


def adamw(policy: LanguagePolicy, settings: Settings) -> torch.optim.AdamW:
    """AdamW; weight decay shrinks matrices alone, not biases and norms."""
    parameters = list(policy.parameters().values())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate or 0.0, fused=True)


def with_reference(
    algorithm: Any, policy: LanguagePolicy, rows: Any, seen: Sequence[int], settings: Settings
) -> Models:
    """The models of a run that sees these rows. The reference is the policy as it is now, before its first update."""
    if not ALGORITHMS[name_of(algorithm)].reference:
        return Models(policy)
    with Progress("reference", -(-len(seen) // 64), quiet=settings.quiet) as progress:
        batches = lambda: (progress.passing(b.to(policy.device)) for b in in_order(rows, 64, seen))  # noqa: E731
        # The same ids may stand in other rows of the user's data, where some before them were dropped.
        fingerprint = " ".join([rows.fingerprint, *map(str, rows.dataset.select(seen)["row"])])
        return Models(policy, cached_reference(policy, batches, fingerprint, cache_folder() / "reference"))


def evaluator_of(algorithm: Any, models: Models, held: Any) -> Callable[[], dict[str, float]]:
    """Loss and metrics on held rows, whenever called."""
    batches = [b.to(next(iter(models.policy.parameters().values())).device) for b in in_order(held, 64)]
    return lambda: evaluate(algorithm, models, batches)


def tokenised(algorithm: Any, settings: Settings, policy: LanguagePolicy, data: Any, part: str) -> Any:
    """The data of `settings` as the trainer sees it; `part` picks a split of the built-in data."""
    kind = ALGORITHMS[name_of(algorithm)].data
    if data == "builtin":
        dataset = builtin.demonstrations(part) if kind == "demonstrations" else builtin.comparisons(part)
        label = f"the built-in {kind}, {part}"
    else:
        dataset = sources.load(data)
        label = str(data) if isinstance(data, str | Path) else IN_MEMORY
    limit = min(settings.max_length, policy.context or settings.max_length)
    if part == "train" and limit < settings.max_length != Settings.max_length:
        say(settings, f"--max-length {settings.max_length}: the model's context, {limit} tokens, is the limit")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        rows = getattr(tokenise, kind)(dataset, policy.tokenizer, limit, label)
    for warning in told:
        say(settings, f"warning: {warning.message}")
    return rows


def evaluation_rows(algorithm: Any, settings: Settings, policy: LanguagePolicy, data: Any) -> Any:
    """Evaluation data: what was given; the validation part of the built-in data, where that is trained on; or none."""
    if data is None and settings.data != "builtin":
        return None
    return tokenised(algorithm, settings, policy, "builtin" if data is None else data, "validation")


def note_environment(run: RunFolder, settings: Settings, rows: Any, held: Any, model_sha256: str) -> None:
    """Write down, or compare, what the result depends on beside the configuration."""
    packages = ("burnish", "torch", "transformers", "tokenizers", "datasets", "safetensors", "numpy")
    now = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages},
        "device": pick_device(settings.device),
        "threads": torch.get_num_threads(),
        "seed": settings.seed,
        "data_sha256": rows.fingerprint,
        "eval_data_sha256": None if held is None else held.fingerprint,
        "model_sha256": model_sha256,
    }
    if differences := run.describe(now):
        say(settings, f"resumed elsewhere, so not to the same bits: {', '.join(differences)}")


def pick_device(device: str) -> str:
    """The device that "auto" stands for. Raises UserError for one that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device {device}: PyTorch finds no such device here; give --device cpu") from error
    return device


def prepare_torch(settings: Settings) -> None:
    """Threads and determinism: the same machine, versions and thread count give the same bits."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    transformers.utils.logging.disable_progress_bar()  # the bars that matter are ours


def say(settings: Settings, sentence: str) -> None:
    if not settings.quiet:
        print(sentence, file=sys.stderr)
