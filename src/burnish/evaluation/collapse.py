"""Detecting the collapse of a policy: statistics of sampled text, and warnings based on them.

A policy that is trained too hard may answer every prompt with one phrase while loss, accuracy and reward look fine. Its
texts show it: they repeat themselves, are nearly the same for every prompt, have few distinct bigrams or a low entropy,
or no longer end with EOS.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from burnish.evaluation.text import distinct_n, ngrams, repetition, word_lengths, words

WINDOW = 200  # bigrams, about a dozen sentences
ALIKE = 0.5  # smallest Jaccard index of two texts that are nearly the same
COMMON = 0.05  # fraction of the other texts that a text must be nearly the same as, to count

REPEATED, SAME, FEW = 0.2, 0.2, 0.6
"""Thresholds for warnings: fractions of repeated trigrams and of texts nearly the same (at or above), and of distinct
bigrams (below). Human film reviews and the built-in model, before and after the demo trains it, have at most 0.1 %, 0 %
and at least 95 %; even a long text that keeps making one point stays far from the thresholds."""
CERTAIN = 0.25  # nats per token: about nine tokens in ten are then predictable
WORSE = 0.1  # smallest increase over the starting model that warns
LESS_OPEN, LESS_ENDED, TIMES = 1 / 3, 1 / 2, 4  # relative to the starting model: entropy, texts that end, length


@dataclass(frozen=True)
class TextStatistics:
    """Statistics of `texts` sampled texts, one per prompt.

    `words` per text; the fraction of distinct bigrams over all texts (`distinct_2`) and within windows of 200
    (`distinct_2_nearby`); the fraction of a text's trigrams that repeat (`repetition`), of texts that are nearly the
    same as many others (`same`) and of texts that ended with EOS (`eos_rate`); the `entropy` in nats per token, None if
    the log-probabilities are unknown.
    """

    texts: int
    words: float
    distinct_2: float
    distinct_2_nearby: float
    repetition: float
    same: float
    eos_rate: float
    entropy: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def text_statistics(
    texts: Sequence[str], ended: Sequence[bool], logprobs: Sequence[Sequence[float]] | None = None
) -> TextStatistics:
    """Statistics of completions of different prompts; `texts` do not include the prompts.

    `logprobs` are those of the sampled tokens under the distribution that sampled them, so that −Σ log π(y_t) / Σ 1
    estimates the entropy per token. Raises ValueError for no texts, or lists of different lengths.
    """
    if not texts or len(texts) != len(ended) or (logprobs is not None and len(texts) != len(logprobs)):
        raise ValueError("text statistics need at least one text, with a flag (and log-probabilities, if given) each")
    values = [value for row in logprobs for value in row] if logprobs is not None else []
    return TextStatistics(
        texts=len(texts),
        words=float(np.mean(word_lengths(texts))),
        distinct_2=distinct_n(texts, 2),
        distinct_2_nearby=distinct_nearby(texts),
        repetition=float(np.mean([repetition(text) for text in texts])),
        same=same_share(texts),
        eos_rate=float(np.mean(ended)),
        entropy=abs(float(np.mean(values))) if values else None,
    )


def distinct_nearby(texts: Iterable[str], window: int = WINDOW) -> float:
    """Mean fraction of distinct bigrams per window of `window` consecutive bigrams, over all texts in order.

    Unlike `distinct_n` it does not fall as the sample grows, so it can be compared with a fixed threshold. The last
    window is left out if it is incomplete and not the only one. 1 if no text has two words: nothing is repeated.

    The windowed type–token ratio of Johnson (1944), "Studies in Language Behavior", on bigrams.
    """
    found = [gram for text in texts for gram in ngrams(words(text), 2)]
    windows = [found[i : i + window] for i in range(0, max(1, len(found) - window + 1), window)]
    return float(np.mean([len(set(one)) / len(one) for one in windows])) if found else 1.0


def same_share(texts: Sequence[str], alike: float = ALIKE, common: float = COMMON) -> float:
    """Fraction of texts that are nearly the same as at least one other text and as a fraction `common` of the others.

    Two texts are nearly the same if |A ∩ B| / |A ∪ B| ≥ `alike` for the sets A and B of their words and bigrams
    (Jaccard 1912). Repeating a phrase makes no difference, and two texts without words are the same.
    """
    if len(texts) < 2:
        return 0.0
    overlap = jaccard(texts)
    np.fill_diagonal(overlap, 0)
    return float(np.mean((overlap >= alike).sum(axis=1) >= common * (len(texts) - 1)))


def jaccard(texts: Sequence[str]) -> Float[np.ndarray, "N N"]:
    """Jaccard index of the words and bigrams of every pair of texts; 1 for two texts without words."""
    sets = [{(word,) for word in found} | set(ngrams(found, 2)) for found in map(words, texts)]
    number = {gram: i for i, gram in enumerate(dict.fromkeys(gram for one in sets for gram in one))}
    rows = [i for i, one in enumerate(sets) for _ in one]
    columns = [number[gram] for one in sets for gram in one]
    held = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), max(1, len(number))))
    both = (held @ held.T).toarray()
    sizes = np.array([len(one) for one in sets], dtype=float)
    either = sizes[:, None] + sizes[None, :] - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def collapse_warnings(
    found: TextStatistics,
    start: TextStatistics | None = None,
    name: str = "the model",
    start_name: str = "the starting model",
    plain: bool = True,
) -> list[str]:
    """Signs of collapse, one sentence each; empty for healthy text.

    `start` are the statistics of the starting model on the same prompts. If given, a sign that the starting model shows
    too is not reported, and a drop in entropy or in texts that end, or a jump in length, is a sign as well. `plain`
    means that the sampling temperature was 1; at others, a low entropy alone is not reported.
    """
    worse = _more_than_before(found, start, start_name)
    if start is not None:
        worse += _less_than_before(found, start, start_name)
    elif plain and found.entropy is not None and found.entropy < CERTAIN:
        worse.append(f"the next token is almost certain: the entropy is {found.entropy:.2f} nats per token")
    return [f"{name} may have collapsed: {sentence}" for sentence in worse]


def _more_than_before(found: TextStatistics, start: TextStatistics | None, start_name: str) -> list[str]:
    """Signs that need no comparison, left out if the starting model shows them about as much."""
    signs = []

    def beside(before: float | None) -> str:
        return "" if before is None else f" ({_percent(before)} for {start_name})"

    before = start.same if start else None
    if found.same >= SAME and (before is None or found.same >= before + WORSE):
        signs.append(f"{_percent(found.same)} of its texts are nearly the same whatever the prompt{beside(before)}")
    before = start.repetition if start else None
    if found.repetition >= REPEATED and (before is None or found.repetition >= before + WORSE):
        signs.append(f"{_percent(found.repetition)} of a text's trigrams repeat earlier ones{beside(before)}")
    before = start.distinct_2_nearby if start else None
    if found.distinct_2_nearby < FEW and (before is None or found.distinct_2_nearby <= before - WORSE):
        share = _percent(found.distinct_2_nearby)
        signs.append(f"only {share} of the bigrams in a window of {WINDOW} are distinct{beside(before)}")
    return signs


def _less_than_before(found: TextStatistics, start: TextStatistics, start_name: str) -> list[str]:
    """Signs that only show in comparison with the starting model."""
    signs = []
    if found.entropy is not None and start.entropy is not None and found.entropy < LESS_OPEN * start.entropy:
        signs.append(f"the entropy is {found.entropy:.2f} nats per token, {start.entropy:.2f} for {start_name}")
    if found.eos_rate < LESS_ENDED * start.eos_rate:
        shares = _percent(found.eos_rate), _percent(start.eos_rate)
        signs.append(f"{shares[0]} of its texts end with EOS, {shares[1]} for {start_name}")
    if found.words * TIMES < start.words or found.words > TIMES * max(start.words, 1):
        signs.append(f"a text has {found.words:.1f} words, {start.words:.1f} for {start_name}")
    return signs


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
