"""Sampling: the right distribution, the right log-probabilities, and rows that do not know of each other."""

import math
from collections import Counter
from itertools import product
from typing import Any

import families
import pytest
import tiny
import torch
from scipy.stats import chisquare

from burnish.ends import Ends
from burnish.policies.interface import Sampled, Sampler, SamplingKnobs
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import PolicySampler, sample, stream_tokens
from burnish.run import UserError

FAMILIES = sorted(tiny.FAMILIES)
PROMPTS = [[0], [0, 5, 6, 7, 8, 9, 10], [0, 4], [0, 11, 3], [0, 5, 6, 7, 8, 9, 10], [0, 3, 3, 3]]


def enumerate_completions(policy: LanguagePolicy, prompt: list[int], limit: int, words: int) -> dict[tuple, float]:
    """The exact probability of every completion of at most `limit` tokens: it ends with EOS, or at the limit."""
    found = {}
    for length in range(1, limit + 1):
        for ids in product(range(words), repeat=length):
            ended = ids[-1] == tiny.EOS
            if tiny.EOS in ids[:-1] or (length < limit and not ended):
                continue
            mask = [False] * len(prompt) + [True] * length
            with torch.no_grad():
                logprob = sum(tiny.naive_logprobs(policy.model, [*prompt, *ids], mask)).item()
            found[ids] = math.exp(logprob)
    return found


