"""The proxies: which labels each learns from, where it is kept, and how it orders pairs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from jaxtyping import Float

from burnish.data import tokenise
from burnish.data.walk import in_order
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.reward_models import score_pairs
from burnish.recipes.study.labels import Pair, comparisons, drawn_labels
from burnish.recipes.study.measure import AT_ONCE
from burnish.recipes.study.overoptimise.plan import Plan
from burnish.recipes.study.start import START
from burnish.run import read_jsonl

LABEL_SEED = 3_000
"""With the study's seed, of the draws of labels."""


def reward_of(seed: int, labels: int, out: Path) -> Path:
    """The folder of a reward model."""
    return out / "rewards" / f"seed-{seed}-{labels}"


def chosen_rows(seed: int, labels: int, pairs: int) -> list[int]:
    """Which pairs a seed's reward model of so many labels learns from: the first of the seed's random order, so that
    the more have the fewer among them."""
    return np.random.default_rng(seed).permutation(pairs)[:labels].tolist()


def labels_of(seed: int, labels: int, plan: Plan, out: Path) -> list[Pair]:
    """What a seed's reward model of so many labels learns from."""
    pairs = drawn_labels(read_jsonl(out / START / "pairs.jsonl"), plan.scale, (LABEL_SEED, seed))
    return [pairs[row] for row in chosen_rows(seed, labels, len(pairs))]


def differences(scorer: Any, pairs: Sequence[Pair], max_length: int) -> tuple[Float[np.ndarray, "N"], list[int]]:
    """How much higher the scorer scores the chosen response than the rejected one; and which pairs they are: one that
    leaves no token of a response is not there."""
    rows = tokenise.preferences(Dataset.from_list(comparisons(pairs)), scorer.tokenizer, max_length, "pairs")
    batches: Iterable[Any] = in_order(rows, AT_ONCE)
    scores = score_pairs(scorer, batches)
    return scores[:, 0] - scores[:, 1], list(rows.dataset["row"])


def agreements(scorer: Any, pairs: Sequence[Pair], max_length: int) -> tuple[Float[np.ndarray, "N"], list[int]]:
    """1 for each pair that the scorer orders as its label does, 0 where not, ½ for a tie; and which pairs they are."""
    found, rows = differences(scorer, pairs, max_length)
    return accuracy_scores(found), rows


def relabelled(scorer: Any, pairs: Sequence[Pair], max_length: int) -> list[Pair]:
    """Pairs whose chosen response is the one that the scorer scores higher, whatever their own label; without ties."""
    found, rows = differences(scorer, pairs, max_length)
    out = []
    for row, more in zip(rows, found, strict=True):
        one = pairs[row]
        sides = [one["chosen"], one["rejected"]][:: 1 if more > 0 else -1]
        if more != 0:
            out.append({"prompt": one["prompt"], "chosen": sides[0], "rejected": sides[1]})
    return out
