"""The gold judge: predicts the mean human rating of a review.

A ridge regression on features that need no neural network: word and character n-grams weighted by TF-IDF, and sums over
a sentiment lexicon with negation. It is meant for evaluation only. No reward model and no preference data uses the
ratings that it is trained on, so that a policy that exploits its own reward does not thereby exploit the judge.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import sparse
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

LOWEST, HIGHEST = -4.0, 4.0  # the raters' scale
ALPHA = 0.5  # the ridge penalty; `cross_validated` shows that its value matters little
LEXICON_WEIGHT = 0.05  # scale of a lexicon feature, relative to an n-gram block with norm of about 1
FLOOR = 0.25  # added to squared norms, as a share of their mean, so that short texts get no extreme scores
MAX_CHARACTERS = 2_000  # longer texts are truncated; all rated reviews are much shorter

NEGATIONS = frozenset(
    "not no never nothing nobody none neither nor without hardly barely scarcely lack lacks lacking cannot".split()  # noqa: SIM905
)
REACH = 3  # number of words after a negation that it negates
TURNS = frozenset(["but", "yet", "although", "though", "however"])


def words(text: str) -> list[str]:
    """Lower-case words including apostrophes, and exclamation and question marks."""
    return re.findall(r"[a-z0-9]+(?:'[a-z0-9]+)*|[!?]", text.lower().replace("’", "'"))


def negated(tokens: Sequence[str]) -> list[bool]:
    """Whether each word is at most `REACH` words after a negation, with no turn (but, yet …) or !? in between."""
    flags, left = [], 0
    for token in tokens:
        if token in TURNS or token in "!?":
            left = 0
        flags.append(left > 0)
        left = REACH if token in NEGATIONS or token.endswith("n't") else left - 1
    return flags


def word_ngrams(text: str) -> list[str]:
    """Unigrams and bigrams of words, with negated words marked: `not good` gives `not`, `¬good`, `not ¬good`."""
    tokens = words(text)
    marked = [f"¬{token}" if flag else token for token, flag in zip(tokens, negated(tokens), strict=True)]
    return marked + [f"{a} {b}" for a, b in pairwise(marked)]


def lexicon_features(text: str, lexicon: Mapping[str, float]) -> list[float]:
    """Sums of the valences of the text's *distinct* words, so that repeating a word changes nothing.

    Five sums divided by √(distinct words + 1): positive and negative, each plain and negated, and all after the last
    turn. Then the largest and the smallest plain valence.
    """
    tokens = words(text)
    turn = max((i for i, token in enumerate(tokens) if token in TURNS), default=-1)
    found: dict[tuple[str, bool], float] = {}
    after = 0.0
    for i, (token, flag) in enumerate(zip(tokens, negated(tokens), strict=True)):
        valence = lexicon.get(token, 0.0)
        if valence and (token, flag) not in found:
            found[token, flag] = valence
            after += valence * (1 - 2 * flag) if 0 <= turn < i else 0.0
    plain = [v for (_, flag), v in found.items() if not flag]
    turned = [v for (_, flag), v in found.items() if flag]
    sums = [sum(v for v in values if (v > 0) == up) for values in (plain, turned) for up in (True, False)]
    scale = (len(set(tokens)) + 1) ** 0.5
    return [*(s / scale for s in (*sums, after)), max(plain, default=0.0), min(plain, default=0.0)]


def _vectorizers() -> list[TfidfVectorizer]:
    """Word unigrams and bigrams; character 3- to 5-grams within words. Each n-gram is counted once per text."""
    return [
        TfidfVectorizer(analyzer=word_ngrams, binary=True, norm=None),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), binary=True, norm=None, min_df=2),
    ]


def _squares(block: sparse.csr_matrix) -> Float[ndarray, "N"]:
    return np.asarray(block.multiply(block).sum(axis=1)).ravel()


@dataclass(frozen=True)
class GoldJudge:
    """A fitted judge: `fit` creates it, `score` applies it. Fitting is deterministic."""

    vectorizers: tuple[TfidfVectorizer, ...]
    sizes: tuple[float, ...]
    lexicon: Mapping[str, float]
    centre: Float[ndarray, "L"]
    scale: Float[ndarray, "L"]
    ridge: Ridge

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        means: Sequence[float] | Float[ndarray, "N"],
        lexicon: Mapping[str, float] | None = None,
        alpha: float = ALPHA,
    ) -> "GoldJudge":
        """Fit on texts and their mean human ratings (−4…4): minimise Σ(y − b − w·x)² + α·‖w‖² (Hoerl & Kennard 1970).

        `lexicon` maps words to valences, for example VADER's (Hutto & Gilbert 2014); without it, only n-grams are used.
        Raises ValueError for fewer than two texts or unless there is one finite mean per text.
        """
        texts, targets = [text[:MAX_CHARACTERS] for text in texts], np.asarray(means, dtype=np.float64)
        if len(texts) < 2 or targets.shape != (len(texts),):
            raise ValueError(
                f"texts and means must have the same length of at least 2, but there are {len(texts)} texts and means "
                f"of shape {targets.shape}"
            )
        if not np.isfinite(targets).all():
            raise ValueError(f"the mean of text {int(np.flatnonzero(~np.isfinite(targets))[0])} is not a finite number")
        vectorizers, lexicon = tuple(_vectorizers()), dict(lexicon or {})
        blocks = [vectorizer.fit_transform(texts) for vectorizer in vectorizers]
        sizes = tuple(FLOOR * float(_squares(block).mean()) for block in blocks)
        raw = np.array([lexicon_features(text, lexicon) for text in texts])
        scale = raw.std(axis=0)
        judge = cls(
            vectorizers,
            sizes,
            lexicon,
            raw.mean(axis=0),
            np.where(scale > 0, scale, 1.0),
            Ridge(alpha, solver="sparse_cg", tol=1e-6),
        )
        judge.ridge.fit(judge._join(blocks, raw), targets)
        return judge

    def _join(self, blocks: Sequence[sparse.csr_matrix], raw: Float[ndarray, "N L"]) -> sparse.csr_matrix:
        """One sparse row per text: the n-gram blocks x / √(‖x‖² + size), then the standardised lexicon features."""
        scaled = [sparse.diags((_squares(x) + size) ** -0.5) @ x for x, size in zip(blocks, self.sizes, strict=True)]
        dense = LEXICON_WEIGHT * (raw - self.centre) / self.scale
        return sparse.hstack([*scaled, sparse.csr_matrix(dense)], format="csr")

    def score(self, texts: Sequence[str]) -> Float[ndarray, "N"]:
        """The predicted mean rating of each text, in −4…4, independent of the other texts."""
        if isinstance(texts, str):
            raise ValueError("score takes a list of texts, not one text")
        if len(texts) == 0:
            return np.zeros(0)
        cut = [text[:MAX_CHARACTERS] for text in texts]
        raw = np.array([lexicon_features(text, self.lexicon) for text in cut])
        features = self._join([vectorizer.transform(cut) for vectorizer in self.vectorizers], raw)
        return np.clip(self.ridge.predict(features), LOWEST, HIGHEST)


@dataclass(frozen=True)
class Quality:
    """Agreement of scores with mean human ratings: Pearson's correlation with its 95 % bootstrap interval, Spearman's,
    and the slope of means on scores (1 is calibrated; above 1 the scores vary too little)."""

    correlation: float
    low: float
    high: float
    spearman: float
    slope: float
    texts: int


def quality(
    scores: Float[ndarray, "N"], means: Sequence[float] | Float[ndarray, "N"], resamples: int = 2_000, seed: int = 0
) -> Quality:
    """Agreement of scores with the mean ratings of unseen texts; the bootstrap resamples texts."""
    targets = np.asarray(means, dtype=np.float64)
    rng, n = np.random.default_rng(seed), len(targets)
    drawn = (rng.integers(0, n, n) for _ in range(resamples))
    low, high = np.quantile([np.corrcoef(scores[i], targets[i])[0, 1] for i in drawn], [0.025, 0.975])
    return Quality(
        correlation=float(np.corrcoef(scores, targets)[0, 1]),
        low=float(low),
        high=float(high),
        spearman=float(np.corrcoef(rankdata(scores), rankdata(targets))[0, 1]),
        slope=float(np.polyfit(scores, targets, 1)[0]),
        texts=n,
    )


def cross_validated(
    texts: Sequence[str],
    means: Sequence[float] | Float[ndarray, "N"],
    lexicon: Mapping[str, float] | None,
    alphas: Sequence[float],
    folds: int = 5,
) -> dict[float, float]:
    """Cross-validated correlation with the mean ratings for each ridge penalty; fold k is every `folds`-th text."""
    targets = np.asarray(means, dtype=np.float64)
    fold = np.arange(len(texts)) % folds

    def correlation(alpha: float, k: int) -> float:
        inside, outside = ([texts[int(i)] for i in np.flatnonzero(part)] for part in (fold != k, fold == k))
        judge = GoldJudge.fit(inside, targets[fold != k], lexicon, alpha)
        return float(np.corrcoef(judge.score(outside), targets[fold == k])[0, 1])

    return {alpha: float(np.mean([correlation(alpha, k) for k in range(folds)])) for alpha in alphas}
