"""Completions as episodes: sampled with the policy as it is, scored once at their end, priced by their KL a token."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.batches import Drawn, Episodes
from burnish.data.prompts import Prompts
from burnish.data.walk import batches_per_epoch, epoch_order
from burnish.functional import kl_shaped_rewards, masked_sum
from burnish.functional.masked import is_last
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import Sampled, completions_batch, sample
from burnish.rewards.completed import BadRewardError, Completed, Reward, checked_scores
from burnish.run import UserError

STREAMS_A_TURN = 2**20


def knob(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Completions:
    """Sampled completions of prompts, with the score of a reward and a price on leaving the reference.

    r_t = −β·(log π(y_t) − log π_ref(y_t)) + [t is the last token]·score

    A completion that reached the length limit is terminated like one that ended itself: its score is final.

    Stiennon et al. (2020), "Learning to summarize from human feedback", section 3.4; the adaptive β is that of Ziegler
    et al. (2019), "Fine-Tuning Language Models from Human Preferences", section 2.2.
    """

    reward: Any = knob(None, "what scores completions: a reward-model folder, 'gold', 'lexicon', or module:function")
    critic: str | None = knob(None, "model the critic begins as; default: the reward model, or else --model")
    rollout: int = knob(128, "completions sampled before the policy learns from them")
    max_new_tokens: int = knob(64, "longest completion in tokens")
    temperature: float = knob(1.0, "divides the logits, in sampling and in training")
    beta: float = knob(0.05, "price of KL from the reference, in reward a nat; where the adaptive one begins")
    kl_target: float | None = knob(None, "adapt beta so that a completion's KL comes to this, in nats")
    kl_horizon: int = knob(10_000, "completions in which an adaptive beta may change by a fifth at most")
    gamma: float = knob(1.0, "discount of the rewards to come")
    missing_eos_penalty: float | None = knob(None, "taken from the score of a completion that did not end itself")
    keep_samples: int = knob(8, "completions of each rollout written to samples.jsonl")

    def __post_init__(self) -> None:
        check_sampling(self)
        if self.kl_horizon < 1:
            raise ValueError(f"kl_horizon must be at least 1, not {self.kl_horizon}")
        if not self.beta >= 0:
            raise ValueError(f"beta must not be negative, not {self.beta}: it would pay for leaving the reference")
        if self.kl_target is not None and not self.kl_target > 0:
            raise ValueError(f"kl_target must be above 0, not {self.kl_target}")
        if self.kl_target is not None and not self.beta > 0:
            raise ValueError("an adaptive beta that begins at 0 stays there: give a beta above 0, or no kl_target")
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must lie in [0, 1], not {self.gamma}")


def check_sampling(knobs: Any) -> None:
    """Raise ValueError for a knob of sampling that makes no sense; `Completions` and `Groups` share these."""
    for name in ("rollout", "max_new_tokens"):
        if getattr(knobs, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(knobs, name)}")
    if not knobs.temperature > 0:
        raise ValueError(f"temperature must be above 0, not {knobs.temperature}")
    if knobs.missing_eos_penalty is not None and knobs.missing_eos_penalty < 0:
        raise ValueError(f"missing_eos_penalty must not be negative, not {knobs.missing_eos_penalty}")
    if knobs.keep_samples < 0:
        raise ValueError(f"keep_samples must not be negative, not {knobs.keep_samples}")


@runtime_checkable
class Sampling(Protocol):
    """The knobs of whatever samples completions."""

    @property
    def max_new_tokens(self) -> int: ...
    @property
    def temperature(self) -> float: ...


class RolloutError(UserError):
    """A reward that is amiss; `rollout` is what was sampled, a record a completion."""

    def __init__(self, sentence: str, rollout: list[dict[str, Any]]) -> None:
        super().__init__(sentence)
        self.rollout = rollout


def rollouts(
    models: Models,
    knobs: Completions,
    prompts: Prompts,
    reward: Reward,
    seed: int,
    turn: int = 0,
    state: dict[str, float] | None = None,
) -> Iterator[Drawn]:
    """Batches without end from `turn` on, each sampled when asked for, with the policy as it is then.

    Raises RolloutError where the reward raises, or returns what is no score.
    """
    beta = (state or {}).get("beta", knobs.beta)
    while True:
        which = rows_of_turn(len(prompts), knobs.rollout, seed, turn)
        completed, sampled = complete(models.policy, knobs, prompts, which, seed, turn)
        scores = scored(reward, completed)
        found = drawn(models, knobs, completed, sampled, scores, beta, turn)
        beta = found.state["beta"]
        yield found
        turn += 1


def rows_of_turn(rows: int, rollout: int, seed: int, turn: int) -> list[int]:
    """The prompts of one turn: each once an epoch, in the epoch's order."""
    epoch, position = divmod(turn, batches_per_epoch(rows, rollout))
    return epoch_order(rows, seed, epoch)[position * rollout : (position + 1) * rollout]


