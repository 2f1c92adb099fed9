"""Completions of prompts: which prompts a rollout has, how they are sampled, and how they are scored.

Everything that learns from sampled completions shares the options of `Sampling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.data.walk import Plan, batches_per_epoch
from burnish.experience.interface import Experience, RolloutError, Source
from burnish.options import COLDEST, option
from burnish.policies.interface import Sampled, SamplingKnobs
from burnish.policies.language.decode import Decoder
from burnish.policies.language.layout import completions_batch
from burnish.rewards.completed import BadRewardError, Completed, Reward, checked_scores
from burnish.rewards.weighted import Weighted
from burnish.run import UserError

STREAMS_PER_ROLLOUT = 2**20


@dataclass(frozen=True)
class Sampling(Experience):
    """The options of every experience that samples completions and scores them."""

    reward: Any = option(
        None,
        "reward for completions: a reward-model folder, 'gold', 'lexicon', a checker such as match, or module:function",
    )
    rollout: int = option(128, "prompts to complete before the policy learns from the completions", ge=1)
    max_new_tokens: int = option(64, "maximum length of a completion in tokens", ge=1, most=1_000_000)
    temperature: float = option(1.0, "divides the logits, in sampling and in training", ge=COLDEST)
    missing_eos_penalty: float | None = option(
        None, "subtracted from the score of a completion that did not end with EOS", ge=0
    )
    keep_special_tokens: bool = option(
        False, "keep all special tokens in the text of completions but padding and the end"
    )
    keep_samples: int = option(8, "prompts per rollout whose completions are written to samples.jsonl", ge=0)

    @property
    def room(self) -> int:
        return self.max_new_tokens

    @property
    def needs(self) -> tuple[str, ...]:
        return ("reward",)

    def problems(self, method: str, settings: Any) -> dict[str, bool]:
        return {
            f"{method} needs a reward: a reward-model folder, 'gold', 'lexicon', a checker such as match, or "
            "module:function": self.reward is None,
            "rollout must not be smaller than batch_size": self.rollout * self.rows_per_prompt < settings.batch_size,
            "max_new_tokens must be smaller than max_length, which counts the prompt too": self.max_new_tokens
            >= settings.max_length,
            "patience needs a loss on fixed data, but the policy's own completions change": settings.patience > 0,
        }

    def complete(self, source: Source, which: Sequence[int], number: int) -> "Scored":
        """Sample a completion for each of the prompts `which`, and score it.

        The random streams are a function of the seed and the rollout's number. Raises RolloutError where the reward
        fails, and UserError where a rollout has more completions than random streams.
        """
        if len(which) > STREAMS_PER_ROLLOUT:
            raise UserError(
                f"a rollout of {len(which):,} completions is more than {STREAMS_PER_ROLLOUT:,}: make rollout or "
                "completions_per_prompt smaller"
            )
        streams = [number * STREAMS_PER_ROLLOUT + k for k in range(len(which))]
        knobs = SamplingKnobs(source.seed, self.max_new_tokens, self.temperature)
        sampled = source.sampler.sample([source.prompts.ids[i] for i in which], streams, knobs)
        decoder = Decoder.of(source.models.policy, self.keep_special_tokens)
        decoder.warn(sampled.tokens, source.say)
        completed = completed_rows(source.models.policy, source.prompts, which, sampled, decoder)
        raw, apart = scored(source.reward, completed)
        ended = torch.tensor(sampled.ended)
        # In float64, as the reward gave them: scores that differ there must not be a tie here.
        scores = torch.tensor(raw, dtype=torch.float64)
        counted = scores if self.missing_eos_penalty is None else scores - self.missing_eos_penalty * ~ended
        device = completed.batch.mask.device
        return Scored(completed, sampled, scores.to(device), counted.to(device), apart)


@dataclass(frozen=True)
class Scored:
    """Completions with the reward's `scores`; `counted` are these less the penalty for a missing end.

    `apart` has the scores of each part of a weighted sum, by name.
    """

    completed: Completed
    sampled: Sampled
    scores: Float[Tensor, "N"]
    counted: Float[Tensor, "N"]
    apart: dict[str, list[float]] = field(default_factory=dict)

    @property
    def metrics_apart(self) -> dict[str, float]:
        """Mean and standard deviation of each part of a weighted sum, under TRL's names."""
        found: dict[str, float] = {}
        for key, values in self.apart.items():
            tensor = torch.tensor(values, dtype=torch.float64)
            found |= {
                f"rewards/{key}/mean": tensor.mean().item(),
                f"rewards/{key}/std": tensor.std(correction=0).item(),
            }
        return found

    @property
    def sampler_logprobs(self) -> Float[Tensor, "N T"]:
        """The sampler's log-probabilities where the tokens lie, 0 elsewhere."""
        return where_tokens_lie(self.sampled, self.completed.batch.mask)

    def old_logprobs(self, source: Source) -> Float[Tensor, "N T"]:
        """The policy's log-probabilities of the tokens now, which an exact sampler has computed already."""
        if source.sampler.exact:
            return self.sampler_logprobs
        with torch.no_grad():
            return source.models.policy.logprobs(self.completed.batch)


def rollout_rows(plan: Plan, rollout: int, seed: int, number: int) -> list[int]:
    """The prompts of one rollout, which are the next of the epoch's order; `plan` is that of `source.prompts`."""
    epoch, position = divmod(number, batches_per_epoch(len(plan), rollout))
    return plan.order(seed, epoch)[position * rollout : (position + 1) * rollout]


def completed_rows(
    policy: Any, prompts: Any, which: Sequence[int], sampled: Sampled, decoder: Decoder | None = None
) -> Completed:
    """What a reward sees of sampled completions: the text, and the exact token ids."""
    ids = [prompts.ids[i] for i in which]
    decoder = decoder or Decoder.of(policy)
    batch = completions_batch(ids, sampled.tokens)
    return Completed(
        prompts=[prompts.prompts[i] for i in which],
        responses=decoder.responses(sampled.tokens),
        texts=decoder.texts(ids, sampled.tokens),
        columns={name: [values[i] for i in which] for name, values in prompts.columns.items()},
        rows=[prompts.rows[i] for i in which],
        batch=batch.to(policy.device),
        ended=sampled.ended,
    )


def scored(reward: Reward, completed: Completed) -> tuple[list[float], dict[str, list[float]]]:
    """The scores, and those of each part of a weighted sum. Raises RolloutError with the completions that could not be
    scored."""
    try:
        if isinstance(reward, Weighted):
            apart = reward.apart(completed)
            return reward.total(apart), apart
        return checked_scores(reward, completed), {}
    except BadRewardError as error:
        lines = zip(completed.rows, completed.prompts, completed.responses, strict=True)
        raise RolloutError(str(error), [{"row": r, "prompt": p, "response": c} for r, p, c in lines]) from error


def where_tokens_lie(sampled: Sampled, mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """The sampled log-probabilities as a tensor, 0 where the mask is False."""
    out = torch.zeros(mask.shape, device=mask.device)
    out[mask] = torch.tensor([value for row in sampled.logprobs for value in row], device=mask.device)
    return out
