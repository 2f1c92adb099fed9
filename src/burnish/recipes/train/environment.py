"""What a run depends on, noted when it begins and compared when it is resumed: models, data, versions."""

import json
import platform
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import torch

from burnish.config import Settings
from burnish.data.rendering import tells_time
from burnish.policies.interface import Models
from burnish.policies.language.fingerprint import fingerprint
from burnish.policies.language.precision import resolved
from burnish.recipes.train.given import hashes
from burnish.recipes.train.models import pick_device, say
from burnish.recipes.train.rewards import reward_models
from burnish.recipes.train.rows import Data
from burnish.rewards.model import ModelReward
from burnish.run import RunFolder, UserError, config_differences, read_mapping, write_atomically
from burnish.run.folder import MODELS
from burnish.run.versions import version, versions

READERS = ("transformers", "tokenizers", "peft")
"""Packages that may read the same files in another way from one version to the next."""

Fingerprints = dict[str, dict[str, Any]]


def fingerprints(models: Models, experience: Any, jury: Sequence[ModelReward] = ()) -> Fingerprints:
    """The fingerprint of every model of a run, those of the experience's reward and of the `jury` that it is watched
    with among them, before the first update.

    A reference is the policy as it is then.
    """
    found = {"reward model" if part == "scorer" else part: model for part, model in models.trained().items()}
    if "teacher" in models:
        found["teacher"] = models.teacher
    rewards = [] if experience is None or "reward" not in experience.needs else [*reward_models(experience.reward)]
    found |= {f"reward model {one.name}": one.scorer for one in (*rewards, *jury)}
    return {name: fingerprint(model) for name, model in found.items()}


def note_models(run: RunFolder, settings: Settings, now: Fingerprints) -> None:
    """Record the models that a new run begins with; a resumed run must begin with the same.

    Raises UserError that says which part of which model is another. Where another version of a package reads the files,
    a difference may be due to that, and a warning says so. A run of an older version recorded none.
    """
    path = run.path / MODELS
    if not run.world.is_main:
        return
    if not run.resumed:
        write_atomically(path, json.dumps(now, indent=2) + "\n")
        return
    if not path.exists() or not (differences := model_differences(read_mapping(path), now)):
        return
    then = run.noted().get("packages", {})
    if any(then.get(name) != version(name) for name in READERS):
        say(settings, f"warning: with other versions of {', '.join(READERS)}, {', '.join(differences)}")
        return
    raise UserError(
        f"{run.path} was begun with other models, {', '.join(differences)}: restore them or choose another --out"
    )


def model_differences(then: Fingerprints, now: Fingerprints) -> list[str]:
    """Phrases that say which part of which model is another."""
    phrases = []
    for name in {**then, **now}:
        before, after = then.get(name, {}), now.get(name, {})
        for part in {**before, **after}:
            if before.get(part) != after.get(part):
                what = part.removesuffix("_sha256").replace("_", " ")
                inside = differing(before.get(part), after.get(part))
                phrases.append(f"the {what} of the {name}" + (f", {inside}," if inside else ""))
    return [phrase.rstrip(",") for phrase in phrases]


def differing(before: Any, after: Any) -> str:
    """The keys in which two configurations differ; "" for hashes."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return ""
    return " and ".join(config_differences(before, after, free=()))


def clock_of(run: RunFolder, tokenizer: Any) -> datetime | None:
    """The time at which a chat template that writes it is rendered: when the run began, also where it is resumed."""
    if not tells_time(str(tokenizer.chat_template)):
        return None
    noted = run.noted().get("clock")
    return datetime.fromisoformat(noted) if noted else datetime.now()


def note_environment(
    run: RunFolder, settings: Settings, data: Data, models: Fingerprints, clock: datetime | None
) -> None:
    """Record versions and hashes that the result depends on, or compare them in a resumed run."""
    packages = ["burnish", "torch", "transformers", "tokenizers", "datasets", "safetensors", "peft", "numpy"]
    if settings.load_in_4bit or settings.load_in_8bit or settings.optimizer == "adamw_8bit":
        packages.append("bitsandbytes")
    weights = {name: found["weights_sha256"] for name, found in models.items()}
    now = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(*packages),
        "device": pick_device(settings.device),
        "threads": torch.get_num_threads(),
        "seed": settings.seed,
        "data_sha256": data.rows.fingerprint,
        "eval_data_sha256": None if data.held is None else data.held.fingerprint,
        "model_sha256": next(iter(weights.values())),
    }
    if settings.precision == "auto":
        now["precision"] = resolved("auto", now["device"])
    if clock is not None:
        now["clock"] = clock.isoformat()
    if settings.streaming:
        now["data_files_sha256"] = data.rows.files_digest
    if data.texts is not None:
        now["ptx_data_sha256"] = data.texts.fingerprint
    watched = {"prompts": data.prompts, "labels": data.labels}
    now |= {f"watch_{name}_sha256": one.fingerprint for name, one in watched.items() if one is not None}
    if "critic" in weights:
        now["critic_sha256"] = weights["critic"]
    now |= hashes(settings)
    if run.world.size > 1:
        now["processes"] = run.world.size
    run.world.check_same(now | {"models": models})
    if differences := run.describe(now):
        say(settings, f"resumed in a different environment, so not to the same bits: {', '.join(differences)}")
