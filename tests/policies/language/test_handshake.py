"""The probe of a sampler: what is asked, and how far apart is too far."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import torch

from burnish.policies.interface import Sampled
from burnish.policies.language.handshake import COMPLETIONS, EXACT, ROUNDED, bound_for, difference, probe
from burnish.policies.language.sampler import sample
from burnish.run.world import joined


@pytest.mark.parametrize(
    ("server", "precision", "bound"),
    [
        ({}, "float32", EXACT),
        ({}, "bfloat16", ROUNDED),
        ({"dtype": "bfloat16"}, "float32", ROUNDED),
        ({"dtype": "float16"}, "float32", ROUNDED),
        ({"precision": "bfloat16"}, "float32", ROUNDED),
        ({"other_dtypes": {"model.norm.weight": "bfloat16"}}, "float32", ROUNDED),
        ({"other_dtypes": {"steps": "int64"}}, "float32", EXACT),
    ],
)
def test_the_bound_is_that_of_the_coarser_side(server: dict[str, Any], precision: str, bound: float) -> None:
    policy = tiny.make_policy("llama", double=False)
    policy.precision = precision
    assert bound_for({"dtype": "float32", "precision": "float32"} | server, policy) == bound


@pytest.mark.parametrize("context", [5, 9, 48])
def test_a_probe_fits_into_the_context(context: int) -> None:
    policy = tiny.make_policy("llama", double=False, max_position_embeddings=context)
    policy.temperature = 0.5
    prompts, streams, knobs = probe(policy, 2**40 + 3)
    assert len(prompts) == len(streams) == len(set(streams)) == 2 * COMPLETIONS
    assert all(0 < len(prompt) < context for prompt in prompts)
    assert (knobs.seed, knobs.temperature) == (3, 0.5)


def test_the_difference_is_that_of_every_token_at_the_temperature() -> None:
    """The policy itself is 0 away but for rounding; a quarter of a nat on one token is a quarter there alone."""
    policy, prompts = tiny.make_policy("gpt2", double=False), [[0, 5], [0, 6, 7]]
    found = sample(policy, prompts, seed=1, max_new_tokens=6, temperature=0.5)
    assert isinstance(found, Sampled)
    assert difference(policy, prompts, found, 0.5).max() < 1e-5
    assert difference(policy, prompts, found, 1.0).max() > 0.1
    assert policy.temperature == 1.0
    moved = [list(row) for row in found.logprobs]
    moved[1][0] += 0.25
    apart = difference(policy, prompts, replace(found, logprobs=moved), 0.5)
    at = len(moved[0])
    assert apart[at].item() == pytest.approx(0.25, abs=1e-5)
    assert torch.cat([apart[:at], apart[at + 1 :]]).max() < 1e-5


def scored_by_one() -> tuple[list[int], list[float]]:
    """The rows that this process scores, and the differences of all tokens."""
    policy, prompts = tiny.make_policy("gpt2", double=False), [[0, 5], [0, 6, 7], [0, 4]]
    found, rows = sample(policy, prompts, seed=1, max_new_tokens=6), []
    found = replace(found, logprobs=[[value + row for value in one] for row, one in enumerate(found.logprobs)])
    logprobs = policy.logprobs

    def noting(batch: Any) -> Any:
        rows.append(len(batch))
        return logprobs(batch)

    policy.logprobs = noting  # type: ignore[method-assign]
    return rows, difference(policy, prompts, found, 1.0, joined()).tolist()


def test_of_two_processes_each_scores_its_share(tmp_path: Path) -> None:
    """Completion i is i nats away: three of them, one for the first process and two for the second."""
    (alone, apart), ((one, first), (other, second)) = scored_by_one(), ranks.together(2, tmp_path, scored_by_one)
    assert (alone, one, other) == ([3], [1], [2])
    assert first == second == pytest.approx(apart, abs=1e-5)
    assert sorted({round(value) for value in first}) == [0, 1, 2]
