"""What the tests of the loop and of its learners share."""

from typing import Any

import tiny
import torch
from tiny_scorers import make_scorer

from burnish.config import Settings
from burnish.experience.language.completions import Completions
from burnish.policies.interface import Models
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
    return Models(*policies, make_scorer("gpt2", double=False))
