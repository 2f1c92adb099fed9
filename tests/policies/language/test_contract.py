"""The contract of a model: kept by many families, and what breaks it is refused by name."""

from typing import Any

import families
import pytest
import tiny
import torch
from families import FAMILIES, TUNED, UNCACHED
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    XLNetConfig,
    XLNetLMHeadModel,
)

from burnish.policies.language.contract import agree, check_contract, probes, slot_problem, tolerance
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.run import UserError

LLAMA = tiny.FAMILIES["llama"][1]
GPT2 = tiny.FAMILIES["gpt2"][1]
PROMPTS = [[0, 4, 5, 6, 7, 8], [0, 9], [0, 3, 10, 11]]


def greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    """The likeliest tokens, by the model's own forward pass over the whole text for each."""
    ids = list(prompt)
    while len(ids) < len(prompt) + count and (len(ids) == len(prompt) or ids[-1] != tiny.EOS):
        ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_families_keep_it(family: str) -> None:
    assert check_contract(tiny.make_model(family).eval()) is None


@pytest.mark.filterwarnings("ignore:.*which is right but slow")
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_other_families_are_read_and_sampled_as_transformers_reads_them(family: str) -> None:
    """Rows of different lengths in one batch, some of which end early; the oracle reads each alone, without a cache."""
    model = families.make_model(family)
    policy = LanguagePolicy(model, tiny.make_tokenizer())
    assert (policy.uncached is not None) == (family in UNCACHED)
    likeliest = sample(policy, PROMPTS, seed=0, max_new_tokens=7, top_k=1)
    with torch.no_grad():
        assert likeliest.tokens == [greedy(model, prompt, 7) for prompt in PROMPTS]
    drawn = sample(policy, PROMPTS, seed=1, max_new_tokens=7)
    batch = completions_batch(PROMPTS, drawn.tokens)
    with torch.no_grad():
        found = policy.logprobs(batch)
        for row, (prompt, completion) in enumerate(zip(PROMPTS, drawn.tokens, strict=True)):
            ids, chosen = prompt + completion, [False] * len(prompt) + [True] * len(completion)
            expected = torch.stack(tiny.naive_logprobs(model, ids, chosen)).float()
            torch.testing.assert_close(found[row, : len(ids)], expected, rtol=0, atol=2e-5)
            sampled = torch.tensor(drawn.logprobs[row])
            torch.testing.assert_close(sampled, expected[len(prompt) :], rtol=0, atol=2e-5)


def test_a_model_that_is_sampled_without_its_cache_says_so() -> None:
    policy = LanguagePolicy(families.make_model("rwkv"), tiny.make_tokenizer())
    with pytest.warns(UserWarning, match=r"\(rwkv\) reads a text differently a token at a time.*right but slow"):
        sample(policy, PROMPTS, seed=0, max_new_tokens=2)


class Changed(GPT2LMHeadModel):
    """GPT-2 with a change of its logits or of how its body reads."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(GPT2Config(**GPT2 | changes))
        self.eval()


class Scaled(Changed):
    """Scales its logits by a little, in a way that no configuration says."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 1.001
        return output


class Crowded(Changed):
    """Adds a little of the neighbours' hidden states, as layers that mix over the batch would."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer.ln_f.register_forward_hook(lambda _, __, out: out + 1e-2 * out.mean(0, keepdim=True))


class Ahead(Changed):
    """Lets each token see the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer.ln_f.register_forward_hook(lambda _, __, out: out + 1e-2 * out[:, -1:])


class Failing(Changed):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise AttributeError("no kernel for this device\nand more")


class Headless(Changed):
    def get_output_embeddings(self) -> nn.Module | None:
        return None


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Scaled, "computes its logits in a way that Burnish does not support"),
        (Crowded, "reads a text differently when another text is in the batch"),
        (Ahead, "it is not a causal language model"),
        (Failing, r"cannot be read as a causal language model \(no kernel for this device\)$"),
        (Headless, "is not a decoder-only language model"),
    ],
)
def test_what_differs_is_named(kind: Any, problem: str) -> None:
    with pytest.raises(UserError, match=rf"\(gpt2\).*{problem}"):
        check_contract(kind())


