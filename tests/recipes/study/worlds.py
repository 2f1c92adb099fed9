"""A language model that is small enough for tests of whole studies, and what their cells have found."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from burnish.recipes.assets import resolve_model
from burnish.recipes.study.cell import SHARED
from burnish.recipes.study.judge import CONSTANTS
from burnish.run import UserError

INPUTS = ("data_sha256", "model_sha256", "tokenizer_sha256", "judge_sha256", "judge_tokenizer_sha256")
"""What a study with a gold judge is begun with, and must be resumed with."""


def narrow(folder: Path, context: int = 64) -> str:
    """The built-in model's tokenizer with random weights; about a quarter of all tokens are ends."""
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("builtin"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 3.0  # so that the first number of every state is about 4
        model.lm_head.weight[tokenizer.eos_token_id, 0] = math.log(len(tokenizer) / 3) / 4  # other logits are near 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def cell(out: Path, name: str) -> dict[str, Any]:
    """What a cell of the study in `out` has found."""
    return json.loads((out / "cells" / f"{name}.json").read_text())


def refuses_others(resume: Callable[[], object], out: Path, ppo: dict[str, Any]) -> None:
    """The study in `out` is not resumed with other constants of the judge, the trainings or PPO, or other inputs."""
    for fixed, key, name in (
        (CONSTANTS, "slope", "judge.slope"),
        (SHARED, "schedule", "training.schedule"),
        (ppo, "update_epochs", "ppo.update_epochs"),
    ):
        with pytest.MonkeyPatch.context() as edited:
            edited.setitem(fixed, key, 3)
            with pytest.raises(UserError, match=f"begun with another config, {name} "):
                resume()
    file = out / "environment.json"
    noted = json.loads(file.read_text())
    for key in INPUTS:
        file.write_text(json.dumps(noted | {key: "other"}))
        with pytest.raises(UserError, match=f"begun with other inputs, {key} .was 'other'"):
            resume()
    file.write_text(json.dumps(noted))
