"""The zero of a reward model's scores."""

from typing import Any

from burnish.config import Settings
from burnish.data import builtin, tokenise
from burnish.data.walk import in_order
from burnish.evaluation.reward_models import centre_on
from burnish.recipes.train.models import say
from burnish.recipes.train.rows import first_responses


def centre(scorer: Any, rows: Any, settings: Settings) -> None:
    """Centre the scores on demonstrations: the built-in ones, or the chosen responses of the user's comparisons."""
    label = "the built-in demonstrations"
    if settings.data == "builtin":
        demonstrations = builtin.demonstrations("train")
        texts = tokenise.demonstrations(demonstrations, scorer.tokenizer, settings.max_length, label)
        batches: Any = in_order(texts, 64)
    else:
        label = "the chosen responses"
        if settings.streaming:
            rows, label = rows.streams[0].start.rows, f"the first chosen responses of {rows.streams[0].name}"
        batches = (first_responses(batch) for batch in in_order(rows, 64))
    mean = centre_on(scorer, batches)
    say(settings, f"scores are centred on {label}, which scored {mean:.3f} on average before and score 0 now")
