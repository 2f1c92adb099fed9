"""Pairs that a policy makes itself: of its completions of a prompt the one that a reward likes best, and the worst."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from burnish.batches import Drawn, Preferences
from burnish.data.prompts import Prompts
from burnish.experience.language.completions import knob
from burnish.experience.language.groups import Group, Groups, best, metrics, told, turns, worst
from burnish.policies.interface import Models
from burnish.rewards.completed import Reward


@dataclass(frozen=True)
class Pairs(Groups):
    """Completions of each prompt, of which the best by a reward is chosen and the worst rejected.

    A tie, equal scores or equal completions, says nothing of either: it stays out of the loss, and is counted.

    Guo et al. (2024), "Direct Language Model Alignment from Online AI Feedback", algorithm 1. With `refresh_reference`
    and large rollouts it is iterative DPO: Xu et al. (2023), "Some things are more CRINGE than others"; Yuan et al.
    (2024), "Self-Rewarding Language Models", where each iteration's reference is the model that it begins with.
    """

    completions_per_prompt: int = knob(2, "completions sampled for each prompt, of which the best and the worst count")
    refresh_reference: bool = knob(
        False, "let DPO's reference be the policy as it was when the rollout began, not when training did"
    )


def pairs(
    models: Models,
    knobs: Pairs,
    prompts: Prompts,
    reward: Reward,
    seed: int,
    turn: int = 0,
    state: dict[str, float] | None = None,
) -> Iterator[Drawn]:
    """Batches of pairs without end from `turn` on, each sampled when asked for, with the policy as it is then.

    Raises RolloutError where the reward raises, or returns what is no score.
    """
    for number, group in turns(models, knobs, prompts, reward, seed, turn):
        yield paired(models, knobs, group, number)


@torch.no_grad()
def paired(models: Models, knobs: Pairs, group: Group, turn: int) -> Drawn:
    """Best and worst of every prompt as a pair, with the log-probabilities of the reference that counts.

    A refreshed reference is the policy that has just sampled: its log-probabilities are taken now, so that no second
    copy of it is kept, and KL stays that to the policy as it was when training began.
    """
    places = torch.stack([best(group.counted), worst(group.counted)], -1)
    tie = tied(group, places)
    index, batch = group.flat(places), group.completed.batch
    # A tie has no response, so that it counts in no denominator and is not computed with.
    found = Preferences(
        tokens=batch.tokens[index],
        mask=batch.mask[index] & ~tie[:, None, None],
        lengths=torch.where(tie[:, None], 0, batch.lengths[index]),
        rows=torch.tensor(group.completed.rows, device=index.device)[index[:, 0]],
        ref_logprobs=group.ref_logprobs[index],
    )
    if knobs.refresh_reference:
        found = replace(found, ref_logprobs=models.policy.logprobs(found))
    chosen, rejected = group.scores.gather(1, places).unbind(-1)
    more = {
        "objective/scores_margin": (chosen - rejected).mean().item(),
        "objective/ties": tie.double().mean().item(),
        "rollout": turn + 1,
    }
    return Drawn(found, metrics(group) | more, samples(group, places, tie, knobs.keep_samples))


def tied(group: Group, places: Int[Tensor, "N 2"]) -> Bool[Tensor, "N"]:
    """Whether the best is no better than the worst, or is the very same completion."""
    chosen, rejected = group.flat(places).unbind(-1)
    batch = group.completed.batch
    same = (batch.tokens[chosen] == batch.tokens[rejected]).all(-1) & (batch.lengths[chosen] == batch.lengths[rejected])
    one, other = group.counted.gather(1, places).unbind(-1)
    return same | (one == other)


def samples(group: Group, places: Int[Tensor, "N 2"], tie: Bool[Tensor, "N"], count: int) -> list[dict[str, Any]]:
    """The first `count` pairs as records for samples.jsonl; their text is what `burnish dpo` reads."""
    lines = []
    for i in range(min(count, len(places))):
        first = i * group.scores.shape[1]
        line: dict[str, Any] = {"row": group.completed.rows[first], "prompt": group.completed.prompts[first]}
        for side, place in zip(("chosen", "rejected"), places[i].tolist(), strict=True):
            one = told(group, place, i)
            line |= {side: one.pop("response")} | {f"{side}_{name}": value for name, value in one.items()}
        lines.append(line | {"tie": bool(tie[i])})
    return lines
