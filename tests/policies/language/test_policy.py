"""The language-model policy against a naive oracle: one unpadded row at a time through the model's own forward."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from burnish.ends import Ends
from burnish.policies.language import policy as language
from burnish.policies.language import reader
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.run import UserError

FAMILIES = sorted(tiny.FAMILIES)
# Llama's kin normalise in float32 whatever the weights' type.
ALMOST = {"rtol": 0.0, "atol": 1e-6}
ROWS = tiny.random_rows(7, seed=3)


def weights(count: int) -> torch.Tensor:
    """Fixed numbers of both signs, so that a gradient sees each place differently."""
    return torch.sin(torch.arange(1.0, count + 1, dtype=torch.float64))


def gradients(policy: LanguagePolicy, value: torch.Tensor) -> dict[str, torch.Tensor]:
    policy.model.zero_grad()
    value.backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in policy.parameters().items()}


def oracle(policy: LanguagePolicy, rows: list, width: int) -> torch.Tensor:
    zero = torch.zeros((), dtype=torch.float64)
    found = [tiny.naive_logprobs(policy.model, ids, mask) for ids, mask in rows]
    return torch.stack([torch.stack(row + [zero] * (width - len(row))) for row in found])


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_and_their_gradient_are_the_oracles(family: str) -> None:
    policy = tiny.make_policy(family)
    batch = tiny.demonstrations(ROWS)
    values, expected = policy.logprobs(batch), oracle(policy, ROWS, batch.tokens.shape[1])
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, expected, **ALMOST)
    assert (values[~batch.mask] == 0).all()
    assert (values[batch.mask] < 0).all()
    scale = weights(values.numel()).view_as(values)
    assert_same(gradients(policy, (values * scale).sum()), gradients(policy, (expected * scale).sum()))


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "cohere", "granite"])
def test_the_head_is_seen_by_the_oracle(family: str) -> None:
    """The numbers would differ by far more than the tolerance if a family's scaling or capping were left out."""
    policy = tiny.make_policy(family)
    plain = policy.model.get_output_embeddings()(torch.ones(1, 16, dtype=torch.float64))
    change = (language.head(policy.model, torch.ones(1, 16, dtype=torch.float64)) - plain).abs().max()
    assert change == 0 if family == "gpt2" else change > 0.1


def test_leading_dimensions_are_those_of_the_batch() -> None:
    policy = tiny.make_policy("llama")
    pairs = tiny.random_pairs(4, seed=5, group=3)
    batch = tiny.preferences(pairs)
    values = policy.logprobs(batch)
    assert values.shape == batch.mask.shape == (4, 3, batch.tokens.shape[2])
    flat = [row for group in pairs for row in group]
    torch.testing.assert_close(values.flatten(0, 1), oracle(policy, flat, batch.tokens.shape[2]), **ALMOST)


