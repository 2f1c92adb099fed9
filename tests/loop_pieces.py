"""What the tests of experiences, of the loop and of its learners share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tiny
import torch
from tiny_scorers import make_scorer
from torch import Tensor

from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Prepared
from burnish.config import Settings
from burnish.data.prompts import Prompts, read_prompts
from burnish.data.sources import load
from burnish.experience.interface import Source
from burnish.experience.language.completions import Completions
from burnish.options import option
from burnish.policies.interface import Models, Sampled, SamplingKnobs
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import PolicySampler
from burnish.rewards.function import function_reward

BATCH = tiny.demonstrations(tiny.random_rows(6, seed=5))


def settings(**options: Any) -> Settings:
    return Settings(**{"learning_rate": 0.01, "data": "rows.jsonl", "save_every": 0, "quiet": True} | options)


def optimizer_of(models: Models, rate: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.SGD(models.policy.parameters().values(), lr=rate)


def lengths_of(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    return [float(len(response.split())) for response in responses]


REWARD = function_reward(lengths_of)
KNOBS = Completions(reward=lengths_of, rollout=8, max_new_tokens=4, kl_target=0.1, kl_horizon=20, keep_samples=2)


def online_models() -> Models:
    policies = [tiny.make_policy("gpt2", seed=seed, double=False) for seed in (0, 1)]
    return Models(policy=policies[0], reference=policies[1], critic=make_scorer("gpt2", double=False))


def prompts_of(policy: LanguagePolicy, rows: list[dict[str, Any]]) -> Prompts:
    return read_prompts(load(rows), policy.tokenizer, 20, "rows")


class Foreign:
    """A sampler elsewhere: it draws what the policy would, and is a quarter of a nat wrong about each token."""

    exact = False

    def __init__(self, policy: LanguagePolicy) -> None:
        self.own = PolicySampler(policy)

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        found = self.own.sample(prompts, streams, knobs)
        return replace(found, logprobs=[[value - 0.25 for value in row] for row in found.logprobs])

    def load(self, weights: Mapping[str, Tensor], version: int) -> None:
        self.own.load(weights, version)


def source_of(models: Models, prompts: Prompts | int = 20, reward: Any = REWARD, seed: int = 0) -> Source:
    """What an experience draws from, with the policy's own sampler; random prompts where a number is given."""
    if isinstance(prompts, int):
        prompts = prompts_of(models.policy, tiny.prompt_rows(prompts))
    return Source(models, prompts, PolicySampler(models.policy), reward, seed)


@dataclass(frozen=True)
class Weighed(Prepared):
    batch: Any
    weight: Tensor


@dataclass(frozen=True)
class Own(Algorithm):
    """A method that Burnish does not know: imitation up to a ceiling, weighed by how far the last rollout had got.

    L = w · mean_t [ −log π ],  w ← w − mean log π after each rollout, from 1
    """

    ceiling: float = option(0.0, "mean log-probability at which a rollout ends", le=0)
    rounds: int = option(40, "passes over a rollout", ge=1)

    @property
    def passes(self) -> int:
        return self.rounds

    def prepare(self, models: Models, part: Any, statistics: Statistics) -> Weighed:
        return Weighed(part, torch.as_tensor(statistics.get("weight", 1.0), dtype=torch.float64))

    def loss(self, models: Models, batch: Weighed) -> Loss:
        logprobs = models.policy.logprobs(batch.batch)
        return Loss({"nll": Term(-logprobs, batch.mask, weight=batch.weight)}, {"own/logprob": logprobs.detach()})

    def stops(self, metrics: dict[str, Any]) -> bool | Tensor:
        return metrics["own/logprob"] > self.ceiling

    def conclude(self, measure: Callable[[], dict[str, Tensor]], carried: dict[str, Any]) -> dict[str, Any]:
        return {"weight": carried.get("weight", 1.0) - measure()["own/logprob"]}
