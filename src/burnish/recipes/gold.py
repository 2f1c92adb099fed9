"""The built-in judge of film reviews, behind `--reward gold` and the gold scores of the built-in data."""

from functools import cache
from typing import TYPE_CHECKING

from burnish.data import builtin
from burnish.data.corpora import lexicon

if TYPE_CHECKING:
    import burnish.rewards.gold


@cache
def gold_judge() -> "burnish.rewards.gold.GoldJudge":
    """The judge, fitted on the raters' means of the film split `gold`."""
    from burnish.rewards.gold import GoldJudge  # here, since it imports scikit-learn

    snippets = builtin.split("film", "gold")
    return GoldJudge.fit([s.text for s in snippets], [s.mean for s in snippets], lexicon())