def test_completions_have_their_exact_frequencies() -> None:
    """4 words, at most 3 tokens: 1 + 3 + 9·4 = 40 completions, whose probabilities are enumerated."""
    policy = tiny.make_policy("gpt2", vocab_size=4)
    prompt = [0, 3]
    exact = enumerate_completions(policy, prompt, 3, 4)
    assert len(exact) == 40
    assert sum(exact.values()) == pytest.approx(1.0, abs=1e-9)
    count = 3000
    drawn = Counter(tuple(ids) for ids in sample(policy, [prompt] * count, seed=0, max_new_tokens=3).tokens)
    common = [ids for ids, p in exact.items() if p * count >= 5]
    observed, expected = [drawn[ids] for ids in common], [exact[ids] * count for ids in common]
    observed.append(count - sum(observed))
    expected.append(count - sum(expected))
    assert len(observed) > 12
    assert chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_are_the_policys_own(family: str) -> None:
    policy = tiny.make_policy(family, double=False)
    drawn = sample(policy, PROMPTS, seed=3, max_new_tokens=12)
    batch = completions_batch(PROMPTS, drawn.tokens)
    with torch.no_grad():
        expected = policy.logprobs(batch)
    for i, values in enumerate(drawn.logprobs):
        torch.testing.assert_close(torch.tensor(values), expected[i][batch.mask[i]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_does_not_know_of_the_others(family: str) -> None:
    """Alone, among others, in small groups or large, behind much padding or none: the same ids."""
    # Gemma 2's attention takes its softmax in float32, in which float64's mask is −∞, and a row of padding NaN.
    policy = tiny.make_policy(family, double=family != "gemma2")
    options = {"seed": 5, "max_new_tokens": 10}
    together = sample(policy, PROMPTS, **options)
    assert len({tuple(ids) for ids in together.tokens}) >= 5
    for rows_at_once in (1, 2, 4):
        assert sample(policy, PROMPTS, rows_at_once=rows_at_once, **options).tokens == together.tokens
    for i, prompt in enumerate(PROMPTS):
        alone = sample(policy, [prompt], streams=[i], **options)
        assert alone.tokens == [together.tokens[i]]
        assert alone.logprobs[0] == pytest.approx(together.logprobs[i], abs=1e-6)
    order = [3, 1, 5, 0]
    some = sample(policy, [PROMPTS[i] for i in order], streams=order, **options)
    assert some.tokens == [together.tokens[i] for i in order]


def test_two_rows_of_one_prompt_differ_and_a_seed_repeats() -> None:
    policy = tiny.make_policy("llama")
    one = sample(policy, [[0, 4]] * 8, seed=1, max_new_tokens=12)
    assert len({tuple(ids) for ids in one.tokens}) == 8
    assert sample(policy, [[0, 4]] * 8, seed=1, max_new_tokens=12) == one
    assert sample(policy, [[0, 4]] * 8, seed=2, max_new_tokens=12).tokens != one.tokens


def assert_well_formed(drawn: Sampled, limits: list[int]) -> None:
    for ids, values, ended, limit in zip(drawn.tokens, drawn.logprobs, drawn.ended, limits, strict=True):
        assert len(ids) == len(values)
        assert tiny.EOS not in ids[:-1]
        assert ended == (ids[-1] == tiny.EOS)
        assert ended or len(ids) == limit
        assert len(ids) <= limit


def test_completions_end_with_eos_or_at_the_limit() -> None:
    drawn = sample(tiny.make_policy("llama"), [[0, 4]] * 60, seed=0, max_new_tokens=10)
    assert_well_formed(drawn, [10] * 60)
    assert 10 < sum(drawn.ended) < 60


@pytest.mark.parametrize("ends", [[tiny.EOS, 7, 12], [12, 5, tiny.EOS, 400]])
@pytest.mark.parametrize("seed", [2, 3, 5])
def test_completions_stop_where_generate_does(seed: int, ends: list[int]) -> None:
    """The likeliest tokens, by plain transformers one prompt at a time."""
    policy = tiny.make_policy("llama", seed, eos_token_id=ends)
    drawn = sample(policy, PROMPTS, seed=0, max_new_tokens=12, top_k=1)
    assert {ids[-1] for ids, ended in zip(drawn.tokens, drawn.ended, strict=True) if ended} - {tiny.EOS}
    for prompt, ids, ended in zip(PROMPTS, drawn.tokens, drawn.ended, strict=True):
        given = torch.tensor([prompt])
        plain = policy.model.generate(given, max_new_tokens=12, do_sample=False, pad_token_id=tiny.UNK)
        assert ids == plain[0, len(prompt) :].tolist()
        assert ended == (ids[-1] in ends)
        assert list(stream_tokens(policy, prompt, seed=0, max_new_tokens=12, top_k=1)) == ids


def test_the_end_of_the_chat_template_is_an_end_too() -> None:
    """The template ends each answer with "plot", the word 6: about one in eighteen tokens."""
    policy = LanguagePolicy(tiny.make_model("llama"), tiny.make_chat_tokenizer())
    assert (policy.ends.ids, policy.ends.template) == ((tiny.EOS, 6), 6)
    drawn = sample(policy, [[0, 4]] * 60, seed=0, max_new_tokens=10)
    assert {ids[-1] for ids, ended in zip(drawn.tokens, drawn.ended, strict=True) if ended} == {tiny.EOS, 6}
    assert not any({tiny.EOS, 6} & set(ids[:-1]) for ids in drawn.tokens)
    assert [ids[-1] in (tiny.EOS, 6) for ids in drawn.tokens] == drawn.ended


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_completions_end_with_the_context_each_with_its_own(family: str) -> None:
    """A long prompt ends after the 3 tokens that fit; a short one beside it goes on."""
    policy = tiny.make_policy(family)
    policy.ends = Ends((), None)
    prompts = [[0, *[5] * (tiny.CONTEXT - 4)], [0, 4], [0, *[6] * (tiny.CONTEXT - 2)]]
    drawn = sample(policy, prompts, seed=0, max_new_tokens=20)
    assert [len(ids) for ids in drawn.tokens] == [3, 20, 1]
    assert drawn.ended == [False] * 3
    for i, prompt in enumerate(prompts):
        assert sample(policy, [prompt], streams=[i], seed=0, max_new_tokens=20).tokens == [drawn.tokens[i]]


@pytest.mark.filterwarnings("ignore:completions end at 16 tokens")
@pytest.mark.parametrize(("family", "lengths"), [("phi3", [3, 20, 12, 17]), ("llama", [3, 12, 15])])
def test_logprobs_are_those_of_the_whole_row_where_positions_depend_on_its_length(
    family: str, lengths: list[int]
) -> None:
    """Positions change beyond 16 tokens: completions of shorter prompts end there, and long rows are read apart."""
    policy = LanguagePolicy(families.make_model(family), tiny.make_tokenizer())
    policy.ends = Ends((), None)
    prompts = [[3 + i % 15 for i in range(n)] for n in lengths]
    found = sample(policy, prompts, seed=0, max_new_tokens=8)
    ends = [min(n + 8, 16) if n < 16 else n + 8 for n in lengths]
    assert [n + len(ids) for n, ids in zip(lengths, found.tokens, strict=True)] == ends
    with torch.no_grad():
        for prompt, ids, logprobs in zip(prompts, found.tokens, found.logprobs, strict=True):
            mask = [False] * len(prompt) + [True] * len(ids)
            oracle = tiny.naive_logprobs(families.make_model(family), prompt + ids, mask)[len(prompt) :]
            assert logprobs == pytest.approx([one.item() for one in oracle], abs=1e-4)


@pytest.mark.filterwarnings("ignore:.*prompts of one length are sampled at a time")
@pytest.mark.parametrize("at_once", [2, 256])
@pytest.mark.parametrize(("family", "changes"), [("gpt_neo", {}), ("llama4_text", families.TUNED), ("gptj", {})])
def test_short_texts_beside_long_ones_have_the_logprobs_of_each_alone(
    family: str, changes: dict[str, Any], at_once: int
) -> None:
    """Long prompts nearly fill the context of 64. GPT-Neo has masks for no more columns than that, and Llama 4's
    attention goes by the place in the cache."""
    model = families.make_model(family, **changes)
    policy = LanguagePolicy(model, tiny.make_tokenizer())
    policy.ends = Ends((), None)
    prompts = [[3 + (i * j) % 15 for j in range(length)] for i, length in enumerate([58, 4, 50, 3, 61], 1)]
    drawn = sample(policy, prompts, seed=0, max_new_tokens=30, rows_at_once=at_once)
    assert [len(ids) for ids in drawn.tokens] == [6, 30, 14, 30, 3]
    with torch.no_grad():
        for prompt, ids, logprobs in zip(prompts, drawn.tokens, drawn.logprobs, strict=True):
            oracle = tiny.naive_logprobs(model, prompt + ids, [False] * len(prompt) + [True] * len(ids))
            assert logprobs == pytest.approx([one.item() for one in oracle[len(prompt) :]], abs=1e-4)


def test_prompts_of_one_length_are_sampled_at_a_time_where_places_matter() -> None:
    policy = LanguagePolicy(families.make_model("llama4_text", **families.TUNED), tiny.make_tokenizer())
    with pytest.warns(UserWarning, match=r"\(llama4_text\) reads a token by its place in the cache: prompts of one"):
        sample(policy, [[0, 4], [0, 5, 6]], seed=0, max_new_tokens=2)


def test_a_completion_that_ends_where_positions_change_says_so() -> None:
    policy = LanguagePolicy(families.make_model("phi3"), tiny.make_tokenizer())
    with pytest.warns(UserWarning, match="completions end at 16 tokens"):
        sample(policy, [[3] * 14], seed=0, max_new_tokens=8)
    with pytest.raises(UserError, match="prompt 1 has 16 tokens, and behind them the model's rotary positions change"):
        sample(policy, [[3] * 4, [3] * 16], seed=0, max_new_tokens=2)


def test_a_model_that_diverged_is_not_sampled_from() -> None:
    policy = tiny.make_policy("gpt2")
    with torch.no_grad():
        policy.model.transformer.ln_f.weight.fill_(math.nan)
    with pytest.raises(UserError, match="not finite"):
        sample(policy, PROMPTS, seed=0, max_new_tokens=3)


def test_sampling_leaves_dropout_off() -> None:
    policy = tiny.make_policy("gpt2", resid_pdrop=0.5)
    policy.dropout(True)
    calm = tiny.make_policy("gpt2")
    options = {"seed": 0, "max_new_tokens": 6}
    assert sample(policy, PROMPTS, **options).tokens == sample(calm, PROMPTS, **options).tokens


def test_knobs_reach_the_sampler() -> None:
    """With the likeliest token alone every row is the greedy one, which is found here by plain forwards."""
    policy = tiny.make_policy("llama")
    ids = [0, 4]
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(policy.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tiny.EOS:
            break
    for knobs in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-4}):
        drawn = sample(policy, [[0, 4]] * 3, seed=0, max_new_tokens=6, **knobs)  # type: ignore[arg-type]
        assert drawn.tokens == [ids[2:]] * 3
        assert drawn.logprobs[0] == pytest.approx([0.0] * len(drawn.tokens[0]), abs=1e-9)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([[0, 4], []], {}, "prompt 1 is empty"),
        ([[0] * tiny.CONTEXT], {}, f"prompt 0 has {tiny.CONTEXT} tokens"),
        ([[0]], {"temperature": 0.0}, "temperature"),
        ([[0]], {"temperature": math.nan}, "temperature"),
        ([[0]], {"top_k": 0}, "top_k"),
        ([[0]], {"top_p": 0.0}, "top_p"),
        ([[0]], {"top_p": 1.5}, "top_p"),
        ([[0]], {"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_what_cannot_be_sampled_is_refused(prompts: list[list[int]], options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample(tiny.make_policy(), prompts, **({"seed": 0, "max_new_tokens": 4} | options))


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "top_k": 4}], ids=["plain", "sharp"])
def test_streamed_tokens_are_the_sampled_ones(options: dict) -> None:
    policy = tiny.make_policy()
    for number in range(8):
        prompt = [tiny.BOS, 3 + number]
        (whole,) = sample(policy, [prompt], seed=5, max_new_tokens=9, streams=[number], **options).tokens
        assert list(stream_tokens(policy, prompt, seed=5, max_new_tokens=9, stream=number, **options)) == whole