def test_models_of_another_kind_are_refused() -> None:
    t5 = T5Config(vocab_size=18, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    bert = BertConfig(vocab_size=18, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    xlnet = XLNetConfig(vocab_size=18, d_model=8, n_layer=1, n_head=2, d_inner=8)
    for model in (T5ForConditionalGeneration(t5), BertLMHeadModel(bert), XLNetLMHeadModel(xlnet)):
        with pytest.raises(UserError, match=model.config.model_type):
            check_contract(model.eval())


class Forgetful(LlamaForCausalLM):
    """Swallows the cache, as models do that call it by another name."""

    def __init__(self) -> None:
        super().__init__(LlamaConfig(**LLAMA))
        self.eval()
        read = self.model.forward
        self.model.forward = lambda past_key_values=None, **rest: read(**rest)  # type: ignore[method-assign]


class LeftBlind(Forgetful):
    """Reads padding on the left as if it were text."""

    def __init__(self) -> None:
        LlamaForCausalLM.__init__(self, LlamaConfig(**LLAMA))
        self.eval()
        read = self.model.forward
        self.model.forward = lambda attention_mask=None, **rest: read(**rest)  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("kind", "problem"), [(Forgetful, "with its cache"), (LeftBlind, "when it is padded on the left")]
)
def test_a_model_that_only_decodes_wrongly_is_read_whole(kind: Any, problem: str) -> None:
    assert problem in str(check_contract(kind()))


def test_weights_that_are_not_finite_are_damaged() -> None:
    model = tiny.make_model("gpt2")
    model.transformer.ln_f.weight.data[0] = torch.nan
    with pytest.raises(UserError, match="not finite: its weights are damaged"):
        check_contract(model)


@pytest.mark.parametrize("value", [None, 0, 0.0, 2, "inv_sqrt_d_model"])
@pytest.mark.parametrize("key", ["logit_scale", "logits_scaling", "final_logit_softcapping"])
def test_settings_of_heads_that_a_family_does_not_read_end_in_no_traceback(key: str, value: Any) -> None:
    model = tiny.make_model("llama")
    setattr(model.config, key, value)

    def found() -> str:
        try:
            return str(check_contract(model))
        except UserError as error:
            return str(error)

    assert found() == "None" if value is None else "(llama)" in found() or found() == "None"
    assert value != 2 or "(llama)" in found()


@pytest.mark.parametrize("context", [1, 2, 3, 5])
def test_a_small_context_is_enough(context: int) -> None:
    model = tiny.make_model("gpt2", n_positions=context)
    long, short = probes(model)
    assert 1 <= len(short) <= len(long) == context
    assert check_contract(model) is None


@pytest.mark.parametrize("family", sorted({*FAMILIES} - UNCACHED))
def test_no_other_family_reads_a_token_by_its_place_in_the_cache(family: str) -> None:
    assert slot_problem(families.make_model(family)) is None


def test_a_family_that_reads_a_token_by_its_place_in_the_cache_is_found() -> None:
    """The probes are shorter than the 40 places from which on attention changes, and so is a context of 13."""
    model = families.make_model("llama4_text", **TUNED)
    assert check_contract(model) is None
    assert slot_problem(model) == "reads a token by its place in the cache"
    assert slot_problem(families.make_model("llama4_text", **TUNED | {"attn_temperature_tuning": False})) is None
    assert slot_problem(tiny.make_model("gpt2", n_positions=13)) is None


def test_probes_have_no_special_tokens() -> None:
    model = tiny.make_model("llama", pad_token_id=7)
    assert not {tiny.BOS, tiny.EOS, 7} & {token for text in probes(model) for token in text}
    ends = list(range(4, model.config.vocab_size))
    model.config.eos_token_id = ends
    assert not {*ends} & {token for text in probes(model) for token in text}


def logits(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_what_counts_as_the_same() -> None:
    """Logits are the same up to a constant; excluded tokens too; the error is relative to how far they vary."""
    plain = logits([1.0, 2.0, 5.0], [0.0, -1.0, 3.0])
    assert agree(plain + 7, plain, 1e-9)
    assert agree(plain * (1 + 1e-5), plain, 1e-4)
    assert not agree(plain * (1 + 1e-3), plain, 1e-4)
    excluding = logits([1.0, -torch.inf, 5.0])
    assert agree(excluding, excluding, 1e-9)
    assert not agree(logits([1.0, 2.0, 5.0]), excluding, 0.2)
    assert not agree(logits([1.0, torch.nan, 5.0]), logits([1.0, 2.0, 5.0]), 0.2)
    assert agree(torch.zeros(2, 3), torch.zeros(2, 3), 1e-4)


def test_fewer_bits_allow_more_rounding() -> None:
    model = tiny.make_model("llama")
    assert tolerance(model) == 1e-4
    assert tolerance(model.bfloat16()) == 0.2
    assert check_contract(model) is None
