"""Completions of prompts: which prompts a rollout has, how they are sampled, and how they are scored.

Everything that learns from sampled completions shares the options of `Sampling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.batches import Episodes
from burnish.data.walk import Plan, batches_per_epoch
from burnish.experience.interface import Experience, RolloutError, Source
from burnish.experience.language.dialogues import Limits, play
from burnish.functional.masked import is_last
from burnish.options import COLDEST, option
from burnish.policies.interface import ComparedSampler, Sampled, SamplingKnobs, Wanted
from burnish.policies.language.decode import Decoder
from burnish.policies.language.layout import completions_batch
from burnish.rewards.completed import BadRewardError, Completed, Reward, checked_scores
from burnish.rewards.divided import divided
from burnish.rewards.weighted import Weighted
from burnish.run import UserError

STREAMS_PER_ROLLOUT = 2**20

E = TypeVar("E", bound=Episodes)


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
    environment: Any = option(
        None, "what answers the policy in dialogues: 'calculator', 'lookup', 'guess', textarena/NAME, or module:Class"
    )
    max_turns: int = option(8, "messages of the policy in a dialogue with an environment", ge=1, most=4096)
    max_dialogue_length: int | None = option(
        None, "tokens of a whole dialogue with an environment; none: as many as the model's context has", ge=2
    )
    tool_timeout: float = option(10.0, "seconds that a tool of an environment may take", gt=0)
    environment_timeout: float = option(
        300.0, "seconds that an environment's own reset, step or close may take", gt=0, most=1_000_000
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("max_turns", "max_dialogue_length", "tool_timeout", "environment_timeout")
        for name in names if self.environment is None else ():
            if getattr(self, name) != getattr(Sampling, name):
                raise ValueError(f"{name} only applies to dialogues: set an environment too")

    @property
    def room(self) -> int:
        return self.max_new_tokens

    @property
    def needs(self) -> tuple[str, ...]:
        """A reward, unless an environment gives one."""
        return () if self.reward is None and self.environment is not None else ("reward",)

    @property
    def watches(self) -> bool:
        """Those that a reward scores: the messages of a dialogue are no completions of its prompt."""
        return "reward" in self.needs and self.environment is None

    @property
    def most_tokens(self) -> int:
        """The largest number of tokens that the policy writes for a prompt."""
        return self.max_new_tokens * (1 if self.environment is None else self.max_turns)

    def problems(self, method: str, settings: Any) -> dict[str, bool]:
        return {
            f"{method} needs a reward: a reward-model folder, 'gold', 'lexicon', a checker such as match, or "
            "module:function": "reward" in self.needs and self.reward is None,
            "rollout must not be smaller than batch_size": self.rollout * self.rows_per_prompt < settings.batch_size,
            "max_new_tokens must be smaller than max_length, which counts the prompt too": self.max_new_tokens
            >= settings.max_length,
            "patience needs a loss on fixed data, but the policy's own completions change": settings.patience > 0,
        }

    def which(self, source: Source, number: int) -> list[int]:
        """The prompts of a rollout, one for each completion."""
        plan = source.prompts.plan
        return rollout_rows(plan, self.rollout or len(plan), source.seed, number)

    def ahead(self, source: Source, number: int) -> Wanted | None:
        """All completions of a rollout; of a dialogue nothing, because the first messages are the environment's."""
        if self.environment is not None:
            return None
        which = self.which(source, number)
        return Wanted([source.prompts.ids[i] for i in which], self.streams(len(which), number), self.knobs(source))

    def knobs(self, source: Source) -> SamplingKnobs:
        """How completions are drawn."""
        return SamplingKnobs(source.seed, self.max_new_tokens, self.temperature)

    def streams(self, count: int, number: int, first: int = 0) -> list[int]:
        """The random streams of so many completions of a rollout, behind its `first` ones; a dialogue has one for each
        of its turns. Raises UserError where a rollout has more completions than random streams."""
        if first + count > STREAMS_PER_ROLLOUT:
            raise UserError(
                f"a rollout of {first + count:,} completions is more than {STREAMS_PER_ROLLOUT:,}: make rollout "
                "or completions_per_prompt smaller"
            )
        turns = 1 if self.environment is None else self.max_turns
        return [(number * STREAMS_PER_ROLLOUT + first + k) * turns for k in range(count)]

    def complete(self, source: Source, which: Sequence[int], number: int, first: int = 0) -> "Scored":
        """Sample a completion for each of the prompts `which`, and score it.

        The random streams are a function of the seed and the rollout's number; `first` is the number of its
        completions before these. Raises RolloutError where the reward fails, and UserError where a rollout has more
        completions than random streams.
        """
        streams, knobs = self.streams(len(which), number, first), self.knobs(source)
        earned, metrics = None, {}
        if self.environment is None:
            sampled = source.sampler.sample([source.prompts.ids[i] for i in which], streams, knobs)
            decoder = Decoder.of(source.models.policy, self.keep_special_tokens)
            decoder.warn(sampled.tokens, source.say)
            completed = completed_rows(source.models.policy, source.prompts, which, sampled, decoder)
        else:
            played = play(source, which, number, knobs, streams, self.limits(source))
            completed, sampled, earned, metrics = played.completed, played.sampled, played.earned, played.metrics
        # In float64, as the reward gave them: scores that differ there must not be a tie here.
        scores = torch.zeros(len(which), dtype=torch.float64)
        if source.reward is not None:
            raw, apart = scored(divided(source.reward, source.world), completed)
            scores, metrics = torch.tensor(raw, dtype=torch.float64), metrics | of_parts(apart)
        scores = scores.to(completed.batch.mask.device)
        scores = scores if earned is None else scores + earned.sum(-1)
        ended = torch.tensor(completed.ended, device=scores.device)
        counted = scores if self.missing_eos_penalty is None else scores - self.missing_eos_penalty * ~ended
        return Scored(completed, sampled, scores, counted, earned, metrics)

    def limits(self, source: Source) -> Limits:
        """The limits of dialogues: no longer than the model's context."""
        context = source.models.policy.context or 2**31
        return Limits(self.max_turns, min(context, self.max_dialogue_length or context), self.environment_timeout)