def test_a_stream_gives_each_token_before_the_next_is_computed() -> None:
    policy, calls = tiny.make_policy(), []
    policy.model.base_model.register_forward_hook(lambda *_: calls.append(1))
    drawn = stream_tokens(policy, [tiny.BOS, 5], seed=0, max_new_tokens=4)
    assert calls == []
    next(drawn)
    assert len(calls) == 1
    next(drawn)
    assert len(calls) == 2
    assert torch.is_grad_enabled()  # what the generator computes without gradients is nobody else's


def test_a_stream_refuses_what_sample_refuses() -> None:
    policy = tiny.make_policy()
    with pytest.raises(UserError, match="is empty"):
        next(stream_tokens(policy, [], seed=0, max_new_tokens=4))
    with pytest.raises(UserError, match="max_new_tokens must be at least 1"):
        next(stream_tokens(policy, [tiny.BOS], seed=0, max_new_tokens=0))
    assert len(list(stream_tokens(policy, [tiny.BOS] * (tiny.CONTEXT - 1), seed=0, max_new_tokens=4))) == 1


# The sampler in this process ---------------------------------------------------------------------------------------


def test_the_policys_sampler_is_a_sampler_that_draws_as_sample_does() -> None:
    policy = tiny.make_policy("llama")
    sampler, streams = PolicySampler(policy), [4, 9, 2**40, 0, 1, 7]
    assert isinstance(sampler, Sampler)
    assert sampler.exact
    for options in ({}, {"temperature": 0.7}, {"top_k": 2}, {"top_p": 0.5}):
        expected = sample(policy, PROMPTS, seed=3, max_new_tokens=6, streams=streams, **options)  # type: ignore[arg-type]
        assert sampler.sample(PROMPTS, streams, SamplingKnobs(3, 6, **options)) == expected  # type: ignore[arg-type]


def test_completions_tell_the_version_that_was_loaded() -> None:
    """The weights are the policy's own and already there, so that those which are handed over change nothing."""
    policy = tiny.make_policy("gpt2")
    sampler, knobs = PolicySampler(policy), SamplingKnobs(0, 5)
    first = sampler.sample(PROMPTS, range(6), knobs)
    before = {name: p.detach().clone() for name, p in policy.parameters().items()}
    sampler.load({name: torch.zeros_like(p) for name, p in before.items()}, 7)
    second = sampler.sample(PROMPTS, range(6), knobs)
    assert (first.version, second.version) == (0, 7)
    assert (second.tokens, second.logprobs, second.ended) == (first.tokens, first.logprobs, first.ended)
    assert all(torch.equal(p, before[name]) for name, p in policy.parameters().items())
    with torch.no_grad():
        for p in policy.parameters().values():
            p.mul_(-1)
    moved = sampler.sample(PROMPTS, range(6), knobs)
    assert (moved.version, moved.tokens) != (7, first.tokens)
    assert moved.version == 7
