"""Continuations: texts and masks by hand, and the sampled KL against the oracle and an exact enumeration."""

import pytest
import tiny
import torch

from burnish.evaluation.continuations import continue_prompts, sequence_kl
from burnish.policies.interface import Distribution


def test_texts_are_prompt_and_completion_as_one() -> None:
    policy = tiny.make_policy("llama")
    prompts, ids = ["good film", "the plot is"], [[0, 3, 5], [0, 8, 6, 9]]
    found = continue_prompts(policy, prompts, ids, seed=1, max_new_tokens=8)
    assert found.prompts == prompts
    for text, prompt, row, length in zip(
        found.texts, prompts, found.batch.tokens.tolist(), found.batch.lengths, strict=True
    ):
        assert text.startswith(prompt)
        words = [tiny.WORDS[i - 3] for i in row[:length] if i >= 3]
        assert text.split() == words
    ends = [row[length - 1] for row, length in zip(found.batch.tokens.tolist(), found.batch.lengths, strict=True)]
    assert found.ended == [end == tiny.EOS for end in ends]


def test_the_sequence_kl_is_the_oracles() -> None:
    policy, reference = tiny.make_policy("gpt2"), tiny.make_policy("gpt2", seed=1, resid_pdrop=0.5)
    reference.dropout(True)
    assert isinstance(policy, Distribution)
    prompts = [[0, 3], [0, 4, 5], [0]]
    found = continue_prompts(policy, ["good", "bad film", ""], prompts, seed=0, max_new_tokens=6)
    values = sequence_kl(policy, reference, found.batch)
    for i, prompt in enumerate(prompts):
        ids = found.batch.tokens[i, : found.batch.lengths[i]].tolist()
        mask = [False] * len(prompt) + [True] * (len(ids) - len(prompt))
        with torch.no_grad():
            ours, theirs = (sum(tiny.naive_logprobs(p.model, ids, mask)) for p in (policy, reference))
        assert values[i] == pytest.approx((ours - theirs).item(), abs=1e-9)
    assert sequence_kl(policy, policy, found.batch).tolist() == [0.0] * 3


def test_its_mean_is_the_kl() -> None:
    """One token of four words: the KL is a sum of four terms. 2,000 samples, within four standard errors."""
    policy, reference = (tiny.make_policy("gpt2", seed=seed, vocab_size=4) for seed in (0, 1))
    with torch.no_grad():
        ours, theirs = (p.model(torch.tensor([[0, 3]])).logits[0, -1].log_softmax(-1) for p in (policy, reference))
    exact = (ours.exp() * (ours - theirs)).sum().item()
    found = continue_prompts(policy, ["good"] * 2000, [[0, 3]] * 2000, seed=0, max_new_tokens=1)
    values = sequence_kl(policy, reference, found.batch)
    assert exact > 0.1
    assert values.mean() == pytest.approx(exact, abs=4 * values.std() / 2000**0.5)