@pytest.mark.parametrize(("constant", "value"), [("LOGITS_AT_ONCE", 3 * tiny.VOCABULARY), ("LOGITS_AT_ONCE", 1)])
def test_a_head_in_chunks_is_the_head_at_once(constant: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny.make_policy("gemma2")
    batch = tiny.demonstrations(ROWS)
    scale = weights(batch.mask.numel()).view(batch.mask.shape)
    whole = policy.logprobs(batch)
    whole_gradient = gradients(policy, (whole * scale).sum())
    monkeypatch.setattr(language, constant, value)
    parts = policy.logprobs(batch)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    assert_same(gradients(policy, (parts * scale).sum()), whole_gradient)


@pytest.mark.parametrize("tokens_at_once", [1, 20, 45])
def test_many_buckets_are_one_bucket(tokens_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny.make_policy("gpt2")
    batch = tiny.demonstrations(ROWS)
    scale = weights(batch.mask.numel()).view(batch.mask.shape)
    whole = policy.logprobs(batch)
    whole_gradient = gradients(policy, (whole * scale).sum())
    monkeypatch.setitem(reader.TOKENS_AT_ONCE, "cpu", tokens_at_once)
    parts = policy.logprobs(batch)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    assert_same(gradients(policy, (parts * scale).sum()), whole_gradient)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_the_same_alone_padded_among_others_and_in_another_order(family: str) -> None:
    policy = tiny.make_policy(family)
    with torch.no_grad():
        width = max(len(ids) for ids, _ in ROWS)
        values = policy.logprobs(tiny.demonstrations(ROWS))
        padded = policy.logprobs(tiny.demonstrations(ROWS, filler=5, extra=9))
        torch.testing.assert_close(padded[:, :width], values, **ALMOST)
        assert (padded[:, width:] == 0).all()
        order = [4, 0, 6, 2, 5, 1, 3]
        shuffled = policy.logprobs(tiny.demonstrations([ROWS[i] for i in order]))
        torch.testing.assert_close(shuffled, values[order], **ALMOST)
        for i, row in enumerate(ROWS):
            alone = policy.logprobs(tiny.demonstrations([row]))[0]
            torch.testing.assert_close(alone, values[i, : len(row[0])], **ALMOST)


def test_ids_of_the_padding_never_matter() -> None:
    policy = tiny.make_policy("gpt2")
    batch, strange = (tiny.demonstrations(ROWS, filler=filler, extra=3) for filler in (0, tiny.VOCABULARY - 1))
    assert torch.equal(policy.logprobs(batch), policy.logprobs(strange))


def test_what_follows_the_last_chosen_token_never_matters() -> None:
    policy = tiny.make_policy("llama")
    row = ([0, 5, 6, 7, 8, 9], [False, False, True, True, False, False])
    other = ([0, 5, 6, 7, 2, 3], row[1])
    assert torch.equal(policy.logprobs(tiny.demonstrations([row])), policy.logprobs(tiny.demonstrations([other])))


def test_a_chosen_first_token_is_refused() -> None:
    batch = tiny.demonstrations([([0, 5], [False, True]), ([4, 5], [True, True])])
    with pytest.raises(ValueError, match="first token"):
        tiny.make_policy().logprobs(batch)


def test_nothing_chosen_gives_zeros() -> None:
    policy = tiny.make_policy()
    rows = [([0, 5, 4], [False] * 3), ([0, 5], [False] * 2)]
    assert torch.equal(policy.logprobs(tiny.demonstrations(rows)), torch.zeros(2, 3, dtype=torch.float64))
    values = policy.logprobs(tiny.demonstrations([*rows, ([0, 5, 4], [False, False, True])]))
    assert values.count_nonzero() == 1


def test_no_rows_give_no_numbers() -> None:
    batch = tiny.demonstrations(ROWS).select(slice(0, 0))
    assert tiny.make_policy().logprobs(batch).shape == batch.mask.shape


class Sizes(TorchDispatchMode):
    """Counts the elements of every tensor whose last dimension is the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.dim() and tensor.shape[-1] == tiny.VOCABULARY:
                self.largest = max(self.largest, tensor.numel())
        return out


def test_logits_exist_for_chosen_tokens_alone_and_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny.make_policy("gpt2")
    chosen_rows = [(ids, [False] * (len(ids) - 2) + [True] * 2) for ids, _ in tiny.random_rows(9, 1) if len(ids) > 2]
    batch = tiny.demonstrations(chosen_rows)
    embedding = tiny.VOCABULARY * 16
    with Sizes() as sizes:
        policy.logprobs(batch).sum().backward()
    assert sizes.largest == max(embedding, int(batch.mask.sum()) * tiny.VOCABULARY) < batch.tokens.numel() * 18
    monkeypatch.setattr(language, "LOGITS_AT_ONCE", 4 * tiny.VOCABULARY)
    heads: list[torch.Size] = []
    policy.model.lm_head.register_forward_hook(lambda _, __, out: heads.append(out.shape))
    policy.logprobs(batch).sum().backward()
    assert max(shape.numel() for shape in heads) == 4 * tiny.VOCABULARY
    assert sum(shape[0] for shape in heads) == 2 * int(batch.mask.sum()) - 4  # once again backward, but the last chunk


class Alive(TorchDispatchMode):
    """The most numbers of tensors over the vocabulary that are in memory at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dim() and out.shape[-1] == tiny.VOCABULARY:
            storage = StorageWeakRef(out.untyped_storage())
            there = {key: one for key, one in self.storages.items() if not one[0].expired()}
            self.storages = there | {storage.cdata: (storage, out.untyped_storage().nbytes() // out.itemsize)}
            self.most = max(self.most, sum(size for _, size in self.storages.values()))
        return out


@pytest.mark.parametrize("tokens_at_once", [20, 10_000])
def test_memory_does_not_grow_with_vocabulary_times_length(
    tokens_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient has the same numbers over the vocabulary in memory, however many tokens and passes there are."""
    monkeypatch.setattr(language, "LOGITS_AT_ONCE", 10 * tiny.VOCABULARY)
    monkeypatch.setitem(reader.TOKENS_AT_ONCE, "cpu", tokens_at_once)
    policy, most = tiny.make_policy("llama"), []
    for count in (10, 50):
        batch = tiny.preferences(tiny.random_pairs(count, seed=7))
        with Alive() as alive:
            logprobs, entropy = policy.logprobs_and_entropy(batch)
            (logprobs.sum() + entropy.sum()).backward()
        most.append(alive.most)
    assert most[1] < 1.2 * most[0] < int(batch.mask.sum()) * tiny.VOCABULARY / 2  # chunks differ by their rest


def test_bfloat16_runs_the_model_and_not_the_log_softmax() -> None:
    model = tiny.make_model("llama")
    exact = LanguagePolicy(model, tiny.make_tokenizer())
    rounded = LanguagePolicy(model, tiny.make_tokenizer(), "bfloat16")
    batch = tiny.demonstrations(ROWS)
    with torch.no_grad():
        values, expected = rounded.logprobs(batch), exact.logprobs(batch)
    assert values.dtype == torch.float32
    error = (values - expected).abs().max()
    assert 1e-4 < error < 0.3
    assert not torch.equal(values, values.bfloat16().float())  # more than 8 bits survive


def test_dropout_is_off_until_asked_for() -> None:
    policy = tiny.make_policy("gpt2", resid_pdrop=0.5)
    batch = tiny.demonstrations(ROWS)
    calm = policy.logprobs(batch)
    assert torch.equal(calm, policy.logprobs(batch))
    policy.dropout(True)
    assert not torch.equal(calm, policy.logprobs(batch))
    policy.dropout(False)
    assert torch.equal(calm, policy.logprobs(batch))


def test_parameters_name_a_tied_weight_once_and_a_frozen_one_never() -> None:
    policy = tiny.make_policy("gpt2")
    names = set(policy.parameters())
    assert "transformer.wte.weight" in names
    assert "lm_head.weight" not in names
    policy.model.transformer.wpe.weight.requires_grad_(False)
    assert names - set(policy.parameters()) == {"transformer.wpe.weight"}


class ForeignHead(GPT2LMHeadModel):
    """Doubles its logits in a way that no configuration tells of."""

    def forward(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output


def test_a_model_with_a_foreign_head_is_refused() -> None:
    options = tiny.FAMILIES["gpt2"][1]
    with pytest.raises(UserError, match="does not support"):
        LanguagePolicy(ForeignHead(GPT2Config(**options)), tiny.make_tokenizer())


def test_a_model_that_is_no_decoder_is_refused() -> None:
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=18, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    )
    bert = BertLMHeadModel(
        BertConfig(vocab_size=18, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    )
    for model in (t5, bert):
        with pytest.raises(UserError, match=model.config.model_type):
            LanguagePolicy(model, tiny.make_tokenizer())


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_a_saved_policy_is_plain_transformers(family: str, tmp_path: Path) -> None:
    policy = LanguagePolicy(tiny.make_model(family), tiny.make_tokenizer())
    policy.save(tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("good film", return_tensors="pt")["input_ids"]
    assert ids.tolist() == [[0, 3, 5]]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, policy.model(ids).logits)
    loaded = load_policy(tmp_path)
    for name, parameter in policy.parameters().items():
        assert torch.equal(loaded.parameters()[name], parameter)
    torch.testing.assert_close(loaded.logprobs(tiny.demonstrations(ROWS)), policy.logprobs(tiny.demonstrations(ROWS)))


def greedy(folder: Path) -> list[list[int]]:
    """What plain transformers writes after each of a few prompts: the likeliest tokens."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": tiny.UNK}
    prompts = [[0, word] for word in range(3, 13)]
    return [model.generate(torch.tensor([ids]), **options)[0, 2:].tolist() for ids in prompts]


@pytest.mark.parametrize(("configured", "written"), [(tiny.EOS, [1, 6]), ([7, tiny.EOS], [1, 7, 6]), (None, [1, 6])])
def test_a_saved_policy_generates_with_all_of_its_ends(configured: object, written: object, tmp_path: Path) -> None:
    """The template's end is 6. What was generated before without an end is now cut behind the first one."""
    model = tiny.make_model("llama", 1)
    model.generation_config.eos_token_id = model.config.eos_token_id = configured
    model.generation_config.repetition_penalty = 1.5
    policy = LanguagePolicy(model, tiny.make_chat_tokenizer())
    policy.save(tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "generation_config.json").read_text())
    assert (saved["eos_token_id"], saved.get("_from_model_config", False)) == (written, False)
    endless = copy.deepcopy(model)
    endless.generation_config.eos_token_id = None
    endless.save_pretrained(tmp_path / "endless")

    def cut(ids: list[int]) -> list[int]:
        return ids[: next((place + 1 for place, token in enumerate(ids) if token in written), len(ids))]

    found, without = greedy(tmp_path / "run"), greedy(tmp_path / "endless")
    assert found == [cut(ids) for ids in without] != without
    assert any(ids[-1] == 6 for ids in found)
    assert model.generation_config.eos_token_id == configured
    assert load_policy(tmp_path / "run").ends == policy.ends


def test_a_single_end_is_saved_as_a_number_and_the_same_ends_as_they_were(tmp_path: Path) -> None:
    """A configuration that transformers would refuse to save once it was changed keeps its other values."""
    for place, (configured, written) in enumerate([(None, 1), (1, 1), ([1], [1]), ([7, 1], [7, 1])]):
        model = tiny.make_model("llama", eos_token_id=configured)
        model.generation_config.temperature, model.generation_config.do_sample = 0.6, False
        model.generation_config._original_object_hash = hash(model.generation_config)  # as if loaded
        LanguagePolicy(model, tiny.make_tokenizer()).save(tmp_path / str(place))
        found = json.loads((tmp_path / str(place) / "generation_config.json").read_text())
        assert (found["eos_token_id"], found["temperature"]) == (written, 0.6)


def test_the_ends_are_within_the_embedding() -> None:
    """A list with ids that the model can never write, and one of the configuration's own."""
    model = tiny.make_model("llama", eos_token_id=[7, 18, 500, 1])
    assert LanguagePolicy(model, tiny.make_tokenizer()).ends == Ends((1, 7), 1)


def test_models_that_cannot_be_loaded_are_named(tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "whole")
    (tmp_path / "empty").mkdir()
    for name in ("no/such-model-anywhere", str(tmp_path / "empty"), str(tmp_path / "missing"), "a b ?"):
        with pytest.raises(UserError, match=r"--model .* could not be loaded") as caught:
            load_policy(name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    weights_file = tmp_path / "whole" / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"--model .* could not be loaded"):
        load_policy(tmp_path / "whole")


def test_a_model_saved_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    """transformers 5 makes up a tokenizer that knows no token; training on nothing would look like success."""
    tiny.save_model(tmp_path / "model", "gpt2")
    for path in (tmp_path / "model").glob("*token*"):
        path.unlink()
    with pytest.raises(UserError, match="tokenizer"):
        load_policy(tmp_path / "model")


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_the_entropy_is_that_of_the_distribution_each_token_was_drawn_from(family: str) -> None:
    """−Σ p log p over the whole vocabulary, by a loop over the positions of one forward pass of transformers."""
    policy = tiny.make_policy(family)
    batch = tiny.demonstrations([([0, 4, 5, 6], [False, False, True, True]), ([0, 7, 8], [False, True, True])])
    logprobs, entropies = policy.logprobs_and_entropy(batch)
    assert torch.allclose(logprobs, policy.logprobs(batch), atol=1e-6)
    for row, column in batch.mask.nonzero().tolist():
        logits = policy.model(batch.tokens[row : row + 1, :column]).logits[0, -1].double()
        p = logits.softmax(-1)
        assert abs(-(p * p.log()).sum().item() - entropies[row, column].item()) < 1e-5
    assert (entropies[~batch.mask] == 0).all()


def test_an_entropy_that_no_loss_uses_costs_no_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor) -> Tensor:
            return logits.sum(-1)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            pytest.fail("the entropy's backward pass was run")

    monkeypatch.setattr(language, "entropy", Fails.apply)
    policy = tiny.make_policy("gpt2")
    logprobs, entropies = policy.logprobs_and_entropy(tiny.demonstrations(ROWS))
    logprobs.sum().backward()
    assert entropies.requires_grad


def test_a_temperature_divides_the_logits() -> None:
    """Equal to the log-softmax of halved logits."""
    policy = tiny.make_policy("gpt2")
    batch = tiny.demonstrations([([0, 4, 5], [False, True, True])])
    logits = policy.model(batch.tokens).logits[0].double() / 2
    expected = [logits[0].log_softmax(-1)[4].item(), logits[1].log_softmax(-1)[5].item()]
    policy.temperature = 2.0
    assert policy.logprobs(batch)[0, 1:].tolist() == pytest.approx(expected, abs=1e-5)
