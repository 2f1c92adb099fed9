"""What a model computes in packed rows: for each text, what it computes for the text alone."""

import runpy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import families
import pytest
import tiny
import torch
from tiny_scorers import make_scorer
from transformers import AttentionInterface, PreTrainedModel

from burnish.policies.language import attention, packing
from burnish.policies.language.contract import packing_of
from burnish.policies.language.masks import packed_masks, read_packed
from burnish.policies.language.packing import Pack, packs, prompt_lengths
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.recompute import recompute_layers

WINDOWS = ["mistral", "gemma2"]  # windows of 4 tokens, shorter than the texts


def triples(seed: int, count: int = 4) -> list[list[tiny.Row]]:
    """Prompts of 9 to 15 tokens with three responses of 1 to 8 tokens each."""
    random = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (), generator=random))  # noqa: E731
    ids = lambda n: torch.randint(3, tiny.VOCABULARY, (n,), generator=random).tolist()  # noqa: E731
    out = []
    for _ in range(count):
        prompt = ids(draw(9, 16))
        answers = [ids(draw(1, 9)) for _ in range(3)]
        out.append([(prompt + answer, [False] * len(prompt) + [True] * len(answer)) for answer in answers])
    return out


def with_gradient(policy: LanguagePolicy, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    found = policy.logprobs(batch)
    (found * torch.linspace(-1, 1, found.numel()).view(found.shape)).sum().backward()
    gradients = {name: p.grad for name, p in policy.parameters().items() if p.grad is not None}
    for p in policy.parameters().values():
        p.grad = None
    return found.detach(), gradients


def spy(policy: Any) -> list[int]:
    """The numbers of places in each pass through the model."""
    sizes: list[int] = []
    body = policy.model.base_model
    body.register_forward_hook(lambda *parts: sizes.append(parts[-1].last_hidden_state[..., 0].numel()))
    return sizes


def assert_as_alone(policy: LanguagePolicy, rows: list[tiny.Row]) -> None:
    """Each row's log-probabilities are those that the model's own forward pass gives it alone."""
    with torch.no_grad():
        found = policy.logprobs(tiny.demonstrations(rows))
        for row, (ids, mask) in enumerate(rows):
            expected = torch.stack(tiny.naive_logprobs(policy.model, ids, mask)).float()
            torch.testing.assert_close(found[row, : len(ids)], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
@pytest.mark.parametrize(("double", "joined"), [(True, False), (False, False), (True, True)])
def test_shared_prompts_give_the_numbers_and_gradients_of_texts_alone(
    family: str, double: bool, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-5 in float32: absolute, rotary and window positions, grouped queries, soft caps. In float64 what is left is
    the rounding of rotary angles, which transformers computes in float32."""
    policy = tiny.make_policy(family, double=double)
    assert policy.padded is None
    assert policy.joins == (family != "gemma2")  # it caps its scores, which sdpa cannot
    if joined:
        monkeypatch.setattr(packing, "CALL", -1e9)
    batch = tiny.preferences(triples(0))
    sizes = spy(policy)
    shared, gradients = with_gradient(policy, batch)
    assert sum(sizes) < 0.6 * int(batch.lengths.sum())
    policy.padded = "is read padded"
    sizes.clear()
    alone, expected = with_gradient(policy, batch)
    assert sum(sizes) >= int(batch.lengths.sum()) - 12  # the last token of each of the 12 rows is never read
    near = 2e-6 if double else 1e-5
    torch.testing.assert_close(shared, alone, rtol=near, atol=near)
    assert gradients.keys() == expected.keys()
    for name in gradients:
        torch.testing.assert_close(
            gradients[name], expected[name], rtol=near, atol=near * max(1.0, expected[name].abs().max().item())
        )


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
@pytest.mark.parametrize("joined", [False, True])
def test_rounded_sizes_change_no_number_and_no_gradient(
    family: str, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, batch = tiny.make_policy(family), tiny.preferences(triples(2))
    if joined:
        monkeypatch.setattr(packing, "CALL", -1e9)
    sizes = spy(policy)
    expected = with_gradient(policy, batch)
    exact = sum(sizes)
    sizes.clear()
    monkeypatch.setattr(type(policy), "steps", 2)
    found = with_gradient(policy, batch)
    assert sum(sizes) > exact
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("family", ["gpt2", "mistral"])
def test_joined_packs_hold_no_padding_and_can_be_computed_again(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that is computed again in the backward pass is so outside of the pass that made its mask."""
    policy, batch = tiny.make_policy(family), tiny.preferences(triples(6))
    sizes = spy(policy)
    expected = with_gradient(policy, batch)
    padded = sum(sizes)
    sizes.clear()
    monkeypatch.setattr(packing, "CALL", -1e9)
    recompute_layers(policy.model)
    found = with_gradient(policy, batch)
    assert sizes == [sum(len(group[0][0]) for group in map(shortened, triples(6)))] < [padded]
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("family", sorted({*tiny.FAMILIES} - {"gemma2"}))
def test_joined_packs_in_bfloat16_have_the_numbers_of_texts_alone(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows are short enough for plain products, as those of wide models are in training."""
    batch = tiny.preferences(triples(7))
    expected, _ = with_gradient(tiny.make_policy(family), batch)
    policy = LanguagePolicy(tiny.make_model(family), tiny.make_tokenizer(), precision="bfloat16")
    monkeypatch.setattr(packing, "CALL", -1e9)
    read: list[tuple[int, ...]] = []
    policy.model.base_model.register_forward_hook(lambda *parts: read.append(tuple(parts[-1].last_hidden_state.shape)))
    found, _ = with_gradient(policy, batch)
    assert [shape[0] for shape in read] == [1]  # of 4 blocks
    torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=0.02)


def test_the_order_of_imports_does_not_matter() -> None:
    """To import plain attention leaves transformers' sdpa as it is; it is put into place where rows take turns."""
    registered = AttentionInterface()["sdpa"]
    assert registered.__qualname__ == "row_by_row.<locals>.attend"
    runpy.run_path(str(attention.__file__))
    assert AttentionInterface()["sdpa"] is registered


def shortened(group: list[tiny.Row]) -> list[tiny.Row]:
    """The prompt and all responses without their last tokens, as one row."""
    prompt = group[0][1].index(True)
    return [(group[0][0][:prompt] + [token for ids, _ in group for token in ids[prompt:-1]], [])]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_scores_and_values_share_prompts_too(family: str) -> None:
    scorer = make_scorer(family)
    batch = tiny.preferences(triples(1))
    sizes = spy(scorer)
    found = scorer.scores(batch), scorer.values(batch)
    assert sum(sizes) < 1.2 * int(batch.lengths.sum())  # both passes together
    scorer.padded = "is read padded"
    for one, expected in zip(found, (scorer.scores(batch), scorer.values(batch)), strict=True):
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "family", ["llama4_text", "deepseek_v3", "modernbert-decoder", "gptj", "lfm2", "mamba", "bloom"]
)
def test_other_families_are_packed_where_that_changes_nothing(family: str) -> None:
    """The last four have layers that read more than a mask lets them see."""
    policy = LanguagePolicy(families.make_model(family), tiny.make_tokenizer())
    assert (policy.padded is None) == (family in ("deepseek_v3", "modernbert-decoder"))
    assert_as_alone(policy, [row for group in triples(2) for row in group])


@pytest.mark.parametrize("tuned", [True, False])
def test_llama_4_is_padded_where_attention_depends_on_the_place_in_a_row(tuned: bool) -> None:
    """Its temperature changes at 40 places: no text is so long, and a packed row of five of them is."""
    changes = families.TUNED | {"attn_temperature_tuning": tuned}
    policy = LanguagePolicy(families.make_model("llama4_text", **changes), tiny.make_tokenizer())
    assert (policy.padded is None) == (not tuned)
    assert_as_alone(policy, [row for group in triples(5) for row in group])


def test_a_packed_row_may_be_longer_than_the_context() -> None:
    """Its texts are not: five texts of 30 tokens in one row, in a context of 48."""
    policy = tiny.make_policy("gpt2")
    rows = [([3 + (i * j) % 15 for j in range(30)], [False] + [True] * 29) for i in range(1, 6)]
    tokens, mask, lengths = tiny.pad_rows(rows)
    (pack,) = packs(tokens, mask, prompt_lengths(mask, lengths), 1000, 10_000)
    assert pack.inputs.shape[1] > tiny.CONTEXT
    found = policy.logprobs(tiny.demonstrations(rows))
    for row, (ids, mask_) in enumerate(rows):
        expected = torch.stack(tiny.naive_logprobs(policy.model, ids, mask_))
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-9)


def test_both_implementations_of_attention_follow_the_parts() -> None:
    found = []
    for implementation in ("sdpa", "eager"):
        policy = tiny.make_policy("mistral")
        policy.model.set_attn_implementation(implementation)
        found.append(policy.logprobs(tiny.preferences(triples(3))))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)


def some_pack() -> Pack:
    tokens, mask, lengths = tiny.pad_rows([row for group in triples(4, 2) for row in group])
    return packs(tokens, mask, prompt_lengths(mask, lengths), 1000, 10_000)[0]


def test_masks_are_transformers_own_outside_and_in_other_threads() -> None:
    """Also where the pass fails."""
    model = tiny.make_model("llama").double()
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    padded = torch.tensor([[0, 1, 1, 1, 1]])  # so that a mask is made
    expected = model(input_ids=ids, attention_mask=padded).logits
    read_packed(model, some_pack())
    with pytest.raises(RuntimeError), packed_masks(some_pack()):
        raise RuntimeError
    assert torch.equal(model(input_ids=ids, attention_mask=padded).logits, expected)
    with packed_masks(some_pack()), ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: model(input_ids=ids, attention_mask=padded).logits).result()
        assert torch.equal(found, expected)


def leaking(model: PreTrainedModel) -> PreTrainedModel:
    """The model with a layer that adds to each place what stands to its left in the row."""
    layer = model.model.layers[0]
    layer.register_forward_hook(lambda module, inputs, out: out + torch.nn.functional.pad(out, (0, 0, 1, 0))[:, :-1])
    return model


def test_a_model_that_looks_past_the_mask_is_found_out() -> None:
    assert packing_of(tiny.make_model("llama")) == (None, True)
    assert packing_of(leaking(tiny.make_model("llama"))) == ("reads a text differently behind another one", False)


def test_the_texts_alone_are_read_once_for_both_checks() -> None:
    """Three of them, then the pack, and the joined pack."""
    model, read = tiny.make_model("llama"), []
    model.base_model.register_forward_hook(lambda *parts: read.append(parts[-1].last_hidden_state.shape[0]))
    packing_of(model)
    assert len(read) == 5


def test_other_implementations_of_attention_are_not_packed() -> None:
    """Flash attention takes no mask."""
    model = tiny.make_model("llama")
    model.config._attn_implementation = "flash_attention_2"
    assert packing_of(model) == ("runs with attention flash_attention_2", False)
