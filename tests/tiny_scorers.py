"""Tiny random sequence classifiers with one label, as scorers and critics."""

from typing import Any

import tiny
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from burnish.policies.language.classifier import classifier_class
from burnish.policies.language.scorer import LanguageScorer

FAMILIES = ["gemma2", "gpt2", "llama", "mistral", "neox", "opt", "qwen"]
"""Those of `tiny.FAMILIES` that transformers has a sequence classifier of."""


def make_classifier(family: str = "gpt2", seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random sequence classifier without padding; its own forward reads one text at a time, at the last token."""
    name, options = tiny.FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**options | {"num_labels": 1, "pad_token_id": None} | changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind = classifier_class(config)
        return kind.from_config(config) if kind is AutoModelForSequenceClassification else kind(config)


def make_scorer(family: str = "gpt2", seed: int = 0, double: bool = True, **changes: Any) -> LanguageScorer:
    """A scorer in float64, unless told otherwise."""
    model = make_classifier(family, seed, **changes)
    return LanguageScorer(model.double() if double else model, tiny.make_tokenizer())


def naive_score(model: PreTrainedModel, ids: list[int]) -> Tensor:
    """The oracle: one unpadded text through the model's own forward."""
    assert model.config.pad_token_id is None
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, 0]
