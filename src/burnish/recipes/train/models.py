"""The models of a run: loaded, put on their device, and given their optimizer."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from burnish.algorithms.interface import Algorithm
from burnish.cache import cache_folder
from burnish.config import Settings, refuse
from burnish.data.walk import in_order
from burnish.options import shortened
from burnish.policies.interface import Distribution, Models
from burnish.policies.language.adapters import Lora, is_adapter, own_lora
from burnish.policies.language.frozen import freeze, keep_narrow
from burnish.policies.language.loading import Loading
from burnish.policies.language.lora_targets import without_adapter
from burnish.policies.language.neftune import Neftune
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.recompute import recompute_layers
from burnish.policies.language.reference import StartingAdapter, cached_reference
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.recipes.assets import resolve_model
from burnish.recipes.train.rewards import is_scorer, resolve_jury, resolve_reward, reward_folder
from burnish.run import UserError, printable
from burnish.run.world import ALONE, World, joined
from burnish.training.progress import Progress


def load_models(algorithm: Algorithm, settings: Settings) -> Models:
    """The models that `algorithm` and its experience use, as they are before the first update.

    A reference whose log-probabilities are read from a table is not loaded: see `with_reference`.
    """
    models = by_role(algorithm, settings)
    if settings.lora_rank is not None and settings.dtype == "float32":
        bases: Any = models.trained().values()
        for model in bases:
            if not model.divided:
                keep_narrow(model)
    if settings.gradient_checkpointing:
        trained: Any = models.trained().values()
        for model in trained:
            recompute_layers(model.model)
    return models


def by_role(algorithm: Algorithm, settings: Settings) -> Models:
    """The models of `load_models`, as they are in their files."""
    if "scorer" in algorithm.roles:
        return Models(scorer=checked_dtype(scorer(settings.model, settings)))
    policy, experience = checked_dtype(language(settings)), settings.experience
    policy.neftune = None if settings.neftune is None else Neftune(settings.neftune)
    models = Models(policy=policy)
    if experience is None:
        return models
    policy.temperature = experience.temperature
    if "reference" in (*experience.needs, *algorithm.needs):
        models = models.having(reference=starting_point(policy, settings))
    if "teacher" in algorithm.roles:
        models = models.having(teacher=teacher(policy, settings))
    return models.having(critic=critic(policy, settings)) if "critic" in algorithm.roles else models


def checked_dtype(model: Any) -> Any:
    """A model that is to be trained. Raises UserError for float16 weights, as `--dtype auto` may find them."""
    if model.model.dtype == torch.float16:
        raise UserError("the model was saved in float16, which is for sampling only: set dtype bfloat16 or float32")
    return model


def teacher(policy: LanguagePolicy, settings: Settings) -> LanguagePolicy:
    """The teacher that the experience names. Raises UserError where its tokens are not the policy's."""
    name = settings.experience.teacher_model
    loading = dataclasses.replace(loading_of(settings).elsewhere(), bits=None)
    device, precision = pick_device(settings.device), settings.precision
    found = load_policy(resolve_model(name), device, precision, None, settings.seed, loading)
    if found.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise UserError(f"the teacher {name} has a different tokenizer than the policy: use a model of its family")
    found.temperature = policy.temperature
    freeze(found, settings.dtype)
    return found


def critic(policy: LanguagePolicy, settings: Settings) -> LanguageScorer:
    """The critic as it starts: from the model that the experience names, the reward model, or the policy's model."""
    asked = settings.experience.critic_model
    rewarding = reward_folder(getattr(settings.experience, "reward", None))
    before = Path(settings.from_ or "") / "critic"
    if settings.from_ and not asked and before.exists():
        asked = str(before)
    name = asked or (rewarding if is_scorer(rewarding) else settings.model)
    found = scorer(name, settings, "--critic" if asked else "--reward" if name == rewarding else "--model")
    theirs = found.tokenizer.get_vocab()
    if asked and any(theirs.get(word) != number for word, number in policy.tokenizer.get_vocab().items()):
        raise UserError(
            f"the critic {name} has a different tokenizer than the policy: use a model of the policy's family"
        )
    return found


def language(settings: Settings) -> LanguagePolicy:
    """The policy before its first update."""
    model, device = resolve_model(settings.model), pick_device(settings.device)
    return load_policy(model, device, settings.precision, lora_of(settings), settings.seed, loading_of(settings))


def starting_point(policy: LanguagePolicy, settings: Settings) -> Distribution:
    """A reference that stays as the policy is now: a second model, or the starting adapter of a LoRA run."""
    if policy.adapter is not None:
        return StartingAdapter(policy)
    reference = language(settings)
    reference.temperature = policy.temperature
    freeze(reference, settings.dtype)
    return reference


