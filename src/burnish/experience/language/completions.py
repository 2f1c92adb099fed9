"""Completions as episodes: sampled with the current policy, scored once at their end, with a KL penalty per token."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from burnish.batches import Drawn, Episodes
from burnish.data.walk import next_rows
from burnish.experience.interface import Source
from burnish.experience.language.correction import Corrected
from burnish.experience.language.sampling import Scored
from burnish.functional import kl_shaped_rewards, masked_sum
from burnish.options import option


@dataclass(frozen=True)
class Completions(Corrected):
    """Sampled completions of prompts, with the score of a reward and a penalty on leaving the reference.

    r_t = −β·(log π(y_t) − log π_ref(y_t)) + [t is the last token]·score

    A completion that reached the length limit is terminated like one that ended itself: its score is final.

    Stiennon et al. (2020), "Learning to summarize from human feedback", section 3.4; the adaptive β is that of Ziegler
    et al. (2019), "Fine-Tuning Language Models from Human Preferences", section 2.2.
    """

    critic: str | None = option(None, "model that the critic starts from; default: the reward model, or else --model")
    rollout: int = option(128, "completions to sample before the policy learns from them", ge=1)
    beta: float = option(
        0.05,
        "coefficient of the KL penalty to the reference; the starting value of an adaptive one",
        ge=0,
        why="it would reward leaving the reference",
    )
    kl_target: float | None = option(None, "adapt beta towards this KL divergence per completion, in nats", gt=0)
    kl_horizon: int = option(10_000, "completions in which an adaptive beta changes by at most a fifth", ge=1)
    ptx_data: str | None = option(
        None, "texts to imitate beside the reward, as --data takes them: pretraining or SFT data (PPO-ptx)"
    )
    ptx_weight: float = option(
        0.0, "weight of the negative log-likelihood of --ptx-data; at 0 it is only measured", ge=0
    )
    gamma: float = option(1.0, "discount factor", ge=0, le=1)
    keep_samples: int = option(8, "completions per rollout written to samples.jsonl", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kl_target is not None and not self.beta > 0:
            raise ValueError("an adaptive beta that starts at 0 stays there: set a beta above 0, or no kl_target")
        if self.kl_target is None and self.kl_horizon != Completions.kl_horizon:
            raise ValueError("kl_horizon only applies when beta is adaptive: set kl_target too")
        if self.ptx_weight and self.ptx_data is None:
            raise ValueError("ptx_weight needs texts: set ptx_data too")

    @property
    def needs(self) -> tuple[str, ...]:
        """The reference only where a penalty on KL uses it."""
        return super().needs + (("reference",) if self.beta else ())

    @property
    def critic_model(self) -> str | None:
        return self.critic

    @property
    def texts(self) -> str | None:
        return self.ptx_data

    def draw(self, source: Source, number: int, carried: dict[str, float]) -> Drawn:
        """One completion per prompt. Raises RolloutError where the reward fails."""
        found = self.complete(source, self.which(source, number), number)
        drawn = episodes(self, source, found, carried.get("beta", self.beta), number)
        return drawn if source.texts is None else beside(drawn, self, source, number)

    def evaluate(self, source: Source, count: int) -> dict[str, float]:
        """Metrics of one completion per held-out prompt, always from the same random streams; the loss is the negative
        of the objective E[score] − β·KL, with the β that the run began with."""
        shown = replace(self, rollout=count, kl_target=None, kl_horizon=Completions.kl_horizon, keep_samples=0)
        found = shown.draw(source, 0, {}).metrics
        return {"loss": -found["objective/rlhf_reward"]} | {k: v for k, v in found.items() if k != "rollout"}


@torch.no_grad()
def episodes(knobs: Completions, source: Source, found: Scored, beta: float, number: int) -> Drawn:
    """Scored completions as episodes, with metrics under old TRL's names."""
    completed, batch = found.completed, found.completed.batch
    device = batch.mask.device
    old_logprobs = found.old_logprobs(source, again=knobs.correcting)
    weights, apart = knobs.against(source, old_logprobs, found.sampler_logprobs, batch.mask)
    ref_logprobs = source.logprobs(source.models.reference, batch) if "reference" in knobs.needs else None
    scores, ended = found.scores.float(), torch.tensor(completed.ended, device=device)
    counted = found.counted.float()
    priced = old_logprobs if ref_logprobs is None else ref_logprobs
    rewards = kl_shaped_rewards(found.final.float(), old_logprobs, priced, batch.mask, beta)
    rewards = rewards if found.earned is None else rewards + found.earned.float()
    drawn = found.episodes(
        Episodes, knobs, old_logprobs, rewards, knobs.gamma, ref_logprobs=ref_logprobs, weights=weights
    )
    kl = masked_sum(old_logprobs - priced, batch.mask, dim=-1)
    metrics: dict[str, Tensor | float] = {} if ref_logprobs is None else {"objective/kl": kl.mean()}
    metrics |= {
        "objective/entropy": masked_sum(-old_logprobs, batch.mask, dim=-1).mean(),
        "objective/non_score_reward": (-beta * kl).mean(),
        "objective/rlhf_reward": (counted - beta * kl).mean(),
        "objective/scores": scores.mean(),
        "objective/scores_std": scores.std(correction=0),
        "objective/kl_coef": beta,
        "objective/length": batch.mask.sum(-1).double().mean(),
        "val/num_eos_tokens": ended.sum(),
    }
    plain = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
    plain |= apart | found.metrics | {"rollout": number + 1}
    state = {"beta": next_beta(beta, plain.get("objective/kl", 0.0), len(completed), knobs)}
    return Drawn(drawn, plain, samples(found, None if ref_logprobs is None else kl, knobs.keep_samples), state)


def beside(drawn: Drawn, knobs: Completions, source: Source, number: int) -> Drawn:
    """The episodes with as many texts to imitate, the next of a walk through them.

    Ouyang et al. (2022), "Training language models to follow instructions with human feedback", eq. 2 (PPO-ptx).
    """
    batch = drawn.batch
    rows = next_rows(source.texts.plan, source.seed, number * knobs.rollout, len(batch))
    texts = source.texts.batch(rows).to(batch.mask.device)
    weight = torch.tensor(knobs.ptx_weight, device=batch.mask.device)
    return replace(drawn, batch=replace(batch, ptx=texts, ptx_weight=weight))


def next_beta(beta: float, kl: float, completions: int, knobs: Completions) -> float:
    """The β of the next rollout, which moves towards the target by at most a fifth of itself per horizon.

    β ← β·(1 + clip(KL/target − 1, −0.2, 0.2)·n/horizon)

    Ziegler et al. (2019), section 2.2.
    """
    if knobs.kl_target is None:
        return beta
    error = min(max(kl / knobs.kl_target - 1, -0.2), 0.2)
    return beta * (1 + error * completions / knobs.kl_horizon)


def samples(found: Scored, kl: Tensor | None, count: int) -> list[dict[str, Any]]:
    """The first `count` completions as records for samples.jsonl."""
    lines = []
    for i, (row, prompt, response) in enumerate(
        zip(found.completed.rows, found.completed.prompts, found.completed.responses, strict=True)
    ):
        if i == count:
            break
        line: dict[str, Any] = {"row": row, "prompt": prompt, "response": response, "score": found.scores[i].item()}
        line |= {} if kl is None else {"kl": round(kl[i].item(), 6)}
        line |= {} if found.completed.turns is None else {"turns": found.completed.turns[i]}
        lines.append(line | {"ended": found.completed.ended[i]})
    return lines
