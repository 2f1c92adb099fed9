"""The load-balancing loss against transformers' own forward pass with labels, which adds it to the cross-entropy."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_mixtures import make_mixture
from torch import Tensor
from transformers import AutoModelForCausalLM, DogeConfig, PreTrainedModel

from burnish.algorithms.dpo import DPO
from burnish.algorithms.sft import SFT
from burnish.batches import PreparedPreferences
from burnish.policies.interface import Models, Regularised
from burnish.policies.language import reader
from burnish.policies.language.balance import load_balance, tokens_read
from burnish.policies.language.layout import buckets
from burnish.policies.language.policy import LanguagePolicy
from burnish.run import UserError
from burnish.training.step import gradient, mean_metrics

FAMILIES = ["mixtral", "olmoe", "granitemoe", "qwen2_moe", "qwen3_moe", "gpt_oss", "phimoe", "ernie4_5_moe", "jetmoe"]
"""Those whose language model has the loss in transformers; DeepSeek's has none."""
ON: dict[str, Any] = {"output_router_logits": True, "router_aux_loss_coef": 0.3, "aux_loss_coef": 0.3}
ROWS = tiny.random_completions(6, seed=2)
BATCH = tiny.demonstrations(ROWS, filler=5, extra=2)


def policy_of(family: str, **changes: Any) -> LanguagePolicy:
    return LanguagePolicy(make_mixture(family, **ON | changes), tiny.make_tokenizer())