def complete(
    policy: Any, knobs: Sampling, prompts: Prompts, which: list[int], seed: int, turn: int
) -> tuple[Completed, Sampled]:
    """Sample a completion for each of the prompts `which`; the random streams are a function of seed and turn."""
    ids = [prompts.ids[i] for i in which]
    streams = [turn * STREAMS_A_TURN + k for k in range(len(which))]
    sampled = sample(
        policy, ids, seed=seed, max_new_tokens=knobs.max_new_tokens, temperature=knobs.temperature, streams=streams
    )
    return completed_rows(policy, prompts, which, sampled), sampled


def completed_rows(policy: LanguagePolicy, prompts: Prompts, which: list[int], sampled: Sampled) -> Completed:
    """What a reward sees of sampled completions: the text, and the very ids."""
    ids = [prompts.ids[i] for i in which]
    rows = [prompts.rows[i] for i in which]
    decode = policy.tokenizer.batch_decode
    batch = completions_batch(ids, sampled.tokens)
    return Completed(
        prompts=[prompts.prompts[i] for i in which],
        responses=decode(sampled.tokens, skip_special_tokens=True),
        texts=decode([p + c for p, c in zip(ids, sampled.tokens, strict=True)], skip_special_tokens=True),
        columns={name: [values[i] for i in which] for name, values in prompts.columns.items()},
        rows=rows,
        batch=batch.to(policy.device),
        ended=sampled.ended,
    )


def scored(reward: Reward, completed: Completed) -> list[float]:
    """The scores. Raises RolloutError with the completions that could not be scored."""
    try:
        return checked_scores(reward, completed)
    except BadRewardError as error:
        lines = zip(completed.rows, completed.prompts, completed.responses, strict=True)
        raise RolloutError(str(error), [{"row": r, "prompt": p, "response": c} for r, p, c in lines]) from error


def old_logprobs_of(sampled: Sampled, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The sampler's log-probabilities where the tokens lie, 0 elsewhere."""
    out = torch.zeros(mask.shape, device=mask.device)
    out[mask] = torch.tensor([value for row in sampled.logprobs for value in row], device=mask.device)
    return out


@torch.no_grad()
def drawn(
    models: Models,
    knobs: Completions,
    completed: Completed,
    sampled: Sampled,
    raw: list[float],
    beta: float,
    turn: int,
) -> Drawn:
    """Completions with their scores as episodes, and what there is to tell of them, under old TRL's names."""
    assert models.reference is not None
    batch = completed.batch
    old_logprobs = old_logprobs_of(sampled, batch.mask)
    ref_logprobs = models.reference.logprobs(batch)
    scores = torch.tensor(raw, device=batch.mask.device)
    ended = torch.tensor(sampled.ended, device=batch.mask.device)
    counted = scores if knobs.missing_eos_penalty is None else scores - knobs.missing_eos_penalty * ~ended
    episodes = Episodes(
        tokens=batch.tokens,
        mask=batch.mask,
        lengths=batch.lengths,
        rows=torch.tensor(completed.rows, device=batch.mask.device),
        old_logprobs=old_logprobs,
        rewards=kl_shaped_rewards(counted, old_logprobs, ref_logprobs, batch.mask, beta),
        discounts=torch.where(batch.mask & ~is_last(batch.mask), knobs.gamma, 0.0),
    )
    kl = masked_sum(old_logprobs - ref_logprobs, batch.mask, dim=-1)
    metrics: dict[str, Tensor | float] = {
        "objective/kl": kl.mean(),
        "objective/entropy": masked_sum(-old_logprobs, batch.mask, dim=-1).mean(),
        "objective/non_score_reward": (-beta * kl).mean(),
        "objective/rlhf_reward": (counted - beta * kl).mean(),
        "objective/scores": scores.mean(),
        "objective/scores_std": scores.std(correction=0),
        "objective/kl_coef": beta,
        "objective/length": batch.mask.sum(-1).double().mean(),
        "val/num_eos_tokens": ended.sum(),
    }
    told = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
    told["rollout"] = turn + 1
    state = {"beta": controlled(beta, told["objective/kl"], len(raw), knobs)}
    return Drawn(episodes, told, samples(completed, raw, kl, knobs.keep_samples), state)


def controlled(beta: float, kl: float, completions: int, knobs: Completions) -> float:
    """The β of the next rollout, which moves towards the target by at most a fifth of itself a horizon.

    β ← β·(1 + clip(KL/target − 1, −0.2, 0.2)·n/horizon)

    Ziegler et al. (2019), section 2.2.
    """
    if knobs.kl_target is None:
        return beta
    error = min(max(kl / knobs.kl_target - 1, -0.2), 0.2)
    return beta * (1 + error * completions / knobs.kl_horizon)


def samples(completed: Completed, scores: list[float], kl: Float[Tensor, "B"], count: int) -> list[dict[str, Any]]:
    """The first `count` completions as records for samples.jsonl."""
    return [
        {
            "row": completed.rows[i],
            "prompt": completed.prompts[i],
            "response": completed.responses[i],
            "score": scores[i],
            "kl": round(kl[i].item(), 6),
            "ended": completed.ended[i],
        }
        for i in range(min(count, len(scores)))
    ]
