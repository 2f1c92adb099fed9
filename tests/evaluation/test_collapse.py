"""Statistics counted by hand, and the warning on a policy that was really made to collapse."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from burnish.algorithms.dpo import DPO
from burnish.data import builtin, tokenise
from burnish.evaluation.collapse import (
    TextStatistics,
    collapse_warnings,
    distinct_nearby,
    jaccard,
    same_share,
    text_statistics,
)
from burnish.evaluation.text import words
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.assets import resolve_model
from burnish.recipes.train.run import train

HEALTHY = TextStatistics(
    texts=64,
    words=15.0,
    distinct_2=0.95,
    distinct_2_nearby=0.98,
    repetition=0.0,
    same=0.0,
    eos_rate=0.96,
    entropy=3.7,
)


def changed(**numbers: float | None) -> TextStatistics:
    return TextStatistics(**(HEALTHY.as_dict() | numbers))


def test_the_numbers_of_three_texts() -> None:
    """Words 6, 2 and 0: mean 8/3. Bigrams of the first: ab bc ca ab bc, 3 of 5 distinct; with xy 4 of 6. Its trigrams
    abc bca cab abc: 1 of 4 came before, so 1/12 over the texts. −Σ log π = 1 + 2 + 3 + 6 = 12 over 4 tokens."""
    found = text_statistics(["a b c a b c", "x y", "…"], [True, False, True], [[-1.0, -2.0], [-3.0, -6.0], []])
    assert found.as_dict() == pytest.approx(
        {
            "texts": 3,
            "words": 8 / 3,
            "distinct_2": 4 / 6,
            "distinct_2_nearby": 4 / 6,
            "repetition": 1 / 12,
            "same": 0.0,
            "eos_rate": 2 / 3,
            "entropy": 3.0,
        }
    )


def test_entropy_is_none_where_nothing_was_sampled() -> None:
    assert text_statistics(["a"], [True]).entropy is None
    assert text_statistics([""], [False], [[]]).entropy is None


@pytest.mark.parametrize("wrong", [([], [], None), (["a"], [], None), (["a"], [True], [])], ids=str)
def test_lists_of_other_lengths_are_refused(wrong: tuple) -> None:
    with pytest.raises(ValueError, match="text statistics need at least one text"):
        text_statistics(*wrong)


def test_distinct_nearby_goes_window_by_window_and_leaves_out_the_rest() -> None:
    """Bigrams of "a b a b a": ab ba ab ba; of "c d e": cd de. Windows of 4: (ab ba ab ba), and a rest of two."""
    texts = ["a b a b a", "c d e"]
    assert distinct_nearby(texts, window=4) == 2 / 4
    assert distinct_nearby(texts, window=3) == (2 / 3 + 3 / 3) / 2  # ab ba ab | ba cd de
    assert distinct_nearby(texts, window=6) == 4 / 6
    assert distinct_nearby(texts, window=200) == 4 / 6  # all there is
    assert distinct_nearby(["a", ""]) == 1.0


def test_distinct_nearby_does_not_fall_with_the_size_of_the_sample() -> None:
    rng = random.Random(0)
    vocabulary = [f"w{i}" for i in range(40)]
    texts = [" ".join(rng.choices(vocabulary, k=10)) for _ in range(4000)]
    few, many = distinct_nearby(texts[:200]), distinct_nearby(texts)
    assert abs(few - many) < 0.02


def naive_jaccard(first: str, second: str) -> float:
    one, two = words(first), words(second)
    a = {*one, *itertools.pairwise(one)}
    b = {*two, *itertools.pairwise(two)}
    return len(a & b) / len(a | b) if a | b else 1.0


def test_jaccard_is_that_of_words_and_bigrams() -> None:
    """{a, b, ab} and {a, b, c, ab, bc}: 3 in both, 5 in either."""
    texts = ["a b", "A b c!", "a b a b a b", "z", "", "..."]
    found = jaccard(texts)
    assert found[0, 1] == 3 / 5
    assert found[0, 2] == 3 / 4  # a b, ab; and ba
    assert found[4, 5] == 1
    np.testing.assert_allclose(found, [[naive_jaccard(x, y) for y in texts] for x in texts])


def test_same_share_counts_texts_with_many_twins() -> None:
    """Of 41 texts, 20 others wide: a pair of twins has one other alike, and 5 % of 40 others are two."""
    alone = [f"p{i} q{i} r{i}" for i in range(36)]
    assert same_share([*alone, *["i am sorry"] * 3, "so so", "so so so"]) == 3 / 41
    assert same_share(["i am sorry", "i am sorry , i am sorry", "fine film"]) == 2 / 3  # of few, one twin is enough
    assert same_share(["alone"]) == 0.0
    assert same_share(["", "", "."]) == 1.0


def test_half_of_words_and_bigrams_is_the_border() -> None:
    """{a, b, ab} and {a, b, c, d, …}: with "a b c" 3/5; with "a b c d" {a b c d ab bc cd} 3/7."""
    assert same_share(["a b", "a b c"]) == 1.0
    assert same_share(["a b", "a b c d"]) == 0.0
    assert same_share(["a b", "x y a b"]) == 0.0


def test_healthy_text_has_no_warnings() -> None:
    assert collapse_warnings(HEALTHY) == []
    assert collapse_warnings(HEALTHY, HEALTHY) == []
    tuned = changed(words=25.0, distinct_2=0.79, distinct_2_nearby=0.93, eos_rate=0.6, entropy=2.0)
    assert collapse_warnings(tuned, HEALTHY) == []


SIGNS = {
    "same": (changed(same=0.5), "50 % of its texts are nearly the same whatever the prompt"),
    "repetition": (changed(repetition=0.4), "40 % of a text's trigrams repeat earlier ones"),
    "distinct": (changed(distinct_2_nearby=0.3), "only 30 % of the bigrams in a window of 200 are distinct"),
    "entropy": (changed(entropy=0.1), "0.10 nats"),
}


@pytest.mark.parametrize("sign", SIGNS)
def test_each_sign_by_itself_is_one_warning(sign: str) -> None:
    found, said = SIGNS[sign]
    for start in (None, HEALTHY):
        (warning,) = collapse_warnings(found, start, "dpo", "sft")
        assert warning.startswith("dpo may have collapsed: ")
        assert said in warning
        assert ("for sft" in warning) == (start is not None)


@pytest.mark.parametrize("sign", SIGNS)
def test_what_was_so_before_is_no_collapse(sign: str) -> None:
    found, _ = SIGNS[sign]
    assert collapse_warnings(found, found) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (changed(eos_rate=0.3), "30 % of its texts end with EOS, 96 % for sft"),
        (changed(words=2.0), "a text has 2.0 words, 15.0 for sft"),
        (changed(words=100.0), "a text has 100.0 words, 15.0 for sft"),
        (changed(entropy=1.0), "the entropy is 1.00 nats per token, 3.70 for sft"),
    ],
)
def test_some_signs_show_only_beside_the_starting_model(found: TextStatistics, said: str) -> None:
    assert collapse_warnings(found) == []
    (warning,) = collapse_warnings(found, HEALTHY, start_name="sft")
    assert said in warning


def test_a_low_temperature_is_no_collapse() -> None:
    assert collapse_warnings(changed(entropy=0.1), plain=False) == []


def test_without_entropies_the_other_signs_still_count() -> None:
    unknown = changed(entropy=None)
    assert (
        collapse_warnings(unknown) == collapse_warnings(unknown, HEALTHY) == collapse_warnings(HEALTHY, unknown) == []
    )
    assert len(collapse_warnings(changed(entropy=None, same=1.0), HEALTHY)) == 1


def sampled(model: str | Path, count: int = 24) -> TextStatistics:
    """Statistics of continuations of built-in validation prefixes."""
    policy = load_policy(resolve_model(model))
    ids = tokenise.prompts(list(builtin.prefixes("validation", count)["prompt"]), policy.tokenizer, 64)
    found = sample(policy, ids, seed=0, max_new_tokens=48)
    return text_statistics(
        policy.tokenizer.batch_decode(found.tokens, skip_special_tokens=True), found.ended, found.logprobs
    )


@pytest.fixture(scope="module")
def start() -> TextStatistics:
    return sampled("builtin")


def test_people_and_the_built_in_model_have_not_collapsed(start: TextStatistics) -> None:
    rows = builtin.prefixes("validation", 24)
    people = text_statistics([row["text"][len(row["prompt"]) :] for row in rows], [True] * 24)
    assert collapse_warnings(people) == collapse_warnings(start, people) == []
    assert collapse_warnings(start) == []


def test_dpo_at_a_far_too_large_learning_rate_answers_every_prompt_with_one_phrase(
    tmp_path: Path, start: TextStatistics
) -> None:
    """The known collapse: apologies preferred to reviews, at a hundred times the demo's learning rate. The training
    metrics look fine: every pair ends up in the right order."""
    rows = [
        {"prompt": row["prompt"], "chosen": " i 'm sorry .", "rejected": row["text"][len(row["prompt"]) :]}
        for row in builtin.prefixes("train", 32)
    ]
    run = train(
        DPO(beta=0.1),
        data=rows,
        out=tmp_path / "run",
        learning_rate=1e-2,
        steps=12,
        batch_size=4,
        quiet=True,
        threads=1,
    )
    assert '"rewards/accuracies": 1.0' in (run / "metrics.jsonl").read_text().splitlines()[-1]
    warnings = collapse_warnings(sampled(run), start, "DPO", "the model that it began as")
    assert any("nearly the same whatever the prompt" in warning for warning in warnings), warnings
    assert any("bigrams in a window" in warning for warning in warnings), warnings
