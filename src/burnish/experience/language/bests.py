"""Demonstrations that a policy gives itself: of several completions of a prompt the one that a reward likes best."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from burnish.batches import Demonstrations, Drawn
from burnish.data.prompts import Prompts
from burnish.experience.language.completions import knob
from burnish.experience.language.groups import Group, Groups, best, metrics, told, turns
from burnish.policies.interface import Models
from burnish.rewards.completed import Reward


@dataclass(frozen=True)
class Bests(Groups):
    """Completions of each prompt, of which the policy imitates the best by a reward.

    Touvron et al. (2023), "Llama 2: Open Foundation and Fine-Tuned Chat Models", section 3.2.3.
    """

    completions_per_prompt: int = knob(8, "completions sampled for each prompt, of which the best is imitated")
    rollout: int = knob(512, "prompts that are completed before the policy learns from them: a round")


def bests(
    models: Models,
    knobs: Bests,
    prompts: Prompts,
    reward: Reward,
    seed: int,
    turn: int = 0,
    state: dict[str, float] | None = None,
) -> Iterator[Drawn]:
    """Batches of best completions without end from `turn` on, each sampled when asked for, with the policy as it is
    then. Raises RolloutError where the reward raises, or returns what is no score."""
    for number, group in turns(models, knobs, prompts, reward, seed, turn):
        yield picked(group, knobs.keep_samples, number)


def picked(group: Group, keep: int, turn: int) -> Drawn:
    """The best completion of every prompt, as the very ids that were sampled: one that the length limit cut is given
    no end that it never had."""
    places = best(group.counted)
    index, batch = group.flat(places), group.completed.batch
    rows = torch.tensor(group.completed.rows, device=index.device)[index]
    found = Demonstrations(batch.tokens[index], batch.mask[index], batch.lengths[index], rows)
    chosen = group.scores.gather(1, places[:, None])
    more = {"objective/best_scores": chosen.mean().item(), "rollout": turn + 1}
    return Drawn(found, metrics(group) | more, samples(group, places, keep))


def samples(group: Group, places: Int[Tensor, "N"], count: int) -> list[dict[str, Any]]:
    """The first `count` best completions as records for samples.jsonl, with the mean score of their prompt's."""
    lines = []
    for i, place in enumerate(places[:count].tolist()):
        first = i * group.scores.shape[1]
        line = {"row": group.completed.rows[first], "prompt": group.completed.prompts[first]} | told(group, place, i)
        lines.append(line | {"mean_score": group.scores[i].mean().item()})
    return lines
