"""A language model of n-grams: how fluent a text is, by counts that no policy can start from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class NGrams:
    """Counts of the n-grams of texts, as sorted arrays: `fit` makes them, `nats` applies them.

    A text is a row of ids below `vocabulary`; one more id stands before its first and, as its end, behind its last. For
    each n up to `order`, `grams` has the codes and the counts of n-grams, and `contexts` the codes of the n − 1 ids
    before an id, how often they occur, and by how many kinds of ids they are followed.
    """

    vocabulary: int
    grams: tuple[tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]], ...]
    contexts: tuple[tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"], Int[np.ndarray, "_"]], ...]

    @property
    def order(self) -> int:
        return len(self.grams)

    @classmethod
    def fit(cls, texts: Ids, vocabulary: int, order: int = 3) -> "NGrams":
        """Count. Raises ValueError for an order below 1, no text, or codes that 63 bits cannot hold."""
        if order < 1 or not len(texts) or (vocabulary + 1) ** order > 2**63 - 1:
            raise ValueError(f"n-grams need texts, and an order of at least 1 that {vocabulary} ids allow, not {order}")
        grams, contexts = [], []
        for codes in _codes(texts, vocabulary, order):
            kept, counts = np.unique(codes, return_counts=True)
            before, first, kinds = np.unique(kept // (vocabulary + 1), return_index=True, return_counts=True)
            grams.append((kept, counts))
            contexts.append((before, np.add.reduceat(counts, first), kinds))
        return cls(vocabulary, tuple(grams), tuple(contexts))

    def nats(self, texts: Ids) -> Float[np.ndarray, "N"]:
        """The mean of −log P per id of each text, its end included.

        P_n(w|h) = (c(hw) + t(h)·P_{n−1}(w|h′)) / (c(h) + t(h)),  P_0 = 1/(vocabulary + 1),

        with c how often something was counted, t(h) the number of kinds of ids that follow h, and h′ the context
        without its first id. A context that was never counted leaves P_{n−1}.

        Witten & Bell (1991), "The Zero-Frequency Problem", method C, interpolated.
        """
        if not len(texts):
            return np.zeros(0)
        chance = np.full(sum(len(text) + 1 for text in texts), 1 / (self.vocabulary + 1))
        every = _codes(texts, self.vocabulary, self.order)
        for codes, (kept, counts), (before, totals, kinds) in zip(every, self.grams, self.contexts, strict=True):
            count = _found(codes, kept, counts)
            context = codes // (self.vocabulary + 1)
            total, types = _found(context, before, totals), _found(context, before, kinds)
            chance = np.where(total > 0, (count + types * chance) / np.maximum(total + types, 1), chance)
        lengths = np.array([len(text) + 1 for text in texts])
        starts = np.cumsum(lengths) - lengths
        return np.add.reduceat(-np.log(chance), starts) / lengths


def _codes(texts: Ids, vocabulary: int, order: int) -> list[Int[np.ndarray, "T"]]:
    """For each n, the n ids that end at each place of each text, its end included, as one number."""
    base, edge = vocabulary + 1, vocabulary
    rows = [np.array([*[edge] * (order - 1), *text, edge], dtype=np.int64) for text in texts]
    found = []
    for n in range(1, order + 1):
        parts = []
        for row in rows:
            length = len(row) - order + 1
            code = np.zeros(length, dtype=np.int64)
            for back in range(n - 1, -1, -1):
                code = code * base + row[order - 1 - back : order - 1 - back + length]
            parts.append(code)
        found.append(np.concatenate(parts))
    return found


def _found(codes: Int[np.ndarray, "T"], kept: Int[np.ndarray, "K"], values: Int[np.ndarray, "K"]) -> np.ndarray:
    """The values of the codes; 0 of those that were not kept."""
    place = np.minimum(np.searchsorted(kept, codes), len(kept) - 1)
    return np.where(kept[place] == codes, values[place], 0)
