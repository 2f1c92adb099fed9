"""Reward models of families that transformers has no sequence classifier for, against the family's language model."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from burnish.algorithms.reward_model import RewardModel
from burnish.batches import Demonstrations
from burnish.policies.interface import Models
from burnish.policies.language.classifier import classifier_class
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.run import UserError
from burnish.training.fit import fit

COMMON: dict[str, Any] = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": tiny.CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
EXPERTS = {"num_experts_per_tok": 2, "num_experts": 4, "num_local_experts": 4}
STATES = {"state_size": 4, "expand": 2, "conv_kernel": 2, "num_hidden_layers": 2, "hidden_size": 16}
SMALL = {"vocab_size": tiny.VOCABULARY, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
BAMBA = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1, "mamba_chunk_size": 4}
FAMILIES: dict[str, dict[str, Any]] = {
    "afmoe": COMMON | EXPERTS | {"moe_intermediate_size": 8},
    "apertus": COMMON,
    "bamba": COMMON | BAMBA | {"attn_layer_indices": [1]},
    "codegen": {
        "vocab_size": tiny.VOCABULARY,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": tiny.CONTEXT,
        "rotary_dim": 4,
    },
    "cohere": COMMON,
    "cohere2": COMMON | {"sliding_window": 4},
    "ctrl": SMALL | {"n_embd": 16, "n_layer": 2, "n_head": 2, "dff": 24, "n_positions": tiny.CONTEXT},
    "ernie4_5": COMMON,
    "ernie4_5_moe": COMMON | {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 8, "moe_layer_start_index": 0},
    "falcon_mamba": SMALL | STATES,
    "flex_olmo": COMMON | EXPERTS,
    "glm4_moe": COMMON
    | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "first_k_dense_replace": 1},
    "gpt_neox_japanese": COMMON,
    "granite": COMMON | {"embedding_multiplier": 2.0},
    "granitemoe": COMMON | EXPERTS,
    "lfm2": COMMON | {"layer_types": ["conv", "full_attention"]},
    "llama4_text": COMMON | EXPERTS | {"intermediate_size_mlp": 24, "interleave_moe_layer_step": 1},
    "mamba": SMALL | STATES,
    "modernbert-decoder": COMMON | {"cls_token_id": 0, "sep_token_id": 1},
    "olmoe": COMMON | EXPERTS,
    "rwkv": SMALL | {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16, "intermediate_size": 24},
    "xglm": SMALL
    | {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 64},
}
IDS = torch.tensor([[0, 5, 9, 4, 7, 3]])


def language_model(family: str) -> PreTrainedModel:
    """A random language model whose weights are large enough for a wrong hidden state to show."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.CONFIG_MAPPING[family](**FAMILIES[family])
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.2)
        return model


def saved(folder: Path, family: str) -> PreTrainedModel:
    model = language_model(family)
    model.save_pretrained(folder)
    tokenizer = tiny.make_tokenizer()
    tokenizer.pad_token = "<unk>"
    tokenizer.save_pretrained(folder)
    return model


