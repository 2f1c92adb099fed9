"""What `import burnish` offers for models that are there: `evaluate`, `sample` and `compare`; for `load` see `load.py`.

They are the commands of the same names. Options that they share with training, such as `seed`, `device`, `dtype` and
`quiet`, are those of `burnish.Settings`.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.algorithms.interface import Algorithm
from burnish.config import Settings, construct
from burnish.data import names, sources
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.recipes.compare import Comparison
from burnish.recipes.compare import compare as compare_models
from burnish.recipes.control.evaluate import evaluated
from burnish.recipes.control.load import is_control, refuse_other
from burnish.recipes.evaluate.ensemble import evaluate_named
from burnish.recipes.evaluate.run import build_from
from burnish.recipes.sample import Samples, sample_model
from burnish.recipes.train.given import Given, model_and_name, save
from burnish.recipes.train.models import loading_of, pick_device
from burnish.run import UserError, hushed, read_jsonl

SHARED = (
    *("revision", "trust_remote_code", "dtype", "load_in_4bit", "load_in_8bit", "precision"),
    *("seed", "max_length", "device", "threads", "quiet", "debug"),
)
"""The settings of training that the other functions share."""


@dataclass(frozen=True)
class LoadedRun:
    """A finished training run.

    `policy` is its language model; of a run of `burnish reward` that is None, and `scorer` is the reward model.
    `algorithm` and `settings` are those that it was trained with, and `metrics` has one dict per logged step.
    """

    folder: Path
    policy: LanguagePolicy | None
    scorer: LanguageScorer | None
    algorithm: Algorithm
    settings: Settings = field(repr=False)
    metrics: list[dict[str, Any]] = field(repr=False)

    @property
    def model(self) -> PreTrainedModel:
        """The trained model, in evaluation mode as transformers loads it; an adapter is merged into its weights."""
        part: Any = self.policy or self.scorer
        return part.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        part: Any = self.policy or self.scorer
        return part.tokenizer


def load_language(run: str | Path, options: dict[str, Any]) -> LoadedRun:
    """`burnish.load` of a language model's run."""
    folder, base = Path(path_of(run)), all_shared(options, "load")
    with hushed(base.quiet):
        return loaded(folder, base)


def loaded(folder: Path, base: Settings) -> LoadedRun:
    """`load_language` with checked options."""
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} is not a run: give the folder that `burnish.train` returned, or --out named")
    if not (folder / "model").is_dir():
        raise UserError(
            f"{folder} has no finished model: give the folder of a finished run, or finish it with --resume"
        )
    algorithm, settings = build_from(folder)
    scoring, device = "scorer" in algorithm.roles, pick_device(base.device)
    reading: Any = load_scorer if scoring else load_policy
    part = reading(folder / "model", device, base.precision, loading=loading_of(base))
    part.dropout(False)
    metrics = read_jsonl(folder / "metrics.jsonl")
    return LoadedRun(folder, None if scoring else part, part if scoring else None, algorithm, settings, metrics)


