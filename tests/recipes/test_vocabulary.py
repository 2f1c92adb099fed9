"""Tokens that a model knew keep their rows, and new ones begin as the mean of their pieces."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from burnish.recipes.pretrain import Recipe, save_start
from burnish.recipes.vocabulary import transfer_vocabulary

OLD = Recipe(vocabulary=262, width=16, layers=1, heads=2, context=64)
NEW = Recipe(vocabulary=290, width=16, layers=1, heads=2, context=64)
TEXTS = ["a warm and funny film", "a dull film about nothing"] * 4


@pytest.fixture
def tokenizers(tmp_path: Path) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]:
    """262 ids: three special ones, 256 bytes and three merges; and more merges, after others, so that ids move."""
    save_start(tmp_path / "old", TEXTS, OLD, 0)
    save_start(tmp_path / "new", ["the plot is thin"] * 9 + TEXTS, NEW, 0)
    old, new = (PreTrainedTokenizerFast.from_pretrained(tmp_path / name) for name in ("old", "new"))
    return old, new


def model_of(tokenizer: PreTrainedTokenizerFast, tied: bool) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_are_kept_or_are_means_of_pieces(tokenizers: Any, tied: bool) -> None:
    """Of embeddings and output layer; the pieces are found by encoding the token's text with the old tokenizer."""
    old, new = tokenizers
    model = model_of(old, tied)
    before = [layer.weight.clone() for layer in (model.get_input_embeddings(), model.get_output_embeddings())]
    transfer_vocabulary(model, old, new)
    after = [layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings())]
    assert [len(rows) for rows in after] == [290, 290]
    assert model.config.vocab_size == 290
    assert (after[0] is after[1]) == tied
    kept, made = 0, 0
    for token, number in new.get_vocab().items():
        if token in old.get_vocab():
            ids = [old.get_vocab()[token]]
            kept += 1
        else:
            text = new.decode([number])
            ids = old(text, add_special_tokens=False)["input_ids"]
            assert len(ids) > 1
            made += 1
        for rows, ones in zip(after, before, strict=True):
            torch.testing.assert_close(rows[number], sum(ones[i] for i in ids) / len(ids))
    assert kept >= 259
    assert made >= 25
    assert any(
        new.get_vocab()[token] != number for token, number in old.get_vocab().items() if token in new.get_vocab()
    )


def test_old_tokens_have_the_logits_that_they_had(tokenizers: Any) -> None:
    """On a text of bytes and special tokens, whose ids are the same in both."""
    old, new = tokenizers
    model, ids = model_of(old, tied=True), torch.tensor([[0, 70, 80, 90, 1]])
    assert old.convert_ids_to_tokens(ids[0]) == new.convert_ids_to_tokens(ids[0])
    with torch.no_grad():
        before = model(ids).logits
        transfer_vocabulary(model, old, new)
        after = model(ids).logits
    assert after.shape[-1] == 290
    torch.testing.assert_close(after[..., :259], before[..., :259], rtol=0, atol=0)
