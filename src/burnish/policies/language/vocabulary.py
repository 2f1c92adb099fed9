"""Tokens of a tokenizer that a model's embedding has no row for."""

from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.policies.language.loading import quiet
from burnish.policies.language.parts import embedding
from burnish.run import UserError

ADVICE = "train with --resize-embeddings to add rows for new tokens, or use the tokenizer that the model came with"


def needed_rows(tokenizer: PreTrainedTokenizerBase) -> int:
    """The number of rows of an embedding that has one for every token."""
    return max(tokenizer.get_vocab().values()) + 1


def check_token(token: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, place: str) -> None:
    """Raise UserError, naming the `place`, for a token that the model's embedding has no row for.

    That the tokenizer has such tokens is no mistake: Gemma 3's has one for pictures, which its smaller models lack.
    """
    rows = embedding(model).num_embeddings
    if token >= rows:
        name = cast(str, tokenizer.convert_ids_to_tokens(token))
        raise UserError(
            f"{place} has the token {name!r} with id {token}, and the embedding of {model.config.name_or_path} has "
            f"{rows} rows: {ADVICE}"
        )


def resize_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Add rows to the embedding and the head, so that every token has one.

    They are drawn, reproducibly, from the normal distribution of the rows that are there (Hewitt 2021, "Initializing
    New Word Embeddings for Pretrained Language Models"). Raises UserError where no row is missing.
    """
    rows, needed = embedding(model).num_embeddings, needed_rows(tokenizer)
    if needed <= rows:
        raise UserError(f"{name}: the embedding has {rows} rows for {needed} tokens: leave resize_embeddings out")
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.resize_token_embeddings(needed)
