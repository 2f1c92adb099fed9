"""What is measured of texts, worked by hand; the page for guessing does not say whose text is whose before its end."""

import re

import pytest
import tiny

from burnish.cache import cache_folder
from burnish.data import corpora
from burnish.evaluation.english import fluency
from burnish.recipes.writing.measure import blind_page, measure, properties, sampled

TRAINING = ["the film is very good", "a dull plot"]


def test_properties_are_of_what_follows_the_beginnings() -> None:
    """After the beginnings: "is very good good" and "plotz". Four of five words exist; "is very good" is the longest
    copy; the three pairs of words are distinct. The judge reads the whole texts."""
    judge = tiny.make_policy("llama")
    texts = ["the film is very good good", "a plotz"]
    found = properties(["the film", "a"], texts, TRAINING, lambda word: word != "plotz", judge)
    assert found["nats"] == pytest.approx(fluency(judge, texts))
    assert (found["invented"], found["invented_words"]) == (pytest.approx(1 / 5), ["plotz"])
    assert (found["copy"], found["copied"]) == (3, "is very good")
    assert (found["distinct_2"], found["words"]) == (1.0, 2.5)


def test_samples_begin_with_their_prompts() -> None:
    policy = tiny.make_policy("llama")
    first, second = sampled(policy, ["the film", ""])
    assert first.startswith("the film")
    assert sampled(policy, ["the film", ""]) == [first, second]


def test_all_is_measured_beside_people() -> None:
    """The model knows 15 words, so that a review is mostly unknown tokens, but each has its bytes and words."""
    if not (cache_folder() / corpora.SOURCE.name).exists():
        pytest.skip("the built-in data is not in the cache folder")
    policy = tiny.make_policy("llama", double=False, max_position_embeddings=256)
    found = measure(policy, TRAINING, lambda word: True, samples=3)
    assert found["held_out"]["words"] == 28_630
    assert found["held_out"]["perplexity_per_byte"] < found["held_out"]["perplexity_per_word"]
    assert len(found["samples"]) == len(found["continuations"]) == 3
    for beginning, ours, theirs in found["continuations"]:
        assert theirs.startswith(beginning)
        assert ours != theirs
    assert found["ours"]["nats"] is None
    assert (found["people"]["invented"], found["people"]["distinct_2"] > 0.5) == (0, True)


def test_a_blind_page_shows_both_in_random_order_and_answers_last() -> None:
    rows = [(f"start {i}", f"start {i} model", f"start {i} human") for i in range(40)]
    page = blind_page(rows)
    body, _, answers = page.partition("<details>")
    assert body.count("model") == body.count("human") == 30
    right = re.findall(r"(\d+)([AB])", answers)
    assert [int(number) for number, _ in right] == list(range(1, 31))
    assert {letter for _, letter in right} == {"A", "B"}
    for number, letter in right:
        assert f"- {letter}: start {int(number) - 1} human" in body
    assert blind_page(rows) == page != blind_page(rows, seed=1)
