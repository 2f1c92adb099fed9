"""Replayed rows of random numbers, for tests of what learns from them."""

import torch

from burnish.batches import Replayed

GAMMA = 0.5


def random_rows(
    runs: int, count: int, n_step: int, inputs: int, actions: int, continuous: bool, seed: int = 0
) -> Replayed:
    """Rows of 1 to `n_step` steps, about a third of which terminate."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    lengths = torch.randint(1, n_step + 1, (runs, count), generator=generator)
    mask = torch.arange(n_step) < lengths[..., None]
    ends = torch.rand(runs, count, generator=generator) < 0.3
    last = torch.arange(n_step) == lengths[..., None] - 1
    return Replayed(
        observations=draw(runs, count, inputs),
        actions=draw(runs, count, actions).tanh()
        if continuous
        else torch.randint(actions, (runs, count), generator=generator),
        rewards=torch.where(mask, draw(runs, count, n_step), 0.0),
        discounts=torch.where(mask & ~(last & ends[..., None]), GAMMA, 0.0).double(),
        mask=mask,
        reached=draw(runs, count, inputs),
        lengths=lengths,
        rows=torch.arange(count),
        runs=torch.arange(runs),
        progress=torch.zeros(runs, dtype=torch.float64),
        noise=draw(runs, count, 2, actions) if continuous else None,
    )
