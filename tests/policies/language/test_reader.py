"""What policies and scorers read alike, against one prefix at a time through the model's own forward."""

import re
import warnings
from typing import Any

import families
import pytest
import tiny
import torch
from tiny_mixtures import make_mixture
from tiny_scorers import make_scorer
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM

from burnish.policies.language import reader
from burnish.policies.language.neftune import Neftune
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.reader import TokenReader
from burnish.run.noise import BurnishWarning

ROWS = tiny.random_rows(7, seed=3)
WIDTH = 16


def make_reader(family: str = "gpt2", precision: str = "float32", double: bool = True, **changes: Any) -> TokenReader:
    model = tiny.make_model(family, **changes)
    return TokenReader(model.double() if double else model, tiny.make_tokenizer(), precision)


def head(hidden: Tensor, targets: Tensor) -> tuple[Tensor]:
    """Two numbers that tell the hidden state and the token behind it."""
    return (torch.stack([(hidden * torch.arange(WIDTH)).sum(-1), targets.to(hidden.dtype)], -1),)


def by_prefixes(model: Any) -> Tensor:
    """Each place where the mask is True: what comes before it, read by itself."""
    tokens, mask, _ = tiny.pad_rows(ROWS)
    found = torch.zeros(*mask.shape, 2, dtype=torch.float64)
    with torch.no_grad():
        for row, column in mask.nonzero().tolist():
            hidden = model.base_model(input_ids=tokens[row : row + 1, :column]).last_hidden_state[0, -1]
            found[row, column] = torch.stack([(hidden * torch.arange(16)).sum(), tokens[row, column].double()])
    return found


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_numbers_are_of_the_state_before_each_place_and_of_its_token(family: str) -> None:
    model = make_reader(family)
    tokens, mask, lengths = tiny.pad_rows(ROWS, filler=9, extra=2)
    with torch.no_grad():
        found = model.numbers(tokens, mask, lengths, head, WIDTH)[0]
    expected = by_prefixes(model.model)
    width = expected.shape[1]
    torch.testing.assert_close(found[:, :width], expected, rtol=1e-6, atol=1e-5)
    assert not found[:, width:].any()
    assert not found[~mask].any()


@pytest.mark.parametrize("tokens_at_once", [1, 20, 30])
@pytest.mark.parametrize("padded", [None, "is read padded"])
def test_the_number_of_passes_changes_nothing(
    tokens_at_once: int, padded: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_reader("llama")
    model.padded = padded
    tokens, mask, lengths = tiny.pad_rows(ROWS)
    sizes: list[int] = []
    model.model.base_model.register_forward_hook(
        lambda *parts: sizes.append(parts[-1].last_hidden_state[..., 0].numel())
    )
    with torch.no_grad():
        whole = model.numbers(tokens, mask, lengths, head, WIDTH)[0]
        assert len(sizes) == 1
        sizes.clear()
        monkeypatch.setitem(reader.TOKENS_AT_ONCE, "cpu", tokens_at_once)
        torch.testing.assert_close(model.numbers(tokens, mask, lengths, head, WIDTH)[0], whole)
    assert len(sizes) > 1


def test_where_nothing_is_asked_nothing_is_read() -> None:
    model = make_reader()
    model.model.base_model.register_forward_hook(lambda *_: pytest.fail("the model was run"))
    tokens, mask, lengths = tiny.pad_rows(ROWS)
    for rows in (slice(0, 7), slice(0, 0)):
        found = model.numbers(tokens[rows], torch.zeros_like(mask[rows]), lengths[rows], head, WIDTH)[0]
        assert found.shape == (*mask[rows].shape, 2)
        assert not found.any()


@pytest.mark.parametrize("padded", [None, "is read padded"])
def test_a_first_token_has_nothing_before_it(padded: str | None) -> None:
    mask, model = torch.tensor([[True, False]]), make_reader()
    model.padded = padded
    with pytest.raises(ValueError, match="the first token of a row"):
        model.numbers(torch.zeros(1, 2, dtype=torch.long), mask, torch.tensor([2]), head, WIDTH)


def test_bfloat16_is_the_models_alone() -> None:
    """Its weights stay in float32, and outside of a pass nothing is cast."""
    model = make_reader("llama", "bfloat16", double=False)
    tokens, mask, lengths = tiny.pad_rows(ROWS)
    seen: list[torch.dtype] = []

    def noted(hidden: Tensor, targets: Tensor) -> tuple[Tensor]:
        seen.append((hidden.float() @ torch.eye(16)).dtype)
        return head(hidden, targets)

    layer = model.model.model.layers[0].mlp.up_proj
    layer.register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    model.numbers(tokens, mask, lengths, noted, WIDTH)
    assert seen == [torch.bfloat16, torch.float32]
    assert {p.dtype for p in model.parameters().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "dtype", "count"),
    [("bfloat16", torch.float32, 2), ("float32", torch.bfloat16, 2), ("float32", torch.float32, 7)],
)
def test_in_bfloat16_batches_of_other_lengths_have_the_same_sizes(
    precision: str, dtype: torch.dtype, count: int
) -> None:
    """Of what the layers and the head compute: a product of a new size is slow there."""
    model = TokenReader(tiny.make_model("llama").to(dtype), tiny.make_tokenizer(), precision)
    sizes: set[tuple[int, ...]] = set()

    def noted(hidden: Tensor, targets: Tensor) -> tuple[Tensor]:
        sizes.add((*hidden.shape, *targets.shape))
        return head(hidden, targets)

    layer = model.model.model.layers[0].mlp.up_proj
    layer.register_forward_hook(lambda *parts: sizes.add(tuple(parts[-1].shape)))
    ids, chosen = [*range(3, 11)] * 5, [False] * 2 + [True] * 38
    for length in (34, 35, 36, 37):
        tokens, mask, lengths = tiny.pad_rows([(ids[:size], chosen[:size]) for size in (34, 35, length)])
        found = model.numbers(tokens, mask, lengths, noted, WIDTH)[0]
        assert found[..., 1][mask].tolist() == tokens[mask].tolist()
    assert len(sizes) == count


