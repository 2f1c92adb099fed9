"""The gold judge of the study: the built-in one, less what makes a text no English.

The built-in judge counts words: a list of kind words has its highest score. Two terms, which are 0 for most human
reviews, take that back: one for a text that a model of n-grams finds less likely than nearly all human reviews,
and one for repetition.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.data import builtin
from burnish.data.corpora import lexicon
from burnish.evaluation.text import repetition
from burnish.policies.language.fingerprint import hash_of, tokenizer_hash
from burnish.policies.language.loading import Loading, load_tokenizer
from burnish.recipes.assets import resolve_model
from burnish.recipes.gold import gold_judge
from burnish.rewards.ngrams import NGrams

USUAL = 0.9
"""The share of held-back human reviews that lose nothing."""

SLOPE, MOST = 2.0, 4.0
"""Points per nat, and at most."""

REPEATED = 8.0
"""Points that a text would lose whose trigrams were all repetitions."""


CONSTANTS = {"usual": USUAL, "slope": SLOPE, "most": MOST, "repeated": REPEATED}
"""What a study is judged by: of others the gold scores are others."""


@dataclass(frozen=True)
class StudyJudge:
    """Scores texts: gold(x) − min(most, slope · max(0, nats(x) − usual)) − 8 · repetition(x).

    `gold` is a judge's own score, −4…4; `nats` the mean nats per token of each text, which `usual` is a quantile of
    among human reviews; repetition is the share of a text's trigrams of words that occurred before in it.
    """

    gold: Callable[[Sequence[str]], Float[np.ndarray, "N"]]
    nats: Callable[[Sequence[str]], Float[np.ndarray, "N"]]
    usual: float

    def parts(self, texts: Sequence[str]) -> dict[str, Float[np.ndarray, "N"]]:
        """The judge's own score, and what is lost for what is `strange` and for what is `repeated`."""
        strange = np.minimum(MOST, SLOPE * np.maximum(0.0, self.nats(texts) - self.usual))
        repeated = REPEATED * np.array([repetition(text) for text in texts])
        return {"own": self.gold(texts), "strange": strange, "repeated": repeated}

    def score(self, texts: Sequence[str]) -> Float[np.ndarray, "N"]:
        parts = self.parts(texts)
        return parts["own"] - parts["strange"] - parts["repeated"]


@cache
def study_judge() -> StudyJudge:
    """The built-in judge with trigrams of the built-in model's tokens, counted in the texts that it was trained on."""
    tokenizer = judge_tokenizer()

    def ids(texts: Sequence[str]) -> list[list[int]]:
        return list(tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    counted, human = judge_texts()
    grams = NGrams.fit(ids(counted), len(tokenizer))
    usual = float(np.quantile(grams.nats(ids(human)), USUAL))
    return StudyJudge(gold_judge().score, lambda texts: grams.nats(ids(texts)), usual)


@cache
def judge_tokenizer() -> Any:
    return load_tokenizer(str(resolve_model("builtin")), Loading())


def judge_texts() -> tuple[list[str], list[str]]:
    """The texts whose trigrams are counted, and the human reviews that say what is usual."""
    return builtin.pretraining_texts()["train"], list(builtin.demonstrations("validation")["text"])


def judge_inputs() -> dict[str, str]:
    """Hashes of all that the judge is made from: its texts, the ratings and the lexicon of the built-in judge, and the
    tokenizer of the trigrams."""
    rated = builtin.rated("gold")
    data = [*judge_texts(), list(rated["text"]), list(rated["mean"]), lexicon()]
    return {"judge_sha256": hash_of(data), "judge_tokenizer_sha256": tokenizer_hash(judge_tokenizer())}
