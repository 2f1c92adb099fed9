"""Completions made on the spot."""

from typing import Any

import torch

from burnish.batches import Demonstrations
from burnish.rewards.completed import Completed


def completed(*responses: str, columns: dict[str, list[Any]] | None = None, rows: list[int] | None = None) -> Completed:
    """Responses to the prompts `p0`, `p1` …, of rows 10, 11 … unless told otherwise; row i of the batch is 0 … i."""
    n = len(responses)
    prompts = [f"p{i}" for i in range(n)]
    texts = [f"{prompt} {response}" for prompt, response in zip(prompts, responses, strict=True)]
    lengths = torch.arange(1, n + 1)
    real = torch.arange(n) < lengths[:, None]
    rows = list(range(10, 10 + n)) if rows is None else rows
    batch = Demonstrations(torch.where(real, torch.arange(n), 0), real, lengths, torch.arange(n))
    return Completed(prompts, list(responses), texts, columns or {}, rows, batch, [True] * n)