def test_dropout_is_off_until_it_is_switched_on() -> None:
    model = make_reader("gpt2", resid_pdrop=0.5)
    model.model.transformer.train()  # while the whole says that it is not training
    model = TokenReader(model.model, model.tokenizer)
    tokens, mask, lengths = tiny.pad_rows(ROWS)
    calm = model.numbers(tokens, mask, lengths, head, WIDTH)[0]
    assert torch.equal(calm, model.numbers(tokens, mask, lengths, head, WIDTH)[0])
    model.dropout(True)
    assert not torch.equal(calm, model.numbers(tokens, mask, lengths, head, WIDTH)[0])


def test_while_dropout_is_on_no_prompt_is_shared() -> None:
    """Two rows with one prompt of 8 tokens and 2 more each: 12 tokens are read without dropout, 20 with it."""
    model = make_reader("gpt2", resid_pdrop=0.1)
    ids = [*range(3, 11)]
    tokens, mask, lengths = tiny.pad_rows([([*ids, *end], [False] * 8 + [True] * 3) for end in ([3, 4, 5], [5, 4, 3])])
    read: list[int] = []
    model.model.base_model.register_forward_hook(
        lambda *parts: read.append(parts[-1].last_hidden_state[..., 0].numel())
    )
    for on in (False, True):
        model.dropout(on)
        model.numbers(tokens, mask, lengths, head, WIDTH)
    assert read == [12, 20]


def test_a_model_that_cannot_read_packed_rows_says_so_once_and_reads_padded_ones() -> None:
    model = BloomForCausalLM(BloomConfig(vocab_size=tiny.VOCABULARY, hidden_size=16, n_layer=1, n_head=2)).double()
    policy = LanguagePolicy(model, tiny.make_tokenizer())
    with pytest.warns(BurnishWarning, match=r"\(bloom\) has layers .*: rows are padded, not packed"):
        found = policy.logprobs(tiny.demonstrations(ROWS))
    for row, (ids, mask) in enumerate(ROWS):
        expected = torch.stack(tiny.naive_logprobs(model, ids, mask))
        torch.testing.assert_close(found[row, : len(ids)], expected, rtol=1e-6, atol=1e-6)


def noisy() -> LanguagePolicy:
    policy = tiny.make_policy("llama")
    policy.neftune = Neftune(5.0)
    policy.dropout(True)
    return policy


def scaled() -> LanguagePolicy:
    return tiny.make_policy("llama", rope_scaling={"rope_type": "dynamic", "factor": 4.0})


