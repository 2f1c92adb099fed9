"""Groups of completions as episodes: several per prompt, each scored once, with the scores of its whole group."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.batches import Drawn, GroupEpisodes
from burnish.data.walk import next_rows
from burnish.experience.interface import Source
from burnish.experience.language.correction import Corrected
from burnish.experience.language.groups import Groups, ScoredGroups, grouped, metrics, prompt_record, sample_record
from burnish.experience.language.redraw import equal, with_signal
from burnish.experience.language.sampling import Scored
from burnish.functional.masked import is_last
from burnish.options import option
from burnish.policies.interface import Wanted


@dataclass(frozen=True)
class GroupCompletions(Corrected, Groups):
    """Several completions per prompt, from whose scores a method computes advantages.

    A completion's score is the reward's number, less `missing_eos_penalty` where it did not end, less the penalty on
    overlong ones, which rises evenly from 0 to `overlong_penalty` over the last tokens that it may have.

    Dynamic sampling and the overlong penalty: Yu et al. (2025), "DAPO", sections 3.2 and 3.4, eq. 13.
    """

    completions_per_prompt: int = option(
        8,
        "completions sampled per prompt; their scores are compared with each other",
        ge=2,
        why="a single one has nothing to be compared with",
        most=10_000,
    )
    rollout: int | None = option(  # type: ignore[assignment]
        None, "prompts per rollout; default: as many as one update has, batch_size / completions_per_prompt", ge=1
    )
    redraws: int = option(
        0,
        "dynamic sampling: how often groups of equal scores are dropped and other prompts drawn in their place",
        ge=0,
        most=1_000,
    )
    overlong_share: float | None = option(
        None,
        "share of max_new_tokens, at its end, over which a penalty on the length rises from 0; none: no penalty",
        gt=0,
        le=1,
    )
    overlong_penalty: float = option(1.0, "the penalty at max_new_tokens, subtracted from the score", gt=0)
    keep_samples: int = option(1, "prompts per rollout whose completions are written to samples.jsonl", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        plain = type(self)
        if self.overlong_share is None and self.overlong_penalty != plain.overlong_penalty:
            raise ValueError("overlong_penalty only applies to the last tokens of a share: set overlong_share too")

    @property
    def rows_per_prompt(self) -> int:
        return self.completions_per_prompt

    def filled(self, settings: Any) -> "GroupCompletions":
        """A rollout that was not given has one update."""
        if self.rollout is not None:
            return self
        return replace(self, rollout=max(1, settings.batch_size // self.completions_per_prompt))

    def problems(self, method: str, settings: Any) -> dict[str, bool]:
        """A rollout of whole groups may have fewer completions than a batch where one more group would be too many."""
        least, size = "rollout must not be smaller than batch_size", self.completions_per_prompt
        return super().problems(method, settings) | {least: ((self.rollout or 1) + 1) * size <= settings.batch_size}

    def uses_reference(self, source: Source) -> bool:
        """Where the method has one."""
        return "reference" in source.models

    def complete(self, source: Source, which: Sequence[int], number: int, first: int = 0) -> Scored:
        """`Sampling.complete`, with the penalty on overlong completions in the scores that count."""
        found = super().complete(source, which, number, first)
        if self.overlong_share is None:
            return found
        lengths = found.completed.batch.mask.sum(-1)
        penalties = self.overlong_penalty * overlong(lengths, self.most_tokens, self.overlong_share)
        return replace(found, counted=found.counted - penalties)

    def ahead(self, source: Source, number: int) -> Wanted | None:
        """Nothing where groups are drawn again: how many depends on the scores of those before."""
        return None if self.redraws else super().ahead(source, number)

    def draw(self, source: Source, number: int, carried: dict[str, float]) -> Drawn:
        """The groups of one rollout. Raises RolloutError where the reward fails."""
        if not self.redraws:
            return episodes(self, source, self.complete(source, self.which(source, number), number), number, {}, {})
        plan, count, taken = source.prompts.plan, self.completions_per_prompt, int(carried.get("prompts", 0))

        def ask(first: int, want: int) -> Scored:
            rows = next_rows(plan, source.seed, taken + first, want)
            return self.complete(source, [i for i in rows for _ in range(count)], number, first * count)

        found, more = with_signal(ask, min(self.rollout or len(plan), len(plan)), count, self.redraws)
        return episodes(self, source, found, number, more, {"prompts": taken + more["objective/groups_drawn"]})


@dataclass(frozen=True)
class LooseCompletions(GroupCompletions):
    """`GroupCompletions` for methods that need no groups: one completion per prompt is enough."""

    completions_per_prompt: int = option(1, "completions sampled per prompt", ge=1, most=10_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redraws and self.completions_per_prompt == 1:
            raise ValueError("redraws replaces groups of equal scores: set completions_per_prompt to 2 or more")


def overlong(lengths: Int[Tensor, "N"], limit: int, share: float) -> Float[Tensor, "N"]:
    """How far completions are into the last `share` of the tokens that they may have: 0 before it, 1 at the limit.

    max(|y| − (limit − buffer), 0) / buffer,  buffer = share·limit

    Yu et al. (2025), eq. 13, where the penalty is 1.
    """
    buffer = share * limit
    return ((lengths.double() - (limit - buffer)) / buffer).clamp(0, 1)


@torch.no_grad()
def episodes(
    knobs: GroupCompletions,
    source: Source,
    found: Scored,
    number: int,
    more: dict[str, float],
    state: dict[str, float],
) -> Drawn:
    """Scored groups as episodes, with metrics and samples; `more` metrics are those of the draw itself."""
    size, mask = knobs.completions_per_prompt, found.completed.batch.mask
    group = grouped(source, found, size, knobs.uses_reference(source), again=knobs.correcting)
    weights, named = knobs.against(source, group.old_logprobs, found.sampler_logprobs, mask)
    rewards = torch.where(is_last(mask), found.final[:, None], 0.0)
    rewards = rewards if found.earned is None else rewards + found.earned
    drawn = found.episodes(
        GroupEpisodes,
        knobs,
        group.old_logprobs,
        rewards.float(),
        ref_logprobs=group.ref_logprobs,
        peers=group.counted.repeat_interleave(size, 0),
        place=torch.arange(size, device=mask.device).repeat(len(group.counted)),
        peers_kl=None if group.kl is None else group.kl.repeat_interleave(size, 0),
        weights=weights,
    )
    named |= metrics(group) | group_metrics(knobs, group) | more | {"rollout": number + 1}
    return Drawn(drawn, named, samples(group, knobs.keep_samples), state)


def group_metrics(knobs: GroupCompletions, group: ScoredGroups) -> dict[str, float]:
    """How much the groups have to say; TRL's name for the share of those whose scores are all equal. `penalised` is the
    mean of the scores less the penalties, where there are any."""
    fined = knobs.missing_eos_penalty is not None or knobs.overlong_share is not None
    penalised = {"objective/penalised": group.counted.mean().item()} if fined else {}
    if group.counted.shape[1] == 1:
        return penalised
    return penalised | {
        "objective/frac_reward_zero_std": equal(group.counted).double().mean().item(),
        "objective/group_std": group.counted.std(-1, correction=0).mean().item(),
    }


def samples(group: ScoredGroups, count: int) -> list[dict[str, Any]]:
    """The completions of the first `count` prompts as records for samples.jsonl."""
    rows = range(min(count, len(group.scores)))
    return [prompt_record(group, i) | sample_record(group, k, i) for i in rows for k in range(group.scores.shape[1])]