def evaluate(
    run: str | Path | LoadedRun,
    data: Any = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    reward: Any = None,
    environment: Any = None,
    prefixes: int | None = None,
    max_new_tokens: int | None = None,
    samples_per_prompt: int | None = None,
    episodes: int | None = None,
    env_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Evaluate a finished run on held-out data, and write the results into its folder and its model card.

    A run of `burnish.classic` is evaluated on new episodes, see `recipes.control.evaluate`.

    Args:
        run: The run folder, or what `burnish.load` returned.
        data: A name as on the command line, a `datasets.Dataset`, or an iterable of dicts; default: the run's
            `eval_data`, or the built-in held-out part.
        model: The model object that the run began with, if it was one, and its `tokenizer`.
        tokenizer: The tokenizer of that model.
        reward: The reward that the run learned from, if it was an object in memory.
        environment: The environment that answered it, if that was one.
        prefixes: How many prompts are completed.
        max_new_tokens: The longest completion in tokens.
        samples_per_prompt: How often each prompt is answered, where answers can be checked; default 64.
        episodes: Of a run of `burnish.classic`, how many each policy plays; default 100.
        env_options: Of such a run, options of the environment beside its own.
        **options: `seed`, `device`, `threads`, `quiet`, `trust_remote_code`.

    Returns:
        What `evaluation.json` says: losses, accuracies, scores and KL divergences, with 95 % intervals.

    Raises:
        UserError: For a run that is not finished, and for invalid data.

    Example:
        >>> import burnish
        >>> found = burnish.evaluate("runs/sft", [{"text": "The film was good."}], quiet=True)
        >>> found["rows"], found["perplexity"] > 1
        (1, True)
    """
    control, folder_name = {"episodes": episodes, "env_options": env_options}, Path(path_of(run))
    if is_control(folder_name):
        own = {"data": data, "model": model, "tokenizer": tokenizer, "reward": reward, "environment": environment}
        own |= {"prefixes": prefixes, "max_new_tokens": max_new_tokens, "samples_per_prompt": samples_per_prompt}
        return evaluated(folder_name, control, own | options)
    refuse_other(control, control=False)
    base = all_shared(options, "evaluate")
    given = {"reward": reward, "environment": environment}
    objects = {name: one for name, one in given.items() if one is not None}
    with hushed(base.quiet), folder_of(model, tokenizer) as folder:
        if folder:
            objects["model"] = folder
        return evaluate_named(folder_name, rows_of(data), prefixes, base, max_new_tokens, objects, samples_per_prompt)


def sample(
    model: Any, data: Any = "builtin", n: int = 1, reward: Any = None, *, tokenizer: Any = None, **options: Any
) -> Samples:
    """Sample completions of prompts, or the best of `n` by a reward.

    Args:
        model: A name, a folder, a run folder, what `burnish.load` returned, or a `transformers.PreTrainedModel` with
            its `tokenizer`.
        data: Prompts: a name as on the command line, a `datasets.Dataset`, or an iterable of dicts with `prompt`.
        n: Completions of each prompt.
        reward: What picks the best of them: a reward model's folder, "gold", "lexicon", "module:function", or a
            function of prompts and responses.
        tokenizer: The tokenizer of a model object.
        **options: Those of `burnish sample`, such as `max_new_tokens`, `temperature`, `limit`, `out` and `seed`.

    Returns:
        `Samples`: `lines`, a dict per prompt with its `completion`; `summary`; and all `scores`.

    Raises:
        UserError: For invalid input, and for a reward that fails.

    Example:
        >>> import burnish
        >>> found = burnish.sample("runs/sft", [{"prompt": "The film was"}], max_new_tokens=4, quiet=True)
        >>> found.lines[0]["prompt"], type(found.lines[0]["completion"]).__name__
        ('The film was', 'str')
    """
    base = shared(options)
    with hushed(base.quiet), folder_of(model, tokenizer) as folder:
        found = sample_model(folder or path_of(model), rows_of(data), n, reward, base=base, **options)
    return dataclasses.replace(found, summary=found.summary | {"model": named(model)})


def compare(a: Any, b: Any, data: Any = "builtin", judge: Any = None, **options: Any) -> Comparison:
    """Let two models answer the same prompts, and a judge say which answer is better.

    Args:
        a: The first model: a name, a folder, a run folder, or what `burnish.load` returned.
        b: The second model.
        data: Prompts, as in `burnish.sample`.
        judge: "gold", "lexicon", a reward model's folder, "module:function", a server's URL, or a function of
            prompts and the answers of both, whose number is positive where the first is better; default: gold on
            built-in data, and else nobody.
        **options: Those of `burnish compare`, such as `prompts`, `max_new_tokens`, `temperature`, `out` and `seed`.

    Returns:
        `Comparison`: `found`, the totals with 95 % intervals, and `rows`, a dict per prompt.

    Raises:
        UserError: For invalid input, and for a judge that fails.

    Example:
        >>> import burnish
        >>> def shorter(prompts, a, b):
        ...     return [len(y) - len(x) for x, y in zip(a, b)]
        >>> prompts = [{"prompt": "The film was"}, {"prompt": "The plot was"}]
        >>> found = burnish.compare("runs/sft", "runs/dpo", prompts, shorter, max_new_tokens=4, quiet=True)
        >>> found.found["names"], len(found.rows)
        (['sft', 'dpo'], 2)
    """
    base = shared(options)
    with hushed(base.quiet):
        return compare_models(path_of(a), path_of(b), rows_of(data), judge, base=base, **options)


def shared(options: dict[str, Any]) -> Settings:
    """Take the options of `SHARED` out of `options`, as settings. Raises UserError for a wrong value."""
    return construct(Settings, {key: options.pop(key) for key in SHARED if key in options})


def all_shared(options: dict[str, Any], function: str) -> Settings:
    """Options that are all shared ones, as settings. Raises UserError for any other."""
    base = shared(options)
    if options:
        raise UserError(f"burnish.{function} has no option {min(options)}")
    return base


def path_of(model: Any) -> str:
    """The name or folder of a model, or the folder of a loaded run."""
    if isinstance(model, LoadedRun):
        return str(model.folder)
    if isinstance(model, str | Path):
        return str(model)
    raise UserError(
        f"give a name, a folder, or what burnish.load returned, not an object of type {type(model).__name__}"
    )


def named(model: Any) -> str:
    """How results name a model."""
    return model_and_name(model)[1] if isinstance(model, PreTrainedModel) else path_of(model)


@contextlib.contextmanager
def folder_of(model: Any, tokenizer: Any) -> Iterator[str | None]:
    """A temporary folder with a model object; None for anything else."""
    if not isinstance(model, PreTrainedModel):
        if tokenizer is not None:
            raise UserError("tokenizer goes with a model object; a model by name has its own: leave it out")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="burnish-") as folder:
        save(Given(model=model, tokenizer=tokenizer), Path(folder))
        yield folder


def rows_of(data: Any) -> Any:
    """Data as the commands take them: a text, a data set, or None; an iterable is read once."""
    return None if data is None else names.text_of(data) or sources.load(data)