def plain(model: PreTrainedModel, rows: list[tiny.Row]) -> tuple[Tensor, Tensor]:
    """Loss and auxiliary loss of transformers for rows padded with an attention mask."""
    tokens, mask, lengths = tiny.pad_rows(rows)
    attention = torch.arange(tokens.shape[1]) < lengths[:, None]
    output = model(input_ids=tokens, attention_mask=attention.long(), labels=tokens.where(mask, -100))
    return output.loss, output.aux_loss


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("tokens_at_once", [30, 10_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_of_sft_are_those_of_transformers(
    family: str, tokens_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many buckets a batch is read in."""
    monkeypatch.setitem(reader.TOKENS_AT_ONCE, "cpu", tokens_at_once)
    policy = policy_of(family)
    loss, aux = plain(policy.model, ROWS)
    loss.backward()
    expected = gradients(policy.model)
    policy.model.zero_grad()
    metrics = gradient(SFT(), Models(policy=policy), BATCH)
    assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert metrics["aux_loss"] == pytest.approx(aux.item(), abs=1e-5)
    found = gradients(policy.model)
    assert found.keys() == expected.keys()
    for name, slope in expected.items():
        torch.testing.assert_close(found[name], slope, rtol=1e-4, atol=1e-5)


def test_the_loss_of_micro_batches_is_their_mean_by_tokens() -> None:
    """Rows of 2 to 12 tokens in three parts, long rows together as `microbatches` has them."""
    policy = policy_of("mixtral")
    lengths = [len(ids) for ids, _ in ROWS]
    order = sorted(range(6), key=lambda i: lengths[i])
    parts = [[ROWS[i] for i in order[k : k + 2]] for k in (0, 2, 4)]
    with torch.no_grad():
        aux = [plain(policy.model, part)[1].item() * sum(len(ids) for ids, _ in part) for part in parts]
    metrics = gradient(SFT(), Models(policy=policy), BATCH, pieces=3)
    assert metrics["aux_loss"] == pytest.approx(sum(aux) / sum(lengths), abs=1e-5)
    whole = gradient(SFT(), Models(policy=policy), BATCH)
    assert metrics["loss"] - 0.3 * metrics["aux_loss"] == pytest.approx(
        whole["loss"] - 0.3 * whole["aux_loss"], abs=1e-5
    )


def test_other_methods_have_it_too() -> None:
    """DPO starts at ln 2, to which the loss over the tokens of chosen and rejected responses is added."""
    policy = policy_of("olmoe")
    pairs = [tiny.random_completions(4, seed=5)[i : i + 2] for i in (0, 2)]
    batch = tiny.preferences(pairs)
    with torch.no_grad():
        ready = PreparedPreferences(batch, policy.logprobs(batch))
        _, aux = plain(policy.model, [row for pair in pairs for row in pair])
    metrics = gradient(DPO(), Models(policy=policy), ready)
    assert metrics["aux_loss"] == pytest.approx(aux.item(), abs=1e-5)
    assert metrics["loss"] == pytest.approx(0.693147 + 0.3 * aux.item(), abs=1e-5)


def test_without_the_option_nothing_is_added() -> None:
    """The same bits as with a weight of 0, and no metric; a validation loss has none of it either."""
    off = policy_of("mixtral", output_router_logits=False)
    weightless = policy_of("mixtral", router_aux_loss_coef=0.0)
    assert off.balance is weightless.balance is None
    found = [gradient(SFT(), Models(policy=policy), BATCH) for policy in (off, weightless)]
    assert found[0] == found[1]
    assert "aux_loss" not in found[0]
    on = mean_metrics(SFT(), Models(policy=policy_of("mixtral")), [BATCH])
    assert on == pytest.approx(mean_metrics(SFT(), Models(policy=off), [BATCH]), abs=1e-6)
    assert policy_of("deepseek_v3").balance is None


def test_a_dense_model_has_no_losses_of_its_own() -> None:
    policy = tiny.make_policy("llama")
    assert isinstance(policy, Regularised)
    with policy.own_losses() as own:
        policy.logprobs(BATCH)
    assert own == {}


def test_only_passes_with_a_gradient_inside_are_counted() -> None:
    """A reference's pass is not trained on, and nothing is kept of a pass outside."""
    policy = policy_of("qwen3_moe")
    _, aux = plain(policy.model, ROWS[:3])
    other = tiny.demonstrations(ROWS[3:])
    policy.logprobs(other)
    with policy.own_losses() as own:
        with torch.no_grad():
            policy.logprobs(other)
        policy.logprobs(tiny.demonstrations(ROWS[:3]))
    weight, value = own["aux_loss"]
    assert weight == 0.3
    assert value.item() == pytest.approx(aux.item(), abs=1e-5)
    with policy.own_losses() as own:
        pass
    assert own == {}


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    """Every token is routed by itself: no expert has a limited capacity. Also with the last token read."""
    for changes in ({}, {"output_router_logits": False}):
        policy = policy_of("mixtral", **changes)
        together = policy.logprobs(BATCH)
        for i, row in enumerate(ROWS):
            alone = policy.logprobs(tiny.demonstrations([row]))[0]
            torch.testing.assert_close(alone, together[i, : len(alone)], rtol=0, atol=1e-5)


def test_the_loss_survives_saving(tmp_path: Path) -> None:
    policy_of("mixtral").save(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    balance = load_balance(model)
    assert balance is not None
    assert (balance.weight, balance.chosen) == (0.3, 2)


def test_a_loss_with_other_arguments_is_refused_by_name() -> None:
    options = {"vocab_size": 18, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "is_moe": True}
    config = DogeConfig(**options, num_attention_heads=2, num_experts=16, output_router_logits=True)
    with pytest.raises(UserError, match=r"\(doge\) asks for a router loss .* set output_router_logits to false"):
        load_balance(AutoModelForCausalLM.from_config(config))


def test_tokens_up_to_the_last_chosen_one_are_real() -> None:
    """[a b c d e] with c chosen and [f g _ _ _] with g: a b c and f g are read, the rest of the second is padding."""
    tokens = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]])
    mask = torch.tensor([[False, False, True, False, False], [False, True, False, False, False]])
    (bucket,) = buckets(tokens, mask, 100, last_too=True)
    assert bucket.inputs.tolist() == [[1, 2, 3], [6, 7, 0]]
    assert tokens_read(bucket).tolist() == [[True, True, True], [True, True, False]]
