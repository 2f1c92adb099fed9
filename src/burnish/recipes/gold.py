"""The built-in judge of film reviews, behind `--reward gold` and the gold scores of the built-in data."""

from functools import cache

from burnish.data import builtin
from burnish.data.corpora import lexicon
from burnish.rewards.gold import GoldJudge


@cache
def gold_judge() -> GoldJudge:
    """The judge, fitted on the raters' means of the film split `gold`."""
    snippets = builtin.split("film", "gold")
    return GoldJudge.fit([s.text for s in snippets], [s.mean for s in snippets], lexicon())