@torch.no_grad()
def what_the_head_reads(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """The hidden states that a language model gives to its own head, its first layer where it has several."""
    read: list[Tensor] = []
    hook = getattr(model, "lm_head", model.get_output_embeddings()).register_forward_pre_hook(
        lambda _, args: read.append(args[0])
    )
    model(input_ids=ids, use_cache=False)
    hook.remove()
    return read[0][0]


def batch_of(*rows: list[int]) -> Demonstrations:
    return tiny.demonstrations([(row, [False] * len(row)) for row in rows], filler=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_is_the_head_of_the_state_that_the_language_models_head_reads(family: str, tmp_path: Path) -> None:
    """w·h(last token) for a text and for its first four tokens, in one padded batch; and no class of transformers."""
    model = saved(tmp_path, family)
    kinds = AutoModelForSequenceClassification._model_mapping
    assert type(model.config) not in kinds or not hasattr(kinds[type(model.config)](model.config), "score")
    scorer, row = load_scorer(tmp_path, seed=3), IDS[0].tolist()
    head = scorer.model.score.weight[0].detach()
    expected = what_the_head_reads(model, IDS) @ head
    with torch.no_grad():
        found = scorer.scores(batch_of(row, row[:4]))
    torch.testing.assert_close(found, expected[[-1, 3]], rtol=1e-4, atol=1e-5)
    assert head.std() > 0.1
    assert scorer.model.config._experts_implementation == model.config._experts_implementation


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_one_comes_back_with_its_head(family: str, tmp_path: Path) -> None:
    """After a gradient step, which moves head and base; saved under the names of the family's language model."""
    saved(tmp_path / "base", family)
    scorer = load_scorer(tmp_path / "base")
    before = {name: p.detach().clone() for name, p in scorer.parameters().items()}
    fit(Models(scorer=scorer), RewardModel(), [tiny.preferences(tiny.random_pairs(3, seed=1))], learning_rate=1e-2)
    moved = {name for name, p in scorer.parameters().items() if not torch.equal(p, before[name])}
    assert "score.weight" in moved
    assert len(moved) > 1
    scorer.centre(0.25)
    scorer.save(tmp_path / "saved")
    again = load_scorer(tmp_path / "saved")
    with torch.no_grad():
        rows = batch_of(*([0, 4, n] for n in range(5, 9)))
        assert torch.equal(again.scores(rows), scorer.scores(rows))
    (name,) = AutoConfig.from_pretrained(tmp_path / "saved").architectures
    assert name.endswith("ForSequenceClassification")
    assert not hasattr(transformers, name)  # transformers would load it with another head
    _, loading = AutoModel.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert loading["missing_keys"] == set()


def test_logits_are_read_at_the_last_token_of_the_attention_mask() -> None:
    """On the left and on the right of the padding; without a mask every token is real."""
    config = transformers.CONFIG_MAPPING["cohere"](**COMMON, num_labels=1, initializer_range=0.3)
    model = classifier_class(config)(config).eval()
    alone = model(input_ids=IDS[:, :4]).logits
    assert alone.shape == (1, 1)
    for padding in ((0, 2), (2, 0)):
        mask = nn.functional.pad(torch.ones(1, 4, dtype=torch.long), padding)
        padded = model(
            nn.functional.pad(IDS[:, :4], padding, value=7), mask, position_ids=(mask.cumsum(1) - 1).clamp(0)
        )
        torch.testing.assert_close(padded.logits, alone)
    assert (model(input_ids=IDS).logits - alone).abs() > 1e-3


def test_what_transformers_has_a_class_for_is_left_to_transformers() -> None:
    assert classifier_class(transformers.LlamaConfig()) is AutoModelForSequenceClassification
    remote = transformers.CohereConfig(auto_map={"AutoModelForSequenceClassification": "modeling.Cls"})
    assert classifier_class(remote) is AutoModelForSequenceClassification


def test_a_classifier_with_another_head_is_not_given_a_new_one() -> None:
    """One that transformers saved keeps its class, and is refused by the scorer."""
    config = transformers.CTRLConfig(**FAMILIES["ctrl"], num_labels=1, architectures=["CTRLForSequenceClassification"])
    assert classifier_class(config) is AutoModelForSequenceClassification
    with pytest.raises(UserError, match="not a decoder-only language model with a head for one label"):
        LanguageScorer(AutoModelForSequenceClassification.from_config(config), tiny.make_tokenizer())


def test_a_family_without_a_base_model_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"\(trocr\) cannot be a reward model .* of another family"):
        classifier_class(transformers.TrOCRConfig())


def test_a_base_that_lacks_weights_is_refused_by_name(tmp_path: Path) -> None:
    """A translator's decoder is a causal language model, but the base of its family has an encoder."""
    config = transformers.MarianConfig(
        vocab_size=18, d_model=16, encoder_layers=1, decoder_layers=1, decoder_ffn_dim=8, encoder_ffn_dim=8
    )
    config.pad_token_id = config.decoder_start_token_id = 2
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"lacks model\.encoder.* its family \(marian\) is not decoder-only"):
        load_scorer(tmp_path)


def test_a_model_that_looks_ahead_is_refused() -> None:
    """A base that reads the text backwards has another state at the second token than the text of two tokens."""
    config = transformers.CONFIG_MAPPING["granite"](**COMMON, initializer_range=0.3, num_labels=1)
    model = classifier_class(config)(config)
    model.model.register_forward_pre_hook(
        lambda _, args, kwargs: (args, kwargs | {"input_ids": kwargs["input_ids"].flip(1)}), with_kwargs=True
    )
    with pytest.raises(UserError, match="computes its score in a way"):
        LanguageScorer(model, tiny.make_tokenizer())
