"""The scalar head against a naive oracle: one unpadded text at a time through transformers' sequence classifier."""

import logging
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from peft import AutoPeftModelForSequenceClassification
from tiny_scorers import FAMILIES, make_classifier, make_scorer, naive_score
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2Model,
)

from burnish.policies.interface import Critic, Scorer
from burnish.policies.language import reader
from burnish.policies.language.adapters import Lora
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import LanguageScorer, load_scorer, new_head, pad_apart
from burnish.run import UserError

ALMOST = {"rtol": 0.0, "atol": 1e-6}  # Llama's kin normalise in float32 whatever the weights' type
ROWS = tiny.random_rows(7, seed=3)
IDS = [ids for ids, _ in ROWS]


def weights(count: int) -> torch.Tensor:
    """Fixed numbers of both signs, so that a gradient sees each place differently."""
    return torch.sin(torch.arange(1.0, count + 1, dtype=torch.float64))


def gradients(scorer: LanguageScorer, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
    scorer.model.zero_grad()
    (numbers.flatten() * weights(numbers.numel())).sum().backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in scorer.parameters().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def naive_values(scorer: LanguageScorer, width: int) -> torch.Tensor:
    """V by its meaning: the score of what stands before each chosen token, where one was chosen."""
    values = torch.zeros(len(ROWS), width, dtype=torch.float64)
    for i, (ids, mask) in enumerate(ROWS):
        for t in range(len(ids)):
            if mask[t]:
                values[i, t] = naive_score(scorer.model, ids[:t])
    return values


def test_it_is_a_scorer_and_a_critic() -> None:
    scorer = make_scorer()
    assert isinstance(scorer, Scorer)
    assert isinstance(scorer, Critic)
    assert scorer.context == tiny.CONTEXT


@pytest.mark.parametrize("family", [*FAMILIES, "cohere"])
def test_scores_and_their_gradient_are_the_oracles(family: str) -> None:
    scorer = make_scorer(family)
    scores = scorer.scores(tiny.demonstrations(ROWS, filler=5, extra=2))
    expected = torch.stack([naive_score(scorer.model, ids) for ids in IDS])
    assert scores.dtype == torch.float64
    assert scores.std() > 0.1  # else equal numbers would prove nothing
    torch.testing.assert_close(scores, expected, **ALMOST)
    assert_same(gradients(scorer, scores), gradients(scorer, expected))


@pytest.mark.parametrize("family", [*FAMILIES, "cohere"])
def test_values_and_their_gradient_are_the_oracles(family: str) -> None:
    """Column t has the score of the t tokens before it where the mask is True, and there is one column more."""
    scorer = make_scorer(family)
    batch = tiny.demonstrations(ROWS, extra=1)
    values, expected = scorer.values(batch), naive_values(scorer, batch.tokens.shape[1] + 1)
    assert values.shape == (7, batch.mask.shape[1] + 1)
    torch.testing.assert_close(values, expected, **ALMOST)
    assert (values[:, :-1][~batch.mask] == 0).all()
    assert (values[:, -1] == 0).all()
    assert_same(gradients(scorer, values), gradients(scorer, expected))


def test_scores_have_the_shape_of_lengths() -> None:
    scorer, pairs = make_scorer("llama"), tiny.random_pairs(4, seed=5, group=3)
    scores = scorer.scores(tiny.preferences(pairs))
    assert scores.shape == (4, 3)
    for i, group in enumerate(pairs):
        for j, (ids, _) in enumerate(group):
            assert scores[i, j].item() == pytest.approx(naive_score(scorer.model, ids).item(), abs=1e-6)


def test_the_mask_says_nothing_of_what_is_scored() -> None:
    """A text is prompt and response, read to its last real token even where that was not the policy's choice."""
    scorer = make_scorer()
    bare = tiny.demonstrations([(ids, [False] * len(ids)) for ids in IDS])
    torch.testing.assert_close(scorer.scores(bare), scorer.scores(tiny.demonstrations(ROWS)), rtol=0, atol=1e-12)
    assert torch.equal(scorer.values(bare).double(), torch.zeros(7, bare.mask.shape[1] + 1, dtype=torch.float64))


@pytest.mark.parametrize("family", [*FAMILIES, "cohere"])
def test_a_text_is_the_same_alone_padded_among_others_and_in_another_order(family: str) -> None:
    scorer, order = make_scorer(family), [4, 0, 6, 2, 5, 1, 3]
    with torch.no_grad():
        for numbers in (scorer.scores, scorer.values):
            found = numbers(tiny.demonstrations(ROWS))
            padded = numbers(tiny.demonstrations(ROWS, filler=5, extra=9))
            width = found.shape[-1] if numbers == scorer.values else 7
            torch.testing.assert_close(padded[..., :width], found, **ALMOST)
            shuffled = numbers(tiny.demonstrations([ROWS[i] for i in order]))
            torch.testing.assert_close(shuffled, found[order], **ALMOST)
            for i, row in enumerate(ROWS):
                alone = numbers(tiny.demonstrations([row]))[0]
                torch.testing.assert_close(alone, found[i] if alone.dim() == 0 else found[i, : len(alone)], **ALMOST)


def test_ids_of_the_padding_never_matter() -> None:
    scorer = make_scorer()
    batch, strange = (tiny.demonstrations(ROWS, filler=filler, extra=3) for filler in (0, tiny.VOCABULARY - 1))
    assert torch.equal(scorer.scores(batch), scorer.scores(strange))


@pytest.mark.parametrize("tokens_at_once", [1, 20, 45])
def test_many_buckets_are_one_bucket(tokens_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, batch = make_scorer(), tiny.demonstrations(ROWS)
    whole = scorer.scores(batch)
    slopes = gradients(scorer, whole)
    monkeypatch.setitem(reader.TOKENS_AT_ONCE, "cpu", tokens_at_once)
    parts = scorer.scores(batch)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    assert_same(gradients(scorer, parts), slopes)


def test_a_missing_answer_scores_nothing_and_changes_nothing() -> None:
    """A ranking of three answers beside one of two, whose third place is empty: its score is 0, also with an offset."""
    scorer = make_scorer("gpt2")
    scorer.centre(0.5)
    groups = tiny.random_pairs(2, seed=4, group=3)
    full, short = tiny.preferences(groups), tiny.preferences([groups[0], [*groups[1][:2], ([], [])]])
    assert short.lengths[1].tolist()[2] == 0
    expected = scorer.scores(full).clone()
    expected[1, 2] = 0
    torch.testing.assert_close(scorer.scores(short), expected)


def test_no_rows_give_no_numbers() -> None:
    scorer, batch = make_scorer(), tiny.demonstrations(ROWS).select(slice(0, 0))
    assert scorer.scores(batch).shape == (0,)
    assert scorer.values(batch).shape == (0, batch.mask.shape[1] + 1)


def test_the_offset_comes_off_scores_and_values_and_not_off_what_is_no_state() -> None:
    scorer, batch = make_scorer(), tiny.demonstrations(ROWS)
    scores, values = scorer.scores(batch), scorer.values(batch)
    assert scorer.offset == 0
    scorer.centre(7.0)
    scorer.centre(2.5)  # the level itself, not a step from the last one
    assert scorer.offset == 2.5
    torch.testing.assert_close(scorer.scores(batch), scores - 2.5)
    states = torch.nn.functional.pad(batch.mask, (0, 1))
    torch.testing.assert_close(scorer.values(batch), torch.where(states, values - 2.5, 0.0))


def test_dropout_is_off_until_asked_for() -> None:
    scorer, batch = make_scorer("gpt2", resid_pdrop=0.5), tiny.demonstrations(ROWS)
    calm = scorer.scores(batch)
    assert torch.equal(calm, scorer.scores(batch))
    scorer.dropout(True)
    assert not torch.equal(calm, scorer.scores(batch))
    scorer.dropout(False)
    assert torch.equal(calm, scorer.scores(batch))


def test_parameters_are_those_that_train() -> None:
    scorer = make_scorer()
    names = set(scorer.parameters())
    assert {"score.weight", "transformer.wte.weight"} <= names
    scorer.model.score.weight.requires_grad_(False)
    assert names - set(scorer.parameters()) == {"score.weight"}


def test_bfloat16_runs_the_model_and_not_the_head() -> None:
    """The head's dot product, written out on the model's bfloat16 hidden states, is met to float32's precision."""
    exact = make_scorer("llama", double=False)
    rounded = LanguageScorer(exact.model, exact.tokenizer, "bfloat16")
    with torch.no_grad():
        scores, expected = rounded.scores(tiny.demonstrations(ROWS)), exact.scores(tiny.demonstrations(ROWS))
        assert scores.dtype == torch.float32
        assert 1e-4 < (scores - expected).abs().max() < 0.3
        ids = torch.tensor([IDS[0]])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = exact.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, -1]
        by_hand = (hidden.double() * exact.model.score.weight[0].double()).sum()
        alone = rounded.scores(tiny.demonstrations([ROWS[0]]))
    assert alone.item() == pytest.approx(by_hand.item(), abs=1e-6)


# Loading and saving ------------------------------------------------------------------------------------------------


def save_causal(folder: Path, family: str, pad: str | None, seed: int = 0) -> Path:
    """A causal language model whose padding token is `pad`, in the tokenizer and in the configuration."""
    tokenizer = tiny.make_tokenizer()
    if pad is not None:
        tokenizer.pad_token = pad
    tiny.make_model(family, seed, pad_token_id=tokenizer.pad_token_id).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pad", [None, "</s>", "<unk>", "great"], ids=["none", "eos", "unk", "own"])
def test_a_saved_scorer_is_a_sequence_classifier_of_transformers(family: str, pad: str | None, tmp_path: Path) -> None:
    """Scores plus the offset are transformers' own logits, on a padded batch of texts that end with EOS."""
    scorer = load_scorer(save_causal(tmp_path / "causal", family, pad), seed=4)
    scorer.centre(0.75)
    scorer.save(tmp_path / "scorer")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "scorer").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "scorer")
    assert tokenizer.pad_token_id == model.config.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.pad_token == ("great" if pad == "great" else "<pad>")
    texts = ["good film </s>", "the plot is very dull </s>", "a bad plot", "not bad and not good but fine </s>"]
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    assert inputs["attention_mask"].sum(1).tolist() == [4, 7, 4, 9]
    with torch.no_grad():
        logits = model(**{k: inputs[k] for k in ("input_ids", "attention_mask")}).logits
        batch = tiny.demonstrations(
            [(tokenizer(text)["input_ids"], [False] * (1 + len(text.split()))) for text in texts]
        )
        for one in (scorer, load_scorer(tmp_path / "scorer", seed=9)):
            assert one.offset == 0.75
            torch.testing.assert_close(one.scores(batch) + 0.75, logits[:, 0], rtol=0, atol=1e-5)
    assert logits.std() > 0.05


