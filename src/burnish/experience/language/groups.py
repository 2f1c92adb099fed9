"""Several completions of every prompt, sampled with the policy as it is and scored: what pairs are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.data.prompts import Prompts
from burnish.experience.language.completions import (
    STREAMS_A_TURN,
    check_sampling,
    complete,
    knob,
    old_logprobs_of,
    rows_of_turn,
    scored,
)
from burnish.functional import masked_sum
from burnish.policies.interface import Models
from burnish.rewards.completed import Completed, Reward
from burnish.run import UserError


@dataclass(frozen=True)
class Groups:
    """The knobs that every way of learning from scored groups has; those that `Completions` has mean the same."""

    reward: Any = knob(None, "what scores completions: a reward-model folder, 'gold', 'lexicon', or module:function")
    completions_per_prompt: int = knob(2, "completions sampled for each prompt")
    rollout: int = knob(128, "prompts that are completed before the policy learns from them")
    max_new_tokens: int = knob(64, "longest completion in tokens")
    temperature: float = knob(1.0, "divides the logits, in sampling and in training")
    missing_eos_penalty: float | None = knob(None, "taken from the score of a completion that did not end itself")
    keep_samples: int = knob(8, "prompts of each rollout whose completions are written to samples.jsonl")

    def __post_init__(self) -> None:
        check_sampling(self)
        if self.completions_per_prompt < 2:
            raise ValueError(
                f"completions_per_prompt must be at least 2, not {self.completions_per_prompt}: one has no other to be "
                "better than"
            )


@dataclass(frozen=True)
class Group:
    """G completions of each of N prompts; row i·G + k of the batch is the k-th of prompt i.

    `scores` are the reward's own, `counted` those less a missing end's penalty, which decide. `kl` is a sample of the
    sequence KL, Σ_t log π(y_t) − log π_ref(y_t), and `entropy` one of the entropy.
    """

    completed: Completed
    scores: Float[Tensor, "N G"]
    counted: Float[Tensor, "N G"]
    kl: Float[Tensor, "N G"]
    entropy: Float[Tensor, "N G"]
    ref_logprobs: Float[Tensor, "NG T"]

    def flat(self, places: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """The batch's rows of `places`, whose first dimension is that of the prompts."""
        first = torch.arange(len(places), device=places.device) * self.scores.shape[1]
        return places + (first if places.dim() == 1 else first[:, None])


@torch.no_grad()
def sample_group(
    models: Models, knobs: Groups, prompts: Prompts, reward: Reward, which: list[int], seed: int, turn: int, count: int
) -> Group:
    """Complete each of the prompts `which` `count` times, each time from a random stream of its own, and score all.

    Raises RolloutError where the reward raises, or returns what is no score.
    """
    assert models.reference is not None
    if len(which) * count > STREAMS_A_TURN:
        raise UserError(
            f"a rollout of {len(which):,} prompts with {count:,} completions each is more than {STREAMS_A_TURN:,}: "
            "make rollout or completions_per_prompt smaller"
        )
    completed, sampled = complete(models.policy, knobs, prompts, [i for i in which for _ in range(count)], seed, turn)
    raw = scored(reward, completed)
    batch = completed.batch
    old_logprobs = old_logprobs_of(sampled, batch.mask)
    ref_logprobs = models.reference.logprobs(batch)
    # In float64, as the reward gave them: scores that differ there must not be a tie here.
    scores = torch.tensor(raw, device=batch.mask.device, dtype=torch.float64)
    ended = torch.tensor(completed.ended, device=batch.mask.device)
    counted = scores if knobs.missing_eos_penalty is None else scores - knobs.missing_eos_penalty * ~ended
    return Group(
        completed,
        scores.view(-1, count),
        counted.view(-1, count),
        masked_sum(old_logprobs - ref_logprobs, batch.mask, dim=-1).view(-1, count),
        masked_sum(-old_logprobs, batch.mask, dim=-1).view(-1, count),
        ref_logprobs,
    )


def metrics(group: Group) -> dict[str, float]:
    """Means over all completions, under TRL's names; the length is in tokens."""
    batch = group.completed.batch
    return {
        "objective/kl": group.kl.mean().item(),
        "objective/entropy": group.entropy.mean().item(),
        "objective/scores": group.scores.mean().item(),
        "objective/scores_std": group.scores.std(correction=0).item(),
        "objective/length": batch.mask.sum(-1).double().mean().item(),
        "val/contain_eos_token": sum(group.completed.ended) / len(group.completed),
    }


def turns(
    models: Models, knobs: Groups, prompts: Prompts, reward: Reward, seed: int, turn: int
) -> Iterator[tuple[int, Group]]:
    """Turns without end from `turn` on with their groups, each sampled when asked for, with the policy as it is then.

    A turn knows of no other, so that its number and the policy are all that a resumed run needs.
    """
    while True:
        which = rows_of_turn(len(prompts), knobs.rollout, seed, turn)
        yield turn, sample_group(models, knobs, prompts, reward, which, seed, turn, knobs.completions_per_prompt)
        turn += 1


def held_out(
    models: Models, knobs: Groups, prompts: Prompts, reward: Reward, seed: int, count: int
) -> dict[str, float]:
    """What single completions of the first turn's `count` prompts are worth; the loss is the negative of what the best
    are chosen by, on average."""
    group = sample_group(models, knobs, prompts, reward, rows_of_turn(len(prompts), count, seed, 0), seed, 0, 1)
    return {"loss": -group.counted.mean().item()} | metrics(group)


def told(group: Group, place: int, row: int) -> dict[str, Any]:
    """One completion for samples.jsonl: the `place`-th of the `row`-th prompt."""
    index = row * group.scores.shape[1] + place
    return {
        "response": group.completed.responses[index],
        "score": group.scores[row, place].item(),
        "kl": round(group.kl[row, place].item(), 6),
        "ended": group.completed.ended[index],
    }


def best(counted: Float[Tensor, "N G"]) -> Int[Tensor, "N"]:
    """The place of each prompt's best completion, the first of equals."""
    return counted.argmax(-1)


def worst(counted: Float[Tensor, "N G"]) -> Int[Tensor, "N"]:
    """The place of each prompt's worst completion, the first of equals."""
    return counted.argmin(-1)
