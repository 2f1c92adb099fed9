"""Perplexity and fluency against the oracle, text by text; invented words by hand."""

import math

import pytest
import tiny

from burnish.evaluation import english
from burnish.policies.language.policy import LanguagePolicy

TEXTS = ["the film is good", "dull", "a plot"]
IDS = [[8, 5, 9, 3], [15], [7, 6]]


def oracle(policy: LanguagePolicy, prompt: list[int], completion: list[int]) -> float:
    mask = [False] * len(prompt) + [True] * len(completion)
    return -float(sum(tiny.naive_logprobs(policy.model, prompt + completion, mask)).detach())


def test_perplexity_is_spread_over_tokens_words_and_bytes() -> None:
    """4 + 1 + 2 words with 3 ends are 10 tokens; 16 + 4 + 6 bytes."""
    policy = tiny.make_policy("llama")
    found = english.perplexity(policy, TEXTS)
    nats = sum(oracle(policy, [tiny.BOS], [*ids, tiny.EOS]) for ids in IDS)
    assert (found.tokens, found.words, found.bytes) == (10, 7, 26)
    assert found.nats == pytest.approx(nats, abs=1e-6)
    for value, count in ((found.per_token, 10), (found.per_word, 7), (found.per_byte, 26)):
        assert value == pytest.approx(math.exp(nats / count), rel=1e-6)


def test_every_text_alone_is_in_the_order_of_the_texts() -> None:
    """Of 4, 1 and 2 tokens; for the judge the second text has none that counts."""
    policy = tiny.make_policy("llama")
    each = english.perplexities(policy, TEXTS)
    assert [(one.tokens, one.words, one.bytes) for one in each] == [(5, 4, 16), (2, 1, 4), (3, 2, 6)]
    wanted = [oracle(policy, [tiny.BOS], [*ids, tiny.EOS]) for ids in IDS]
    assert [one.nats for one in each] == pytest.approx(wanted, abs=1e-6)
    assert english.perplexity(policy, []) == english.Perplexity(0, 0, 0, 0)
    nats, counts = zip(*english.fluencies(policy, TEXTS), strict=True)
    assert counts == (3, 0, 1)
    assert nats == pytest.approx((oracle(policy, [8], [5, 9, 3]), 0, oracle(policy, [7], [6])), abs=1e-6)


def test_a_text_that_the_context_does_not_hold_is_refused() -> None:
    """46 words, BOS and EOS fill a context of 48."""
    policy = tiny.make_policy("llama")
    assert english.perplexity(policy, [" ".join(["film"] * 46)]).tokens == 47
    with pytest.raises(ValueError, match="a text has 49 tokens and the model's context 48"):
        english.perplexity(policy, ["dull", " ".join(["film"] * 47)])


def test_fluency_is_the_mean_over_all_tokens_that_have_something_before_them() -> None:
    """Of 4, 1 and 2 tokens 3, 0 and 1 count."""
    judge = tiny.make_policy("llama")
    wanted = (oracle(judge, [8], [5, 9, 3]) + oracle(judge, [7], [6])) / 4
    assert english.fluency(judge, TEXTS) == pytest.approx(wanted, abs=1e-6)
    with pytest.raises(ValueError, match="no text has two tokens"):
        english.fluency(judge, ["dull"])


def test_invented_words_are_counted_with_their_repetitions() -> None:
    """Nine words count: mislies (twice), a, the, dog, s is not one, well, made, and, rubberry; 2024 does not."""
    known = {"a", "the", "dog", "well", "made", "and"}
    found = english.invented(["A mislies the dog's well-made MISLIES", "and rubberry, 2024 3d"], known.__contains__)
    assert found.words == ["mislies", "rubberry"]
    assert found.share == pytest.approx(3 / 9)
    assert english.invented(["", "12"], known.__contains__).share == 0


def test_a_vocabulary_has_the_words_of_enough_texts() -> None:
    texts = ["The dog’s bark bark bark", "a well-made dog", "well, the end"]
    assert english.vocabulary(texts, 2) == {"the", "dog", "well"}
    assert english.at_least(3, english.text_counts([*texts, "the"])) == {"the"}
    assert english.vocabulary(texts) == {"the", "dog", "bark", "a", "well", "made", "end"}
