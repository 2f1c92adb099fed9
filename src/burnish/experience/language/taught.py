"""Completions of prompts that a teacher judges token by token: no reward is needed."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.batches import Drawn, Episodes
from burnish.experience.interface import Source
from burnish.experience.language.correction import Corrected
from burnish.experience.language.groups import grouped, metrics, prompt_record, sample_record
from burnish.experience.language.sampling import rollout_rows
from burnish.functional import masked_sum
from burnish.options import option


@dataclass(frozen=True)
class TaughtCompletions(Corrected):
    """One completion per prompt, for methods that compare the policy with a teacher. A reward is only measured."""

    teacher: str | None = option(None, "model whose probabilities are learned: a folder, or a Hugging Face name")
    reward: Any = option(None, "reward that is measured and not learned from; none: nothing is")
    rollout: int | None = option(  # type: ignore[assignment]
        None, "completions per rollout; default: as many as one update has, batch_size", ge=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.missing_eos_penalty is not None:
            raise ValueError("missing_eos_penalty changes a score, from which nothing is learned here: leave it out")

    @property
    def needs(self) -> tuple[str, ...]:
        return () if self.reward is None else ("reward",)

    @property
    def watches(self) -> bool:
        """No: nothing is learned from the reward, so that nothing games it."""
        return False

    @property
    def teacher_model(self) -> str | None:
        return self.teacher

    def filled(self, settings: Any) -> "TaughtCompletions":
        return self if self.rollout is not None else replace(self, rollout=settings.batch_size)

    def problems(self, method: str, settings: Any) -> dict[str, bool]:
        found = {key: value for key, value in super().problems(method, settings).items() if "needs a reward" not in key}
        return {f"{method} needs a teacher: set teacher to a model": self.teacher is None} | found

    def draw(self, source: Source, number: int, carried: dict[str, float]) -> Drawn:
        """One completion per prompt. Raises RolloutError where the reward fails."""
        which = self.which(source, number)
        # The teacher's numbers are computed as these are, so that equal models are exactly equal.
        group = grouped(source, self.complete(source, which, number), 1, with_reference=False, again=True)
        old_logprobs = group.old_logprobs
        weights, apart = self.against(source, old_logprobs, group.found.sampler_logprobs, group.batch.mask)
        drawn = group.found.episodes(Episodes, self, old_logprobs, torch.zeros_like(old_logprobs), weights=weights)
        lines = [self.shown(prompt_record(group, i) | sample_record(group, 0, i)) for i in range(len(which))]
        return Drawn(drawn, apart | self.shown(metrics(group)) | {"rollout": number + 1}, lines[: self.keep_samples])

    def evaluate(self, source: Source, count: int) -> dict[str, float]:
        """Metrics of one completion per held-out prompt; the loss is the KL divergence from the teacher per token."""
        which = rollout_rows(source.prompts.plan, count, source.seed, 0)
        group = grouped(source, self.complete(source, which, 0), 1, with_reference=False, again=True)
        with torch.no_grad():
            apart = group.old_logprobs - source.logprobs(source.models.teacher, group.batch)
        total = masked_sum(apart, group.batch.mask)
        loss = (total / group.batch.mask.sum()).item()
        return {"loss": loss, "teacher_kl": total.item() / len(which)} | self.shown(metrics(group))

    def shown(self, numbers: dict[str, Any]) -> dict[str, Any]:
        """Without the scores that no reward has given."""
        return {key: value for key, value in numbers.items() if self.reward is not None or "score" not in key}
