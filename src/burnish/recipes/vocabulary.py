"""A model with another vocabulary: the words that it knows in pieces become tokens of their own."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerFast


@torch.no_grad()
def transfer_vocabulary(model: Any, old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast) -> None:
    """Give `model`, whose tokenizer is `old`, the embeddings of `new`, in place: fast vocabulary transfer.

        e_new(t) = 1/k · Σ_i e_old(p_i),  (p_1 … p_k) = the pieces into which `old` splits the token t

    A token that `old` has keeps its row. `new` must be of the same kind as `old`, byte-level BPE, so that a token is
    the same characters to both. An output layer that is not tied to the embeddings is treated alike. What is left
    is to train: the rows are a start, and texts have fewer tokens than before.

    Source: Gee et al. (2022), "Fast Vocabulary Transfer for Language Model Compression", section 3.
    """
    known, split = old.get_vocab(), old.backend_tokenizer.model
    tokens = sorted(new.get_vocab().items(), key=lambda item: item[1])
    pieces = [
        [known[token]] if token in known else [piece.id for piece in split.tokenize(token)] for token, _ in tokens
    ]
    rows = [torch.stack([weight[ids].mean(0) for ids in pieces]) for weight in tables(model)]
    model.resize_token_embeddings(len(tokens), mean_resizing=False)
    for weight, values in zip(tables(model), rows, strict=True):
        weight.copy_(values)


def tables(model: Any) -> list[torch.Tensor]:
    """The embeddings and the weights of the output layer; one tensor where they are tied."""
    first, last = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    return [first] if last is first else [first, last]
