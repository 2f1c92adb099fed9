"""What `burnish evaluate` finds of several reward models that score as one."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.config import Settings
from burnish.policies.language.frozen import freeze
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.recipes.assets import check_intact
from burnish.recipes.evaluate.reward import scorer_findings
from burnish.recipes.evaluate.run import build_from, data_for, evaluate_run, named
from burnish.recipes.together import together
from burnish.recipes.train.models import loading_of, pick_device
from burnish.recipes.train.prepare import prepare_torch
from burnish.rewards.ensemble import combined, read_ensemble
from burnish.rewards.model import check_same_tokenizer
from burnish.run import UserError


@dataclass(frozen=True)
class Jury:
    """Scorers that answer as one: a score is what `combined` makes of theirs."""

    members: tuple[LanguageScorer, ...]
    how: str
    penalty: float

    @property
    def tokenizer(self) -> Any:
        return self.members[0].tokenizer

    @property
    def device(self) -> torch.device:
        return self.members[0].device

    @property
    def context(self) -> int | None:
        """The longest row that all of them can read."""
        known = [member.context for member in self.members if member.context is not None]
        return min(known, default=None)

    def check_token(self, token: int, place: str) -> None:
        for member in self.members:
            member.check_token(token, place)

    def scores(self, batch: Any) -> Tensor:
        scores = torch.stack([member.scores(batch) for member in self.members]).double().cpu().numpy()
        return torch.from_numpy(np.asarray(combined(scores, self.how, self.penalty)))

    def parameters(self) -> dict[str, Any]:
        """They are not trained here."""
        return {}

    def dropout(self, on: bool) -> None:
        for member in self.members:
            member.dropout(on)


def evaluate_named(
    run: Path,
    data: Any,
    prefixes: int | None,
    base: Settings,
    max_new_tokens: int | None = None,
    objects: Mapping[str, Any] = MappingProxyType({}),
    samples_per_prompt: int | None = None,
) -> dict[str, Any]:
    """What is found of a finished run's folder, or of several reward models that a text names as one."""
    if run.is_dir() or read_ensemble(str(run)) is None:
        return evaluate_run(run, data, prefixes, base, max_new_tokens, objects, samples_per_prompt)
    if prefixes:
        raise UserError("--prefixes needs a language model, but this is a reward model: leave it out")
    if samples_per_prompt is not None:
        raise UserError("--samples-per-prompt needs a language model, but this is a reward model: leave it out")
    if base.sampler is not None:
        raise UserError("--sampler needs a language model, but this is a reward model: leave it out")
    if max_new_tokens is not None:
        raise UserError("--max-new-tokens needs a language model, but this is a reward model: leave it out")
    return evaluate_ensemble(str(run), data, base)


def check_member(run: Path) -> None:
    """Raise UserError unless `run` is a finished run whose model is an intact reward model."""
    if not (run / "config.yaml").exists() or not (run / "model").exists():
        raise UserError(f"{run} has no finished model: give the folders of finished `burnish reward` runs")
    check_intact(run / "model")
    if "scorer" not in build_from(run)[0].roles:
        raise UserError(f"{run} is not a reward model, and an ensemble needs reward models: leave it out")


def evaluate_ensemble(text: str, data: Any, base: Settings) -> dict[str, Any]:
    """What `reward_model_findings` says of an ensemble of finished runs, and each member's accuracy beside it.

    On `data`, or on what the first member is evaluated on. It belongs to no one run, so nothing is written.
    Raises UserError if a member is not a finished reward model, or reads ids differently than the first.
    """
    found = read_ensemble(text)
    assert found is not None
    folders, how, penalty = found
    runs = [Path(folder) for folder in folders]
    for run in runs:
        check_member(run)
    world, base = together(base)
    prepare_torch(base)
    algorithm, settings = build_from(runs[0])
    data = data_for(runs[0], settings, data)
    loading = loading_of(dataclasses.replace(settings, trust_remote_code=base.trust_remote_code)).elsewhere()
    members = tuple(load_scorer(run / "model", pick_device(base.device), loading=loading) for run in runs)
    for member in members:
        freeze(member, loading.dtype)
    for run, member in zip(runs, members, strict=True):
        check_same_tokenizer(members[0].tokenizer, member.tokenizer, str(run))
    findings = scorer_findings(Jury(members, how, penalty), algorithm, settings, data, world)
    alone = {
        folder: scorer_findings(member, algorithm, settings, data, world)["accuracy"]
        for folder, member in zip(folders, members, strict=True)
    }
    return {"run": text} | named(settings, data) | findings | {"members": alone}