def scorer(name: str, settings: Settings, option: str = "--model") -> LanguageScorer:
    """A reward model or critic before its first update.

    A critic that starts from an adapter trains that adapter further, whatever its rank.
    """
    model, lora = resolve_model(name), lora_of(settings)
    if lora and option != "--model" and is_adapter(model):
        lora = own_lora(Path(model), lora.dropout)
    loading = loading_of(settings) if name == settings.model else loading_of(settings).elsewhere()
    return load_scorer(model, pick_device(settings.device), settings.precision, settings.seed, option, lora, loading)


def with_reward(models: Models, settings: Settings) -> Settings:
    """The settings with the experience's reward itself in the place of its name, and so the reward models that it is
    watched with."""
    experience = settings.experience
    reward: Any = None
    if experience is not None and "reward" in experience.needs:
        reward = resolve_reward(experience.reward, models.policy, loading_of(settings))
        settings = dataclasses.replace(settings, experience=dataclasses.replace(experience, reward=reward))
    if settings.watch_rewards is None:
        return settings
    jury = resolve_jury(settings.watch_rewards, reward, models.policy, loading_of(settings))
    return dataclasses.replace(settings, watch_rewards=jury)


def loading_of(settings: Settings) -> Loading:
    """How the models of a run or a command are loaded. Raises UserError for options that exclude each other."""
    half = settings.dtype == "float16" and settings.precision != "float32"
    frozen = settings.resize_embeddings and settings.lora_rank is not None
    refuse(
        {
            "load_in_4bit and load_in_8bit cannot go together: give one of them": settings.load_in_4bit
            and settings.load_in_8bit,
            f"precision {settings.precision} and dtype float16 cannot go together: set both to bfloat16": half,
            "resize_embeddings and lora_rank cannot go together, as LoRA trains no new rows: leave one out": frozen,
        }
    )
    bits: Any = 4 if settings.load_in_4bit else 8 if settings.load_in_8bit else None
    world = joined() if settings.shard == "full" else ALONE
    resize = settings.resize_embeddings
    return Loading(settings.revision, settings.trust_remote_code, settings.dtype, bits, resize, world, settings.offload)


def lora_of(settings: Settings) -> Lora | None:
    """The LoRA options of a run; None where it trains all weights."""
    if settings.lora_rank is None:
        return None
    return Lora(settings.lora_rank, settings.lora_alpha, settings.lora_dropout, settings.lora_targets)


def count_trained(models: Models) -> str:
    """The number of trainable parameters, as a line for the terminal."""
    trained: Any = models.trained().values()
    moving = sum(p.numel() for model in trained for p in model.parameters().values())
    every = sum(model.model.num_parameters() for model in trained)  # counts the two halves of a byte of 4-bit weights
    return f"trainable parameters {moving:,} of {every:,}"


def left_out(models: Models) -> str:
    """Which of the layers' weights have no adapter in a LoRA run, as a line for the terminal; "" if all have one."""
    share, names = without_adapter(models.main.model)
    return f"LoRA leaves out {100 * share:.2g} % of the layers' weights: {', '.join(names)}" if names else ""


def warn_of_rounding(models: Models) -> str | None:
    """A line for the terminal where bfloat16 weights are trained themselves."""
    parameters = (p for model in models.trained().values() for p in model.parameters().values())
    if not any(p.dtype == torch.bfloat16 for p in parameters):
        return None
    return (
        "the weights are trained in bfloat16, where updates below about 1/256 of a weight are lost: --lora-rank trains "
        "float32 adapters beside them"
    )


def device_of(models: Models) -> torch.device:
    """The device of the trained models."""
    trained: Any = models.trained().values()
    return next(model.device for model in trained)


def with_reference(
    algorithm: Any, models: Models, rows: Any, seen: Sequence[int], settings: Settings, world: World = ALONE
) -> Models:
    """The models with the reference's table for these rows: the policy's log-probabilities before its first update."""
    if "reference" not in algorithm.roles:
        return models
    policy: LanguagePolicy = models.policy
    with Progress("reference", -(-len(seen) // 64), quiet=settings.quiet) as progress:
        batches = lambda: (progress.passing(b.to(policy.device)) for b in in_order(rows, 64, seen))  # noqa: E731
        # The same ids may belong to other rows of the user's data, if rows before them were dropped.
        fingerprint = " ".join([rows.fingerprint, *map(str, rows.dataset.select(seen)["row"])])
        cache = cache_folder() / "reference"
        return models.having(reference=cached_reference(policy, batches, fingerprint, cache, world))


def pick_device(device: str) -> str:
    """The device to use; "auto" is a GPU if there is one. Raises UserError for an unavailable device."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"--device {shortened(device)}: PyTorch finds no such device here; give --device cpu"
        ) from error
    return device


def say(settings: Settings, sentence: str) -> None:
    if not settings.quiet:
        print(printable(sentence), file=sys.stderr)
