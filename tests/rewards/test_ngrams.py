"""Probabilities of n-grams: worked by hand, by loops over tuples, and as a distribution that adds up to 1."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from burnish.rewards.ngrams import NGrams

TEXTS = [[0, 1, 0, 1], [0, 0], []]


def by_loops(texts: list[list[int]], vocabulary: int, order: int, text: list[int], at: int) -> float:
    """P of the id at `at` of a text with its edges, from counts of tuples."""
    edge = vocabulary

    def padded(row: list[int]) -> list[int]:
        return [edge] * (order - 1) + row + [edge]

    chance = 1 / (vocabulary + 1)
    for n in range(1, order + 1):
        seen: Counter[tuple[int, ...]] = Counter()
        for row in map(padded, texts):
            for end in range(order - 1, len(row)):
                seen[tuple(row[end - n + 1 : end + 1])] += 1
        gram = tuple(padded(text)[order - 1 + at - n + 1 : order + at])
        total = sum(count for one, count in seen.items() if one[:-1] == gram[:-1])
        kinds = sum(one[:-1] == gram[:-1] for one in seen)
        if total:
            chance = (seen[gram] + kinds * chance) / (total + kinds)
    return chance


def test_unigrams_by_hand() -> None:
    """Of 9 ids, with the ends, 4 are 0, 2 are 1 and 3 are ends: P(0) = (4 + 3/3) / (9 + 3) = 5/12, P(end) = 4/12."""
    model = NGrams.fit(TEXTS, vocabulary=2, order=1)
    assert model.nats([[0]]) == pytest.approx([-(math.log(5 / 12) + math.log(4 / 12)) / 2])
    assert model.nats([[]]) == pytest.approx([-math.log(4 / 12)])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_order_against_loops(order: int) -> None:
    draws = random.Random(0)
    texts = [[draws.randrange(4) for _ in range(draws.randrange(6))] for _ in range(20)]
    others = [[3, 3, 3, 3], [0, 4, 1], [], texts[0]]  # 4 was never seen
    found = NGrams.fit(texts, 5, order).nats(others)
    for text, nats in zip(others, found, strict=True):
        chances = [by_loops(texts, 5, order, text, at) for at in range(len(text) + 1)]
        assert nats == pytest.approx(-sum(map(math.log, chances)) / len(chances))


def test_chances_add_up_to_one() -> None:
    """Of what may follow 0 1, the end included: exp(−nats·length) of the longer text by that of the shorter."""
    model, total = NGrams.fit(TEXTS, 3, 3), 0.0
    for text in ([0, 1, 0], [0, 1, 1], [0, 1, 2]):
        whole, end = math.exp(-model.nats([text])[0] * 4), by_loops(TEXTS, 3, 3, text, 3)
        total += whole / end
    before = math.prod(by_loops(TEXTS, 3, 3, [0, 1], at) for at in range(2))
    assert total / before + by_loops(TEXTS, 3, 3, [0, 1], 2) == pytest.approx(1)


def test_a_text_is_scored_alone() -> None:
    model = NGrams.fit(TEXTS, 2, 2)
    alone = [model.nats([text])[0] for text in TEXTS]
    assert model.nats(TEXTS).tolist() == alone
    assert model.nats([]).shape == (0,)


def test_what_cannot_be_counted_is_refused() -> None:
    for texts, vocabulary, order in (([], 2, 2), (TEXTS, 2, 0), (TEXTS, 2**40, 2)):
        with pytest.raises(ValueError, match="n-grams need texts"):
            NGrams.fit(texts, vocabulary, order)
    assert np.isfinite(NGrams.fit([[]], 2).nats([[0]])).all()
