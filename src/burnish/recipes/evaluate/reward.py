"""What `burnish evaluate` finds of a reward model: how often it is right, how surely, and on which pairs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from jaxtyping import Float
from torch import Tensor

from burnish.batches import Demonstrations, Preferences
from burnish.config import Settings
from burnish.data import builtin, names, sources, tokenise
from burnish.data.beside import MEANS
from burnish.data.tokenised import Tokenised
from burnish.data.walk import in_order
from burnish.evaluation.reward_models import (
    Bin,
    accuracy,
    accuracy_by_gap,
    calibration_curve,
    length_correlation,
    rebinned,
    score_pairs,
    score_texts,
)
from burnish.evaluation.statistics import bootstrap_interval
from burnish.policies.interface import Models
from burnish.policies.language.frozen import freeze
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.train.models import loading_of, say
from burnish.recipes.train.rows import tokenised
from burnish.run import UserError
from burnish.run.world import ALONE, World
from burnish.training.step import evaluate

CURVE_BINS, GAP_BINS = 10, 5
DRAWS = 200
PAIRS_A_BIN = 25  # with fewer, a bin's interval is wider than the whole curve


@dataclass(frozen=True)
class Known:
    """A scorer that answers with the scores it has given before, of all rows at once."""

    values: Float[Tensor, "N 2"]

    def scores(self, batch: Preferences) -> Float[Tensor, "N 2"]:
        return self.values

    def parameters(self) -> dict[str, Any]:
        return {}

    def dropout(self, on: bool) -> None:
        """There is none."""


def reward_model_findings(
    run: Path, algorithm: Any, settings: Settings, data: Any, device: str, world: World = ALONE
) -> dict[str, Any]:
    """What `evaluation.json` says of the reward model of `run` on the comparisons `data`: see `scorer_findings`."""
    loading = loading_of(settings).elsewhere()
    scorer = load_scorer(run / "model", device, loading=loading)
    freeze(scorer, loading.dtype)
    return scorer_findings(scorer, algorithm, settings, data, world)


def scorer_findings(scorer: Any, algorithm: Any, settings: Settings, data: Any, world: World = ALONE) -> dict[str, Any]:
    """What is found of a reward model on the comparisons `data`; each pair is scored once.

    Accuracy with its interval, on built-in data beside how often one rater agrees with the others; the calibration
    curve; accuracy by how far apart the raters' means are, where the data tell them as `chosen_mean` and
    `rejected_mean`, on built-in data beside that of one rater; the correlation of score with the response's length in
    tokens; and mean scores: of chosen, of rejected, and on built-in data of held-out demonstrations, which ought to be
    near 0.
    """
    rows: Tokenised = tokenised(algorithm, settings, scorer, data, "held_out")
    say(settings, rows.describe())
    if rows.largest_group > 2:
        label = names.text_of(data) or names.IN_MEMORY
        raise UserError(f"{label}: a row ranks {rows.largest_group} responses, but this evaluation needs pairs")
    scores = score_pairs(scorer, cast(Iterator[Preferences], in_order(rows, 64)), world)
    everything = rows.batch(range(len(rows)))
    known: Any = Known(torch.from_numpy(scores))
    found: dict[str, Any] = {"rows": len(rows)} | evaluate(algorithm, Models(scorer=known), [everything])
    margins = scores[:, 0] - scores[:, 1]
    found["accuracy"] = accuracy(margins).as_dict()
    if data == "builtin":
        ceiling = builtin.human_ceiling("held_out")
        ends = {"mean": ceiling.agreement, "low": ceiling.low, "high": ceiling.high}
        found["ceiling"] = ends | {"n": ceiling.pairs}
    found["calibration"] = calibration(margins)
    source = settings.data if data == names.HELD_OUT else data
    if (text := names.text_of(source)) is None or len(names.parts(text)) == 1:
        dataset = builtin.comparisons("held_out") if data == "builtin" else sources.load(source)
        if bins := by_gap(margins, dataset, rows.dataset["row"]):
            found["accuracy_by_gap"] = [asdict(one) for one in bins]
            if data == "builtin":
                found["ceiling_by_gap"] = [asdict(one) for one in raters_in(bins, rows.dataset["row"])]
    correlated = length_correlation(scores, everything.mask.sum(-1).numpy())
    found["length_correlation"] = None if correlated is None else correlated.as_dict()
    found["score"] = mean_scores(scorer, scores, settings, data, world)
    return found


def calibration(margins: Float[np.ndarray, "N"]) -> dict[str, Any]:
    """The calibration curve and its expected error, which is above 0 for a calibrated model too: by `chance` on average
    over labels drawn from the model itself."""
    bins, sure = bins_for(len(margins), CURVE_BINS), np.abs(margins)
    curve, random = calibration_curve(margins, bins), np.random.default_rng(0)
    right = (random.random(len(sure)) < 1 / (1 + np.exp(-sure)) for _ in range(DRAWS))
    chance = np.mean([calibration_curve(np.where(drawn, sure, -sure), bins).error for drawn in right])
    return {"error": curve.error, "chance": float(chance), "bins": [asdict(one) for one in curve.bins]}


def bins_for(count: int, most: int) -> int:
    """As many bins as keep `PAIRS_A_BIN` pairs each, at least one and at most `most`."""
    return min(most, max(1, count // PAIRS_A_BIN))


def by_gap(margins: Float[np.ndarray, "N"], dataset: Dataset, rows: Any) -> tuple[Bin, ...]:
    """Accuracy by the distance of the raters' means of the pairs that have both; none without such numbers.

    `rows` are the places in `dataset` that the margins belong to.
    """
    if not set(MEANS) <= set(dataset.column_names) or not all(is_number(dataset.features[name]) for name in MEANS):
        return ()
    chosen, rejected = (np.array(dataset.with_format(None)[name][:], dtype=float)[list(rows)] for name in MEANS)
    rated = np.isfinite(gaps := chosen - rejected)
    if not rated.any():
        return ()
    return accuracy_by_gap(margins[rated], gaps[rated], bins=bins_for(int(rated.sum()), GAP_BINS))


def raters_in(bins: Sequence[Bin], rows: Iterable[int]) -> tuple[Bin, ...]:
    """How often the rater behind a label agrees with the other raters, on these rows of the built-in held-out
    comparisons, in the same bins."""
    outcomes, means = builtin.rater_outcomes("held_out"), builtin.comparisons("held_out").select_columns(list(MEANS))[:]
    told = [row for row in rows if outcomes[row] is not None]
    gaps = np.array([means[MEANS[0]][row] - means[MEANS[1]][row] for row in told])
    return rebinned(bins, np.array([float(bool(outcomes[row])) for row in told]), gaps)


def is_number(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith(("int", "uint", "float"))


def mean_scores(
    scorer: Any, scores: Float[np.ndarray, "N 2"], settings: Settings, data: Any, world: World
) -> dict[str, dict[str, float]]:
    """Mean scores with their intervals."""
    found = {"chosen": scores[:, 0], "rejected": scores[:, 1]}
    if data == "builtin":
        texts = tokenise.demonstrations(
            builtin.demonstrations("held_out"), scorer.tokenizer, settings.max_length, "the built-in demonstrations"
        )
        found["demonstrations"] = score_texts(scorer, cast(Iterator[Demonstrations], in_order(texts, 64)), world)
    return {name: bootstrap_interval(values).as_dict() for name, values in found.items()}
