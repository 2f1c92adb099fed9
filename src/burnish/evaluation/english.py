"""How good a model's English is: perplexity of people's texts, fluency of its own, and words that do not exist."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch

from burnish.evaluation.text import words
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy

ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Perplexity:
    """The negative log-likelihood of some texts in `nats`, their ends included, and what it is spread over.

    A word is what white space separates; bytes are those of UTF-8. Per byte it can be compared between models whose
    tokenizers differ; a text's end counts as no word and no byte.
    """

    nats: float
    tokens: int
    words: int
    bytes: int

    @property
    def per_token(self) -> float:
        return math.exp(self.nats / self.tokens)

    @property
    def per_word(self) -> float:
        return math.exp(self.nats / self.words)

    @property
    def per_byte(self) -> float:
        return math.exp(self.nats / self.bytes)


def perplexity(policy: LanguagePolicy, texts: Sequence[str]) -> Perplexity:
    """The perplexity of texts, each as BOS + text + EOS. Raises ValueError for one that the context does not hold."""
    each = perplexities(policy, texts)
    return Perplexity(*(sum(getattr(one, field.name) for one in each) for field in fields(Perplexity)))


def perplexities(policy: LanguagePolicy, texts: Sequence[str]) -> list[Perplexity]:
    """`perplexity` of every text alone. Raises ValueError for one that the context does not hold."""
    begin, end = policy.tokenizer.bos_token_id, policy.tokenizer.eos_token_id
    ids = [[*encoded, end] for encoded in _encoded(policy, texts)]
    longest = max(map(len, ids), default=0) + 1
    if policy.context is not None and longest > policy.context:
        raise ValueError(f"a text has {longest} tokens and the model's context {policy.context}")
    nats = _nats(policy, [[begin]] * len(ids), ids)
    counts = [(len(row), len(text.split()), len(text.encode())) for row, text in zip(ids, texts, strict=True)]
    return [Perplexity(one, *count) for one, count in zip(nats, counts, strict=True)]


def fluency(judge: LanguagePolicy, texts: Sequence[str]) -> float:
    """The nats per token that a larger model, `judge`, finds in texts: low for plain English, high for nonsense.

    The mean over all tokens but the first of each text, which has nothing before it; ends do not count. Compare it with
    that of people's texts of similar length: repetitive text is lower than any of theirs.
    """
    each = fluencies(judge, texts)
    if not (tokens := sum(count for _, count in each)):
        raise ValueError("no text has two tokens")
    return sum(nats for nats, _ in each) / tokens


def fluencies(judge: LanguagePolicy, texts: Sequence[str]) -> list[tuple[float, int]]:
    """The judge's nats of every text, and how many tokens they are spread over: those that `fluency` counts."""
    longest = judge.context or 2**31
    ids = [encoded[:longest] for encoded in _encoded(judge, texts)]
    places = [i for i, row in enumerate(ids) if len(row) > 1]
    nats = _nats(judge, [ids[i][:1] for i in places], [ids[i][1:] for i in places])
    found = dict(zip(places, nats, strict=True))
    return [(found.get(i, 0.0), max(0, len(row) - 1)) for i, row in enumerate(ids)]


def _encoded(policy: LanguagePolicy, texts: Iterable[str]) -> list[list[int]]:
    return [policy.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


@torch.no_grad()
def _nats(policy: LanguagePolicy, prompts: list[list[int]], completions: list[list[int]]) -> list[float]:
    """The negative log-likelihood of each completion; those of similar lengths are computed together."""
    policy.dropout(False)
    found = [0.0] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: -len(completions[i]))
    for start in range(0, len(order), ROWS_AT_ONCE):
        part = order[start : start + ROWS_AT_ONCE]
        batch = completions_batch([prompts[i] for i in part], [completions[i] for i in part]).to(policy.device)
        for i, nats in zip(part, (-policy.logprobs(batch).double().sum(-1)).tolist(), strict=True):
            found[i] = nats
    return found


@dataclass(frozen=True)
class Invented:
    """`share` of the words of some texts that do not exist, and the ones that do not, the most frequent first."""

    share: float
    words: list[str]


def invented(texts: Iterable[str], exists: Callable[[str], bool]) -> Invented:
    """The words, in lower case, of which `exists` says no; 0 if there are no words.

    Parts of a hyphenated word are words. What comes behind an apostrophe and words with a digit do not count.
    """
    found = Counter(part for text in texts for part in spelled(text))
    missing = Counter({word: count for word, count in found.items() if not exists(word)})
    return Invented(missing.total() / found.total() if found else 0.0, [word for word, _ in missing.most_common()])


def vocabulary(texts: Iterable[str], fewest: int = 1) -> frozenset[str]:
    """The words, as `invented` counts them, that at least `fewest` of the texts have."""
    return at_least(fewest, text_counts(texts))


def text_counts(texts: Iterable[str]) -> Counter[str]:
    """How many of the texts have each word, as `invented` counts them."""
    return Counter(part for text in texts for part in set(spelled(text)))


def at_least(fewest: int, counts: Counter[str]) -> frozenset[str]:
    """The words that are counted so often or more."""
    return frozenset(word for word, count in counts.items() if count >= fewest)


def spelled(text: str) -> Iterator[str]:
    """The words of a text as a dictionary has them: in lower case, without what follows an apostrophe, without digits.

    Parts of a hyphenated word are words.
    """
    for word in words(text.replace("’", "'")):
        for part in (piece.partition("'")[0] for piece in word.split("-")):
            if part and not any(character.isdigit() for character in part):
                yield part
