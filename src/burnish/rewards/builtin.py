"""Built-in rewards: the gold judge and a sentiment lexicon, which score prompt and response as one text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from burnish.rewards.completed import Completed

if TYPE_CHECKING:
    import burnish.rewards.gold


@dataclass(frozen=True)
class TextReward:
    """Wraps a function from texts to scores as a reward."""

    name: str
    score: Callable[[list[str]], Any]

    def __call__(self, completed: Completed) -> Sequence[float]:
        return [float(score) for score in self.score(completed.texts)]


def gold_reward(judge: "burnish.rewards.gold.GoldJudge") -> TextReward:
    """The gold judge's expected mean rating, −4…4, as a reward.

    For experiments in which reward and evaluation are the same. After training against the judge, or selecting a model
    by it, the gold score is the training score and no longer an independent evaluation.
    """
    return TextReward("gold", judge.score)


def lexicon_reward(lexicon: Mapping[str, float]) -> TextReward:
    """The mean valence of the text's words as a reward; words not in the lexicon and texts without words count as 0.

    It demonstrates reward hacking: repeating a single positive word gives the highest score. The gold judge has
    features from the same lexicon, so optimising this reward raises the gold score slightly by construction.
    """

    from burnish.rewards.gold import words  # here, since it imports scikit-learn

    def mean_valence(text: str) -> float:
        found = words(text)
        return sum(lexicon.get(word, 0.0) for word in found) / len(found) if found else 0.0

    return TextReward("lexicon", lambda texts: [mean_valence(text) for text in texts])
