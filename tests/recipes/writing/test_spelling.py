"""Tokens that can follow the beginning of a word, against trying all words; and a teacher of it."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from burnish.batches import Demonstrations
from burnish.functional import generalised_js
from burnish.policies.language.policy import load_policy
from burnish.recipes.pretrain import Recipe, save_start
from burnish.recipes.writing.spelling import FREE, NOTHING, Lexicon, Piece, Speller, piece

TINY = Recipe(vocabulary=340, width=16, layers=1, heads=2, context=64)
TEXTS = ["a warm, warmer and warmest film", "a funny fan-made film isn't bad", "filming fun in 1970s films"] * 4
WORDS = [
    "a",
    "warm",
    "warmer",
    "warmest",
    "and",
    "film",
    "films",
    "filming",
    "fun",
    "funny",
    "fan",
    "made",
    "isn",
    "in",
]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    save_start(folder, TEXTS, TINY, 0)
    return folder


@pytest.fixture(scope="module")
def tokenizer(start: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(start)


@pytest.fixture(scope="module")
def lexicon(tokenizer: PreTrainedTokenizerFast) -> Lexicon:
    return Lexicon(WORDS, tokenizer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("er", Piece("er", None)),
        ("ER", Piece("ER", None)),
        (" film", Piece(None, "film")),
        (" Film", Piece(None, FREE)),
        ("'t", Piece(None, FREE)),
        ("’", Piece(None, FREE)),
        (" 197", Piece(None, FREE)),
        ("", Piece(None, "")),
        (".", Piece(None, "")),
        ("\ufffd", Piece(None, FREE)),
    ],
)
def test_what_a_token_does_to_a_word(text: str, expected: Piece) -> None:
    assert piece(text) == expected


def test_a_word_is_free_behind_an_apostrophe_and_with_a_digit() -> None:
    assert piece("er").after("warm") == "warmer"
    assert piece(" a").after("warm") == "a"
    assert piece("er").after(FREE) is FREE
    assert piece("2").after("warm") is FREE
    assert piece("Er").after("warm") == "warmEr"
    assert piece(" a").after(FREE) == "a"


def possible(begun: str, text: str) -> bool:
    """Whether one of the words comes out where a text goes on with `text`."""
    letters = ""
    while text and text[0].isalpha():
        letters, text = letters + text[0], text[1:]
    word = begun + letters
    return word in WORDS if text or not letters else any(one.startswith(word) for one in WORDS)


def test_what_cannot_follow(lexicon: Lexicon, tokenizer: PreTrainedTokenizerFast) -> None:
    """Every token, behind every beginning of a word."""
    texts = [tokenizer.backend_tokenizer.decode([i]) for i in range(len(tokenizer))]
    names = list(lexicon.number)
    found = lexicon.forbids(torch.tensor([*lexicon.number.values(), NOTHING]))
    for begun, row in zip(names, found.tolist(), strict=False):
        for text, forbidden in zip(texts, row, strict=True):
            free = "\ufffd" in text or text[:1].isdigit()
            assert forbidden == (not free and not possible(begun, text)), (begun, text)
    assert 100 < found.sum() < found.numel()
    assert not found[-1].any()


def test_the_states_of_a_text(lexicon: Lexicon, tokenizer: PreTrainedTokenizerFast) -> None:
    """Behind each token the word that it leaves begun; nothing is asked of what no word begins with."""
    names = {number: name for name, number in lexicon.number.items()} | {NOTHING: ""}
    for text in ("a warmest film", "It isn't fan-made", "films in 1970s", "filmzz fun"):
        ids = tokenizer(text)["input_ids"]
        found, before = lexicon.states(ids), ""
        assert len(found) == len(ids) + 1
        for i, number in zip(ids, found[1:], strict=True):
            before += "" if i == tokenizer.bos_token_id else tokenizer.decode([i])
            last = before.replace("-", " ").split(" ")[-1]
            begins = last.isalpha() and any(word.startswith(last) for word in WORDS)
            assert names[number] == (last if begins else ""), (text, before)


def batch_of(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Demonstrations:
    rows = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.tensor([row + [tokenizer.pad_token_id] * (int(lengths.max()) - len(row)) for row in rows])
    places = torch.arange(tokens.shape[1])
    return Demonstrations(tokens, (places > 0) & (places < lengths[:, None]), lengths, torch.arange(len(rows)))


def test_a_speller_is_its_policy_without_what_cannot_follow(start: Path, lexicon: Lexicon) -> None:
    """Its divergence from the policy is −log of what is left; the log-probabilities are the policy's."""
    policy = load_policy(start)
    speller, batch = Speller(policy, lexicon), batch_of(policy.tokenizer, TEXTS[:3])
    places = torch.tensor([lexicon.states(row)[:-1] for row in batch.tokens.tolist()])[batch.mask]
    with torch.no_grad():
        chances = policy.logits(policy.states(batch)).softmax(-1)
        found = policy.divergences(batch, speller, lambda own, teacher: generalised_js(teacher, own, 0.0))
        left = (chances * ~lexicon.forbids(places)).sum(-1)
        torch.testing.assert_close(found[batch.mask], -left.log(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(speller.logprobs(batch), policy.logprobs(batch), rtol=0, atol=0)
    assert (places == NOTHING).any()
    assert left.min() < 0.8
