"""One group of three completions with scores 3, 0 and 0, of two, one and two words, and a step on it."""

import math
from typing import Any

import tiny
import torch
from phases import ready
from torch import Tensor

from burnish.algorithms.group import GroupGradient
from burnish.batches import GroupEpisodes
from burnish.policies.interface import Models
from burnish.training.step import gradient

LOG = {ratio: math.log(ratio) for ratio in (0.5, 2, 4)}
MASK = torch.tensor([[True, True], [True, False], [True, True]])
OLD = torch.tensor([[-1.0, -0.5], [-2.0, 0.0], [-0.25, -1.0]], dtype=torch.float64)


def one_group(**changes: Any) -> GroupEpisodes:
    """The reference is the policy that sampled."""
    return GroupEpisodes(
        **{
            "tokens": MASK.long(),
            "mask": MASK,
            "lengths": torch.full((3,), 2),  # equal, so that no micro-batch sorts the rows
            "rows": torch.zeros(3, dtype=torch.long),
            "sampler_logprobs": OLD,
            "old_logprobs": OLD,
            "ref_logprobs": OLD,
            "rewards": torch.tensor([[0.0, 3], [0, 0], [0, 0]]).double(),
            "discounts": torch.tensor([[1.0, 0], [0, 0], [1, 0]]).double(),
            "limit": torch.tensor(2),
            "peers": torch.tensor([[3.0, 0, 0]] * 3).double(),
            "place": torch.arange(3),
            "peers_kl": torch.zeros(3, 3).double(),
        }
        | changes
    )


def step_of(algorithm: GroupGradient, moved: list[list[float]], **changes: Any) -> tuple[dict[str, float], Tensor]:
    """The step's metrics, and the gradient in the log-probabilities, after these have moved so far."""
    ahead = torch.tensor([[*row, 0.0][:2] for row in moved], dtype=torch.float64)
    logprobs = (OLD + ahead).requires_grad_()
    batch = one_group(**changes)
    before = ready(algorithm, Models(policy=tiny.Table(OLD)), batch)
    metrics = gradient(algorithm, Models(policy=tiny.Table(logprobs)), before)
    assert logprobs.grad is not None
    return metrics, logprobs.grad
