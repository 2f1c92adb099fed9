"""Tokens without a row in the embedding are refused by name, or get a row."""

from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from burnish.policies.language.loading import Loading
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.policies.language.scorer import load_scorer
from burnish.policies.language.vocabulary import check_token, needed_rows, resize_embeddings
from burnish.run import UserError


def grown(folder: Path, family: str, *words: str) -> Path:
    """A model whose tokenizer has more tokens than its embedding has rows."""
    tiny.save_model(folder, family)
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_tokens(list(words))
    tokenizer.save_pretrained(folder)
    return folder


def test_a_row_is_needed_up_to_the_largest_id() -> None:
    tokenizer = tiny.make_tokenizer()
    assert needed_rows(tokenizer) == len(tiny.WORDS) + 3
    tokenizer.add_tokens(["<new>"])
    assert needed_rows(tokenizer) == len(tiny.WORDS) + 4


def test_a_token_without_a_row_is_named() -> None:
    model, tokenizer = tiny.make_model(), tiny.make_tokenizer()
    rows = model.get_input_embeddings().weight.shape[0]
    check_token(rows - 1, model, tokenizer, "f.jsonl, row 3")
    tokenizer.add_tokens(["<new>"])
    new = tokenizer.convert_tokens_to_ids("<new>")
    assert new == rows, "the tiny tokenizer fills the tiny embedding"
    with pytest.raises(UserError, match=rf"f\.jsonl, row 3 has the token '<new>' with id {new}, .* has {rows} rows"):
        check_token(new, model, tokenizer, "f.jsonl, row 3")


@pytest.mark.parametrize("family", ["gpt2", "neox"])  # with a tied and an untied head
def test_new_rows_leave_the_old_ones_alone_and_are_the_same_each_time(family: str) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_tokens(["<one>", "<two>"])
    models = [tiny.make_model(family) for _ in range(2)]
    before = [tiny.make_model(family).get_input_embeddings().weight, tiny.make_model(family).lm_head.weight]
    state = torch.random.get_rng_state()
    for model in models:
        resize_embeddings(model, tokenizer, "m")
        torch.rand(1)
    torch.random.set_rng_state(state)
    matrices = [[model.get_input_embeddings().weight, model.lm_head.weight] for model in models]
    for new, again, old in zip(*matrices, before, strict=True):
        assert new.shape[0] == old.shape[0] + 2 == needed_rows(tokenizer)
        assert torch.equal(new[:-2], old)
        assert torch.equal(new, again)
        assert new[-2:].std() > 0
    assert models[0].config.vocab_size == needed_rows(tokenizer)
    with pytest.raises(UserError, match=r"the embedding has \d+ rows for \d+ tokens: leave resize_embeddings out"):
        resize_embeddings(models[0], tokenizer, "m")


def test_a_resized_model_is_loaded_saved_and_loaded_by_transformers(tmp_path: Path) -> None:
    folder = grown(tmp_path / "m", "llama", "<new>")
    policy = load_policy(folder, loading=Loading(resize=True))
    policy.save(tmp_path / "saved")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    ids = torch.tensor([tokenizer("the <new> plot")["input_ids"]])
    assert model(ids).logits.shape[-1] == needed_rows(tokenizer)


def test_a_tokenizer_with_more_tokens_is_no_mistake_until_one_is_used(tmp_path: Path) -> None:
    policy = load_policy(grown(tmp_path / "m", "llama", "<new>"))
    new = policy.tokenizer.convert_tokens_to_ids("<new>")
    sample(policy, [[0, 5]], max_new_tokens=2, temperature=1.0, seed=0)
    with pytest.raises(UserError, match=r"prompt 1 has the token '<new>'"):
        sample(policy, [[0, 5], [0, new]], max_new_tokens=2, temperature=1.0, seed=0)
    with pytest.raises(UserError, match=r"a text has the token '<new>'"):
        policy.logprobs(tiny.demonstrations([([0, 5, new], [False, True, True])]))


def test_a_reward_model_gets_padding_behind_tokens_that_have_rows_only(tmp_path: Path) -> None:
    folder = grown(tmp_path / "m", "llama", "<new>")
    with pytest.raises(UserError, match=r"--model .*/m: the tokenizer has .* --resize-embeddings"):
        load_scorer(folder)
    scorer = load_scorer(folder, loading=Loading(resize=True))
    weight = scorer.model.get_input_embeddings().weight
    assert weight[scorer.tokenizer.convert_tokens_to_ids("<new>")].abs().sum() > 0
    assert weight[scorer.tokenizer.pad_token_id].abs().sum() == 0