@pytest.mark.parametrize("family", ["gpt2", "untied_llama", "opt"])
def test_a_scorer_reads_with_the_weights_of_the_causal_model(family: str, tmp_path: Path) -> None:
    """w·h with the causal model's own last hidden states; the row that padding adds changes nothing."""
    scorer = load_scorer(save_causal(tmp_path, family, None))
    causal = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        for ids, score in zip(IDS, scorer.scores(tiny.demonstrations(ROWS)).tolist(), strict=True):
            hidden = causal.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
            assert (hidden @ scorer.model.score.weight[0]).item() == pytest.approx(score, abs=1e-5)


def test_a_head_is_drawn_from_the_seed_and_from_nothing_else(tmp_path: Path) -> None:
    tiny.save_model(tmp_path)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = load_scorer(tmp_path, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = load_scorer(tmp_path, seed=3), load_scorer(tmp_path, seed=4)
    for name, p in first.parameters().items():
        assert torch.equal(p, again.parameters()[name]), name
        assert torch.equal(p, other.parameters()[name]) == (name != "score.weight"), name


def test_a_new_head_has_the_spread_of_the_paper() -> None:
    """40,000 weights of N(0, 1/40,001): their sum of squares is about 1, give or take √(2/40,000) = 0.007."""
    head = nn.Linear(40_000, 1)
    new_head(head, seed=0)
    assert head.weight.square().sum().item() == pytest.approx(1, abs=0.03)
    assert head.weight.sum().abs().item() < 4
    assert head.bias.item() == 0


def test_a_loaded_model_gets_that_head(tmp_path: Path) -> None:
    """16 weights of N(0, 1/17), whose squares add up to about 1; the model's own initializer would make it 144."""
    tiny.save_model(tmp_path, initializer_range=3.0)
    assert 0.3 < load_scorer(tmp_path).model.score.weight.square().sum().item() < 3


class Told(logging.Handler):
    """What a logger was told, line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_loading_a_model_without_a_head_reports_nothing_and_hushes_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="transformers")  # a command of another test may have silenced it
    save_causal(tmp_path, "untied_llama", "</s>")
    logger, told = logging.getLogger("transformers"), Told()
    logger.addHandler(told)
    try:
        load_scorer(tmp_path)
        assert told.lines == []
        AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=1)
        assert any("MISSING" in line for line in told.lines)
    finally:
        logger.removeHandler(told)


def test_padding_of_its_own_is_left_alone_and_a_new_one_gets_a_row_of_zeros() -> None:
    tokenizer, model = tiny.make_tokenizer(), make_classifier("llama")
    tokenizer.pad_token = "great"
    pad_apart(model, tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id == tiny.VOCABULARY - 1
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size == tiny.VOCABULARY == len(tokenizer)
    tokenizer.pad_token = "</s>"
    before = model.get_input_embeddings().weight.clone()
    pad_apart(model, tokenizer)
    after = model.get_input_embeddings().weight
    assert model.config.pad_token_id == tokenizer.pad_token_id == tiny.VOCABULARY
    assert torch.equal(after[:-1], before)
    assert len(after) == model.config.vocab_size == len(before) + 1
    assert (after[-1] == 0).all()


def test_spare_rows_of_the_embedding_serve_padding(tmp_path: Path) -> None:
    """Vocabularies are often rounded up: then there is a row for `<pad>` already."""
    tiny.save_model(tmp_path, "gpt2", vocab_size=24)
    scorer = load_scorer(tmp_path)
    assert scorer.model.config.vocab_size == 24
    assert scorer.model.config.pad_token_id == tiny.VOCABULARY


def test_models_that_cannot_be_loaded_are_named(tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "whole")
    (tmp_path / "empty").mkdir()
    for name in ("no/such-model-anywhere", str(tmp_path / "empty")):
        with pytest.raises(UserError, match=r"--reward .* could not be loaded as a reward model") as caught:
            load_scorer(name, option="--reward")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    weights_file = tmp_path / "whole" / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"--model .* could not be loaded"):
        load_scorer(tmp_path / "whole")


def test_a_classifier_of_more_than_one_label_is_refused(tmp_path: Path) -> None:
    make_classifier(num_labels=3).save_pretrained(tmp_path)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"score\.weight has the wrong shape"):
        load_scorer(tmp_path)
    with pytest.raises(UserError, match="one label"):
        LanguageScorer(make_classifier(num_labels=3), tiny.make_tokenizer())


def test_a_model_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    """transformers would fill the gap with random numbers."""
    model = make_classifier()
    kept = {name: tensor for name, tensor in model.state_dict().items() if "h.1.mlp.c_fc" not in name}
    model.save_pretrained(tmp_path, state_dict=kept)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"incomplete: transformer\.h\.1\.mlp\.c_fc\.bias is missing"):
        load_scorer(tmp_path)


def test_a_model_saved_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    tiny.save_model(tmp_path)
    for path in tmp_path.glob("*token*"):
        path.unlink()
    with pytest.raises(UserError, match="tokenizer"):
        load_scorer(tmp_path)


def test_a_model_that_is_no_decoder_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=18, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, num_labels=1
    )
    with pytest.raises(UserError, match=r"bert.* is not a decoder"):
        LanguageScorer(BertForSequenceClassification(config), tiny.make_tokenizer())
    BertModel(config).save_pretrained(tmp_path)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"bert.* is not a decoder"):
        load_scorer(tmp_path)


def test_a_low_padding_id_makes_no_model_foreign() -> None:
    """At a padding token the model's own forward looks back; the check must not ask it there."""
    for pad in range(6):
        LanguageScorer(make_classifier(pad_token_id=pad), tiny.make_tokenizer())


class ForeignHead(GPT2ForSequenceClassification):
    """Doubles its label in a way that no configuration tells of."""

    def forward(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output


class LooksAhead(GPT2Model):
    """Adds to each hidden state the mean of all, those of later tokens too."""

    def forward(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        output = super().forward(*args, **kwargs)
        output.last_hidden_state = output.last_hidden_state + output.last_hidden_state.mean(1, keepdim=True)
        return output


def test_a_foreign_head_and_a_model_that_looks_ahead_are_refused() -> None:
    config = GPT2Config(**tiny.FAMILIES["gpt2"][1], num_labels=1)
    torch.manual_seed(0)
    ahead = GPT2ForSequenceClassification(config)
    ahead.transformer = LooksAhead(config)
    for model in (ForeignHead(config), ahead):
        with pytest.raises(UserError, match="does not support"):
            LanguageScorer(model, tiny.make_tokenizer())


# Adapters ----------------------------------------------------------------------------------------------------------


def move(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters().values():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen"])
def test_an_adapter_and_the_head_are_trained_and_nothing_else(family: str, tmp_path: Path) -> None:
    """A new adapter changes no score; GPT-2 of width 16 has 512 parameters a rank (see test_adapters), Llama 464."""
    folder = tiny.save_model(tmp_path / "base", family)
    scorer, plain = load_scorer(folder, lora=Lora(3), seed=5), load_scorer(folder, seed=5)
    batch = tiny.demonstrations(ROWS)
    with torch.no_grad():
        assert torch.equal(scorer.scores(batch), plain.scores(batch))
        assert torch.equal(scorer.values(batch), plain.values(batch))
    sizes = {name: p.numel() for name, p in scorer.parameters().items()}
    (head,) = [name for name in sizes if "lora" not in name]
    assert head.startswith("score.")
    assert sizes.pop(head) == 16
    assert sum(sizes.values()) == 3 * (512 if family == "gpt2" else 464)
    scorer.scores(batch).sum().backward()
    frozen = {name for name, p in scorer.model.named_parameters() if p.grad is None}
    assert frozen == {name for name, p in scorer.model.named_parameters()} - scorer.parameters().keys()


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen"])
def test_a_saved_adapter_comes_back_with_its_head_and_its_offset(family: str, tmp_path: Path) -> None:
    """To be trained further to the bit, as part of the weights nearly so; and as peft loads it."""
    scorer = load_scorer(tiny.save_model(tmp_path / "base", family), lora=Lora(4))
    move(scorer)
    scorer.centre(0.7)
    scorer.save(tmp_path / "adapter")
    batch = tiny.demonstrations(ROWS)
    with torch.no_grad():
        expected = scorer.scores(batch)
        again, merged = load_scorer(tmp_path / "adapter", lora=Lora(4), seed=9), load_scorer(tmp_path / "adapter")
        assert torch.equal(again.scores(batch), expected)
        torch.testing.assert_close(merged.scores(batch), expected, rtol=0, atol=1e-5)
        assert again.offset == merged.offset == 0.7
        theirs = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter", num_labels=1)
        one = torch.stack([theirs(input_ids=torch.tensor([ids])).logits[0, 0] for ids in IDS])
        torch.testing.assert_close(one - 0.7, expected, rtol=0, atol=1e-6)
    assert again.adapter is not None
    assert merged.adapter is None
    assert merged.parameters().keys() == load_scorer(tmp_path / "base").parameters().keys()


@pytest.mark.parametrize("lora", [None, Lora(4)])
def test_a_reward_model_may_begin_as_a_policys_adapter(lora: Lora | None, tmp_path: Path) -> None:
    """Its body is the policy's with the adapter, and its head is new, of the seed."""
    policy = load_policy(tiny.save_model(tmp_path / "base"), lora=Lora(4))
    move(policy)
    policy.save(tmp_path / "adapter")
    scorer = load_scorer(tmp_path / "adapter", lora=lora, seed=3)
    ids = torch.tensor([IDS[0]])
    with torch.no_grad():
        ours = scorer.model.base_model(input_ids=ids).last_hidden_state
        torch.testing.assert_close(ours, policy.model.base_model(input_ids=ids).last_hidden_state, rtol=0, atol=1e-5)
        head = load_scorer(tmp_path / "base", seed=3).model.score.weight
        assert torch.equal(scorer.model.score.weight, head)
    scorer.save(tmp_path / "reward")
    batch = tiny.demonstrations(ROWS)
    loaded = load_scorer(tmp_path / "reward", seed=4)
    torch.testing.assert_close(loaded.scores(batch), scorer.scores(batch), rtol=0, atol=1e-5)


def test_an_adapter_over_a_reward_model_goes_on_with_its_head_and_offset(tmp_path: Path) -> None:
    whole = make_scorer(double=False)
    whole.centre(0.4)
    whole.save(tmp_path / "whole")
    scorer = load_scorer(tmp_path / "whole", lora=Lora(2))
    batch = tiny.demonstrations(ROWS)
    torch.testing.assert_close(scorer.scores(batch), whole.scores(batch), rtol=0, atol=1e-6)
    scorer.centre(-0.3)
    scorer.save(tmp_path / "adapter")
    assert load_scorer(tmp_path / "adapter").offset == -0.3


def test_mistakes_name_the_option(tmp_path: Path) -> None:
    scorer = load_scorer(tiny.save_model(tmp_path / "base"), lora=Lora(2))
    scorer.save(tmp_path / "adapter")
    with pytest.raises(UserError, match=r"^--critic .*adapter is an adapter with rank 2: set lora_rank 2"):
        load_scorer(tmp_path / "adapter", option="--critic", lora=Lora(3))


LONGROPE = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "original_max_position_embeddings": 8}


@pytest.mark.parametrize("rope", [{"rope_type": "dynamic", "factor": 4.0}, {"rope_type": "longrope"} | LONGROPE])
def test_scores_and_values_have_the_positions_of_the_whole_text(rope: dict[str, Any]) -> None:
    """Rows on both sides of 8 tokens, where positions change: a score and each value as the text read alone, whole.

    The oracle is a new model for each row, as one with dynamic scaling remembers longer rows.
    """
    changes = {
        "rope_parameters": rope | {"rope_theta": 10000.0},
        "max_position_embeddings": 8 if rope["rope_type"] == "dynamic" else 16,
    }
    scorer = make_scorer("llama", double=False, **changes)
    rows = [([3 + i % 12 for i in range(n)], [False] + [True] * (n - 1)) for n in (3, 12, 8, 9)]
    batch = tiny.demonstrations(rows)
    with torch.no_grad():
        scores, values = scorer.scores(batch), scorer.values(batch)
        for row, (ids, _) in enumerate(rows):
            model = make_classifier("llama", **changes).eval()
            hidden = model.base_model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
            expected = model.score(hidden)[:, 0]
            torch.testing.assert_close(scores[row], expected[-1], rtol=0, atol=1e-5)
            torch.testing.assert_close(values[row, 1 : len(ids)], expected[:-1], rtol=0, atol=1e-5)
