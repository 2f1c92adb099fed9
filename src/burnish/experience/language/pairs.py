"""Pairs that a policy makes itself: of its completions of a prompt the one with the highest and the lowest score."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from burnish.batches import Drawn, Preferences, PreparedPreferences
from burnish.experience.interface import Source
from burnish.experience.language.groups import (
    Groups,
    ScoredGroups,
    best,
    metrics,
    prompt_record,
    sample_record,
    worst,
)
from burnish.options import option


@dataclass(frozen=True)
class Pairs(Groups):
    """Several completions per prompt, the best by a reward as chosen and the worst as rejected.

    A tie (equal scores or equal completions) carries no information: it is left out of the loss, and counted.

    Guo et al. (2024), "Direct Language Model Alignment from Online AI Feedback", algorithm 1. With `refresh_reference`
    and large rollouts it is iterative DPO: Xu et al. (2023), "Some things are more CRINGE than others"; Yuan et al.
    (2024), "Self-Rewarding Language Models", where each iteration's reference is the model that it starts from.
    """

    completions_per_prompt: int = option(
        2,
        "completions sampled per prompt; the best and the worst are compared",
        ge=2,
        why="a single one has nothing to be compared with",
        most=10_000,
    )
    refresh_reference: bool = option(
        False, "use the policy at the start of each rollout as DPO's reference, not the policy at the start of training"
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The reference that training began with only where it is DPO's."""
        return super().needs + (() if self.refresh_reference else ("reference",))

    def draw(self, source: Source, number: int, carried: dict[str, float]) -> Drawn:
        """The best and the worst completion of each prompt. Raises RolloutError where the reward fails."""
        return paired(self, source, self.group(source, number), number)


@torch.no_grad()
def paired(knobs: Pairs, source: Source, group: ScoredGroups, number: int) -> Drawn:
    """Best and worst of every prompt as a pair, with the log-probabilities of DPO's reference.

    A refreshed reference is the policy that has just sampled: its log-probabilities are taken now, so that no second
    copy of it is kept.
    """
    places = torch.stack([best(group.counted), worst(group.counted)], -1)
    tie = tied(group, places)
    index, batch = group.flat(places), group.batch
    # A tie has no response, so that it counts in no denominator and is not computed with.
    found = Preferences(
        tokens=batch.tokens[index],
        mask=batch.mask[index] & ~tie[:, None, None],
        lengths=torch.where(tie[:, None], 0, batch.lengths[index]),
        rows=group.rows(index[:, 0]),
    )
    ref_logprobs = (
        source.logprobs(source.models.policy, found) if group.ref_logprobs is None else group.ref_logprobs[index]
    )
    chosen, rejected = group.scores.gather(1, places).unbind(-1)
    more = {
        "objective/scores_margin": (chosen - rejected).mean().item(),
        "objective/ties": tie.double().mean().item(),
        "rollout": number + 1,
    }
    drawn = PreparedPreferences(found, ref_logprobs)
    return Drawn(drawn, metrics(group) | more, samples(group, places, tie, knobs.keep_samples))


def tied(group: ScoredGroups, places: Int[Tensor, "N 2"]) -> Bool[Tensor, "N"]:
    """Whether the best is no better than the worst, or is the very same completion."""
    chosen, rejected = group.flat(places).unbind(-1)
    batch = group.batch
    same = (batch.tokens[chosen] == batch.tokens[rejected]).all(-1) & (batch.lengths[chosen] == batch.lengths[rejected])
    one, other = group.counted.gather(1, places).unbind(-1)
    return same | (one == other)


def samples(
    group: ScoredGroups, places: Int[Tensor, "N 2"], tie: Bool[Tensor, "N"], count: int
) -> list[dict[str, Any]]:
    """The first `count` pairs as records for samples.jsonl; `burnish dpo` reads their text."""
    lines = []
    for i in range(min(count, len(places))):
        line = prompt_record(group, i)
        for side, place in zip(("chosen", "rejected"), places[i].tolist(), strict=True):
            one = sample_record(group, place, i)
            line |= {side: one.pop("response")} | {f"{side}_{name}": value for name, value in one.items()}
        lines.append(line | {"tie": bool(tie[i])})
    return lines
