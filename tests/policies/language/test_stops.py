"""Stop texts, against the text of all tokens read at once."""

import pytest
import tiny
from data.tokenizers_on_the_spot import CHATML, make, sentencepiece

from burnish.policies.language.sampler import sample
from burnish.policies.language.stops import Cut, Stops
from burnish.run import UserError

WORDS = tiny.make_tokenizer()
PROMPT = [tiny.BOS, 7]  # <s> a; good bad film = 3 4 5


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("film",), Cut([3, 4], " ", "film")),
        (("bad film",), Cut([3], " ", "bad film")),  # two tokens
        ((" bad",), Cut([3], "", " bad")),
        (("d b",), Cut([], " goo", "d b")),  # begins and ends within a token
        (("film", "bad"), Cut([3], " ", "bad")),  # the first of them in the text
        (("ba", "bad f"), Cut([3], " ", "bad f")),  # of two at one place the longer
        ((" a",), None),  # it is the prompt's
        (("dull",), None),
    ],
)
def test_a_completion_ends_before_the_first_stop_text(texts: tuple[str, ...], expected: Cut | None) -> None:
    """The completion is " good bad film"."""
    assert Stops(texts, WORDS).cut(PROMPT, [3, 4, 5]) == expected


def test_it_is_reached_with_the_token_that_completes_it() -> None:
    stops = Stops(("d film",), WORDS)
    tokens = [3] * 30 + [4, 5, 3]
    assert next(n for n in range(1, 34) if stops.reached(PROMPT, tokens[:n])) == 32
    assert not Stops(("a good",), WORDS).reached(PROMPT, [3])  # begins in the prompt


def test_bytes_of_a_character_are_no_text_before_it_is_whole() -> None:
    """A token per byte: é is two of them."""
    stops = Stops(("é.",), make(template=CHATML))
    tokens = list("né.".encode())
    assert next(n for n in range(1, 5) if stops.reached([65], tokens[:n])) == 4
    assert stops.cut([65], tokens) == Cut([ord("n")], "", "é.")


def test_special_tokens_are_found_too() -> None:
    tokenizer = make(template=CHATML)
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert Stops(("<|im_start|>",), tokenizer).cut([65], [66, start, 67]) == Cut([66], "", "<|im_start|>")


def test_what_a_reward_model_reads_is_the_text_and_an_end() -> None:
    """The bytes of the rest, where it can be written alone; "goo" is no word."""
    tokenizer = make(merges=((".", "\u010a"),))  # ".\n" is one token, 256
    found = Stops(("\n",), tokenizer).cut([65], [66, 256])
    assert found == Cut([66], ".", "\n")
    assert Stops((), tokenizer).finished([66], ".", 9) == [66, ord("."), 9]
    assert Stops((), tokenizer).finished([66], "", None) == [66]
    assert Stops((), WORDS).finished([3], " goo", 1) == [3, 1]


def test_the_first_space_of_a_completion_is_seen() -> None:
    """SentencePiece leaves it out of a text that begins with it."""
    tokenizer = sentencepiece("always")
    prompt, tokens = (tokenizer.encode(word, add_special_tokens=False) for word in ("Hi", "there"))
    assert Stops((), tokenizer).written(prompt, tokens) == " there"
    found = Stops((" th",), tokenizer).cut(prompt, tokens)
    assert found is not None
    assert (found.tokens, found.rest) == ([], "")


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(UserError, match="--stop needs a text that is not empty"):
        Stops(("a", ""), WORDS)


def test_sampling_ends_with_the_token_that_completes_a_stop_text() -> None:
    """The same ids as without, up to the first row in which the text of all ids has the stop."""
    policy = tiny.make_policy(seed=1)
    prompts = [[tiny.BOS, 7, 5], [tiny.BOS, 8], [tiny.BOS, 11, 15]] * 3
    free = sample(policy, prompts, seed=3, max_new_tokens=12)
    stopped = sample(policy, prompts, seed=3, max_new_tokens=12, stops=Stops(("d",), policy.tokenizer))
    assert len({len(row) for row in stopped.tokens}) > 1
    for whole, found in zip(free.tokens, stopped.tokens, strict=True):
        words = [policy.tokenizer.decode([token]) for token in whole]
        ends = next((k + 1 for k, word in enumerate(words) if "d" in word and whole[k] != tiny.EOS), len(whole))
        assert found == whole[:ends]