@dataclass(frozen=True)
class Scored:
    """Completions with the reward's `scores`; `counted` are these less the penalty for a missing end.

    `earned` is what an environment gave within the completions, on the last token of the message that earned it; the
    scores contain it. `metrics` are those of the dialogues, and of each part of a weighted sum of rewards.
    """

    completed: Completed
    sampled: Sampled
    scores: Float[Tensor, "N"]
    counted: Float[Tensor, "N"]
    earned: Float[Tensor, "N T"] | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def final(self) -> Float[Tensor, "N"]:
        """`counted` without what was earned within the completions: what belongs on their last tokens."""
        return self.counted if self.earned is None else self.counted - self.earned.sum(-1)

    def episodes(
        self,
        kind: type[E],
        knobs: Sampling,
        old_logprobs: Float[Tensor, "N T"],
        rewards: Float[Tensor, "N T"],
        gamma: float = 1.0,
        **more: Any,
    ) -> E:
        """The completions as episodes of a `kind`, which terminate with their last token; `more` are its own fields."""
        batch = self.completed.batch
        mask, device = batch.mask, batch.mask.device
        return kind(
            tokens=batch.tokens,
            mask=mask,
            lengths=batch.lengths,
            rows=torch.tensor(self.completed.rows, device=device),
            sampler_logprobs=self.sampler_logprobs,
            old_logprobs=old_logprobs,
            rewards=rewards,
            discounts=torch.where(mask & ~is_last(mask), gamma, 0.0).to(old_logprobs.dtype),
            limit=torch.tensor(knobs.most_tokens, device=device),
            **more,
        )

    @property
    def sampler_logprobs(self) -> Float[Tensor, "N T"]:
        """The sampler's log-probabilities where the tokens lie, 0 elsewhere."""
        return where_tokens_lie(self.sampled, self.completed.batch.mask)

    def old_logprobs(self, source: Source, again: bool = False) -> Float[Tensor, "N T"]:
        """The policy's log-probabilities of the tokens now, which an exact sampler has computed already, though with
        other roundings: `again` computes them anew. Those of a sampler elsewhere are compared with them."""
        if source.sampler.exact and not again:
            return self.sampler_logprobs
        batch = self.completed.batch
        with torch.no_grad():
            found = source.logprobs(source.models.policy, batch)
        if isinstance(source.sampler, ComparedSampler):
            source.sampler.compare(found, self.sampler_logprobs, batch.mask)
        return found


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


def of_parts(apart: dict[str, list[float]]) -> dict[str, float]:
    """Mean and standard deviation of each part of a weighted sum of rewards, under TRL's names."""
    found: dict[str, float] = {}
    for key, values in apart.items():
        part = torch.tensor(values, dtype=torch.float64)
        found |= {f"rewards/{key}/mean": part.mean().item(), f"rewards/{key}/std": part.std(correction=0).item()}
    return found


def where_tokens_lie(sampled: Sampled, mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """The sampled log-probabilities as a tensor, 0 where the mask is False."""
    out = torch.zeros(mask.shape, device=mask.device)
    out[mask] = torch.tensor([value for row in sampled.logprobs for value in row], device=mask.device)
    return out
