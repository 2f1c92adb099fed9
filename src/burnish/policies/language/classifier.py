"""The class of a reward model: transformers' sequence classifier of a family, or one of our own where it has none."""

from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from burnish.policies.language.parts import embedding
from burnish.run import UserError

SUFFIX = "ForSequenceClassification"
OTHER_HEAD = ("ctrl", "modernbert-decoder")
"""Decoder families whose sequence classifier in transformers has another head than a linear layer named `score`."""


def classifier_class(config: PreTrainedConfig) -> Any:
    """What loads a sequence classifier of this configuration by `from_pretrained`.

    `AutoModelForSequenceClassification` where transformers, or the model's own code, has a classifier of the family;
    else a class made here from `ScalarHead`, named as transformers would name it. Raises UserError for a family that
    has no base model either.
    """
    theirs = AutoModelForSequenceClassification._model_mapping
    if f"AutoModel{SUFFIX}" in (getattr(config, "auto_map", None) or {}):
        return AutoModelForSequenceClassification
    if type(config) in theirs:
        saved_by_them = cast(type, theirs[type(config)]).__name__ in (config.architectures or ())
        if config.model_type not in OTHER_HEAD or saved_by_them:
            return AutoModelForSequenceClassification
        return scalar_class(config, "Scalar")  # under another name than theirs, which would load it without its head
    if type(config) not in AutoModel._model_mapping:
        raise UserError(
            f"{config.name_or_path} ({config.model_type}) cannot be a reward model or a critic: transformers has "
            "neither a sequence classifier nor a base model of this family; use a model of another family"
        )
    return scalar_class(config)


def scalar_class(config: PreTrainedConfig, kind: str = "") -> type[PreTrainedModel]:
    """A class with a `ScalarHead` on the base model of this configuration."""
    base = cast(type[PreTrainedModel], AutoModel._model_mapping[type(config)])
    family = next(one for one in base.__mro__[1:] if one.__name__.endswith("PreTrainedModel"))
    facts = {"config_class": type(config), "base_model_prefix": base.base_model_prefix, "__module__": family.__module__}
    return type(family.__name__.removesuffix("PreTrainedModel") + kind + SUFFIX, (ScalarHead, family), facts)


class ScalarHead:
    """A linear head without bias on the base model of a family, to be mixed into the family's `PreTrainedModel`.

    It has the names, the checkpoint and the outputs of the sequence classifiers of transformers: `score` is the head,
    the weights of the base have the names that they have in the family's language model, and `logits` `[B, 1]` are read
    at the last token. Differs: the attention mask says which that is, not the id of a padding token.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        model = cast(PreTrainedModel, self)
        setattr(model, model.base_model_prefix, AutoModel.from_config(config))
        model.score = nn.Linear(embedding(model).embedding_dim, 1, bias=False)
        model.post_init()

    def forward(
        self, input_ids: Int[Tensor, "B T"], attention_mask: Int[Tensor, "B T"] | None = None, **options: Any
    ) -> SequenceClassifierOutput:
        model = cast(Any, self)
        hidden = model.base_model(input_ids=input_ids, attention_mask=attention_mask, **options).last_hidden_state
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        last = (real * torch.arange(1, real.shape[1] + 1, device=real.device)).argmax(1)
        return SequenceClassifierOutput(logits=model.score(hidden[torch.arange(len(last)), last]))