def balanced() -> LanguagePolicy:
    return LanguagePolicy(make_mixture("mixtral", output_router_logits=True), tiny.make_tokenizer())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (noisy, r"\(llama\) gets the noise of --neftune on whole rows"),
        (scaled, r"\(llama\) has rotary positions that depend on the length of a row"),
        (balanced, r"\(mixtral\) adds the load-balancing loss of its routers, a mean over whole rows"),
    ],
)
def test_what_depends_on_whole_rows_is_read_padded_and_says_so_once(make: Any, said: str) -> None:
    policy = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=BurnishWarning)  # as a command sets it
        for _ in range(3):
            policy.logprobs(tiny.demonstrations(ROWS))
            with warnings.catch_warnings():  # as libraries do, after which Python forgets what it has warned of
                pass
    (only,) = (str(one.message) for one in caught)
    assert re.search(rf"{said}: rows are padded, not packed$", only)


def test_without_noise_the_rows_of_an_evaluation_are_packed() -> None:
    policy = noisy()
    policy.dropout(False)
    assert policy.against_packing() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.logprobs(tiny.demonstrations(ROWS))


def test_parameters_are_those_that_are_trained_and_a_tied_one_once() -> None:
    model = make_reader()
    names = set(model.parameters())
    assert "transformer.wte.weight" in names
    assert "lm_head.weight" not in names
    model.model.transformer.wpe.weight.requires_grad_(False)
    assert names - set(model.parameters()) == {"transformer.wpe.weight"}


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_the_context_is_what_the_configuration_says(family: str) -> None:
    assert make_reader(family).context == tiny.CONTEXT


def test_a_context_without_a_limit_is_none() -> None:
    """Bloom's positions are distances, of which there may be any number."""
    bloom = BloomForCausalLM(BloomConfig(vocab_size=tiny.VOCABULARY, hidden_size=8, n_layer=1, n_head=2))
    assert TokenReader(bloom, tiny.make_tokenizer()).context is None


def test_policies_and_scorers_read_alike() -> None:
    """With the same body, what their heads see is the same."""
    policy, scorer = tiny.make_policy("llama"), make_scorer("llama")
    scorer.model.base_model.load_state_dict(policy.model.base_model.state_dict())
    assert isinstance(policy, TokenReader)
    assert isinstance(scorer, TokenReader)
    tokens, mask, lengths = tiny.pad_rows(ROWS)
    with torch.no_grad():
        found = [model.numbers(tokens, mask, lengths, head, WIDTH)[0] for model in (policy, scorer)]
    assert torch.equal(*found)
    assert policy.device == scorer.device == torch.device("cpu")


LENGTHS = (5, 16, 30, 17, 20, 15, 20)  # around the 16 tokens up to which positions stay as they are


@pytest.mark.parametrize("family", ["phi3", "llama"])
@pytest.mark.parametrize("at_once", [1, 45, 2048])
def test_a_row_has_the_positions_of_its_own_length(family: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """LongRoPE and dynamic scaling: each row is as transformers reads it alone, whatever was read before it.

    The oracle is a new model for each row, as a model with dynamic scaling remembers longer rows.
    """
    monkeypatch.setitem(reader.TOKENS_AT_ONCE, "cpu", at_once)
    policy = LanguagePolicy(families.make_model(family), tiny.make_tokenizer())
    generator = torch.Generator().manual_seed(0)
    rows = [
        (ids, [False] * 2 + [True] * (len(ids) - 2))
        for ids in (torch.randint(tiny.VOCABULARY, (n,), generator=generator).tolist() for n in LENGTHS)
    ]
    with torch.no_grad():
        for _ in range(2):
            found = policy.logprobs(tiny.demonstrations(rows))
            for row, (ids, mask) in enumerate(rows):
                expected = torch.stack(tiny.naive_logprobs(families.make_model(family), ids, mask)).float()
                torch.testing.assert_close(found[row, : len(ids)], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", ["phi3", "llama"])
def test_longer_rows_have_other_positions(family: str) -> None:
    """What the test before would not see otherwise: a row's first tokens differ beside a longer row."""
    model = families.make_model(family)
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        alone = model(input_ids=ids, use_cache=False).logits[0]
        beside = model(input_ids=torch.nn.functional.pad(ids, (0, 20)), use_cache=False).logits[0, :10]
    assert (alone - beside).abs().max() > 0.01
