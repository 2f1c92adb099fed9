import re
from typing import Any

import pytest

from burnish.policies.language.values import check_config, check_generation
from burnish.run import UserError

SOUND: list[dict[str, Any]] = [
    {},
    {"sliding_window": 0, "use_sliding_window": False},
    {"sliding_window": None, "max_position_embeddings": 8, "vocab_size": 1, "layer_types": ["full_attention"]},
    {"num_hidden_layers": 1000, "attention_dropout": 0, "resid_pdrop": 1.0, "classifier_dropout": None},
    {"text_config": {"num_hidden_layers": 1, "hidden_dropout_prob": 0.1}, "summary_first_dropout": None},
]
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"n_layer": 0}, "n_layer to 0, and it must be at least 1"),
    ({"max_position_embeddings": -3}, "max_position_embeddings to -3, and it must be at least 1"),
    ({"n_positions": 0}, "n_positions to 0, and it must be at least 1"),
    ({"text_config": {"sliding_window": -1}}, "sliding_window to -1, and it must be at least 1"),
    ({"intermediate_size": 0}, "intermediate_size to 0, and it must be at least 1"),
    ({"max_position_embeddings": 0.5}, "max_position_embeddings to 0.5, and it must be at least 1"),
    ({"num_layers": 1001}, "num_layers to 1001, and it must be at most 1000"),
    ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers to 1000000000, and it must be at most 1000"),
    ({"resid_pdrop": 1.5}, "resid_pdrop to 1.5, and it must be a number in [0, 1]"),
    ({"hidden_dropout": float("nan")}, "hidden_dropout to nan, and it must be a number in [0, 1]"),
    ({"dropout": None}, "dropout to None, and it must be a number in [0, 1]"),
    ({"embd_pdrop": True}, "embd_pdrop to True, and it must be a number in [0, 1]"),
    ({"dropout_rate": [0.1]}, "dropout_rate to [0.1], and it must be a number in [0, 1]"),
]


@pytest.mark.parametrize("config", SOUND)
def test_sound_configurations_pass(config: dict[str, Any]) -> None:
    check_config(config, "config.json")


@pytest.mark.parametrize(("config", "sentence"), BROKEN)
def test_values_that_no_model_can_have_are_named(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"its config.json sets {sentence}")):
        check_config(config, "config.json")


@pytest.mark.parametrize(
    "config", [{}, {"eos_token_id": 1}, {"eos_token_id": [1, 2]}, {"eos_token_id": None, "pad_token_id": -1}]
)
def test_ids_of_tokens_pass(config: dict[str, Any]) -> None:
    check_generation(config, "generation_config.json")


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({"eos_token_id": [[1]]}, "eos_token_id to [[1]]"),
        ({"eos_token_id": [1, "a"]}, "eos_token_id to [1, 'a']"),
        ({"eos_token_id": float("inf")}, "eos_token_id to inf"),
        ({"bos_token_id": True}, "bos_token_id to True"),
        ({"pad_token_id": [1]}, "pad_token_id to [1]"),
    ],
)
def test_what_is_no_id_of_a_token_is_named(config: dict[str, Any], value: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"its g.json sets {value}, and it must be the number of a token")):
        check_generation(config, "g.json")
