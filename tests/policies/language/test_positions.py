"""Rotary positions that depend on a row's length: read from configurations, and rows sorted by them."""

from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, Phi3Config

from burnish.policies.language.positions import LengthScaling, length_scaling

FACTORS = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
SIZES: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (GPT2Config(), None),
        (LlamaConfig(**SIZES), None),
        (LlamaConfig(**SIZES, rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}), None),
        (
            LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
            LengthScaling(64, dynamic=True),
        ),
        (
            Phi3Config(
                **SIZES,
                pad_token_id=0,
                original_max_position_embeddings=16,
                rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, **FACTORS},
            ),
            LengthScaling(16, dynamic=False),
        ),
        (
            Phi3Config(  # as published configurations write it
                **SIZES,
                pad_token_id=0,
                original_max_position_embeddings=16,
                rope_scaling={"type": "longrope", **FACTORS},
            ),
            LengthScaling(16, dynamic=False),
        ),
    ],
)
def test_configurations(config: Any, expected: LengthScaling | None) -> None:
    assert length_scaling(config) == expected


def test_layers_with_parameters_of_their_own() -> None:
    """One kind is that kind; of two that differ, every length beyond the shorter is a kind of its own."""
    config = LlamaConfig(**SIZES)
    longrope = {"rope_type": "longrope", "original_max_position_embeddings": 16}
    config.rope_parameters = {"full_attention": longrope, "sliding_attention": {"rope_type": "default"}}
    assert length_scaling(config) == LengthScaling(16, dynamic=False)
    config.rope_parameters = {"full_attention": longrope, "sliding_attention": {"rope_type": "dynamic"}}
    assert length_scaling(config) == LengthScaling(16, dynamic=True)


def test_kinds_of_lengths() -> None:
    lengths = torch.tensor([1, 16, 17, 18, 18])
    assert LengthScaling(16, dynamic=False).kinds(lengths).tolist() == [0, 0, 1, 1, 1]
    assert LengthScaling(16, dynamic=True).kinds(lengths).tolist() == [0, 0, 17, 18, 18]


@pytest.mark.parametrize(
    ("dynamic", "prompt", "longest"),
    [(False, 3, 16), (False, 16, 16), (False, 17, None), (True, 3, 16), (True, 16, 16), (True, 17, 17)],
)
def test_how_far_a_prompt_can_grow(dynamic: bool, prompt: int, longest: int | None) -> None:
    assert LengthScaling(16, dynamic).longest(prompt) == longest
