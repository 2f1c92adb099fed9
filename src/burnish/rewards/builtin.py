"""The rewards that need no training: the gold judge and a sentiment lexicon, on prompt and response as one text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from burnish.rewards.completed import Completed

if TYPE_CHECKING:
    import burnish.rewards.gold


@dataclass(frozen=True)
class TextReward:
    """A function from texts to scores as a reward."""

    name: str
    score: Callable[[list[str]], Any]

    def __call__(self, completed: Completed) -> Sequence[float]:
        return [float(score) for score in self.score(completed.texts)]


def gold_reward(judge: "burnish.rewards.gold.GoldJudge") -> TextReward:
    """The gold judge's expected mean rating, −4…4.

    For studies of a reward without error. A model that was trained against it, or picked by it, has seen the judge: its
    gold score is then its training score, and no independent judgement of what people would say.
    """
    return TextReward("gold", judge.score)


def lexicon_reward(lexicon: Mapping[str, float]) -> TextReward:
    """The mean valence of the text's words, 0 for a word that the lexicon lacks and for a text without words.

    A reward that is easily hacked, and shows it: one good word repeated has the highest score there is. The gold judge
    has features of the same lexicon, so a little of what is gained against this is gained on gold by construction.
    """

    from burnish.rewards.gold import words  # here, since it imports scikit-learn

    def mean_valence(text: str) -> float:
        found = words(text)
        return sum(lexicon.get(word, 0.0) for word in found) / len(found) if found else 0.0

    return TextReward("lexicon", lambda texts: [mean_valence(text) for text in texts])
