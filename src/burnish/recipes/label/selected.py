"""`--select disagreement`: which pairs reward models disagree on most, kept beside the labels so that a restart has the
same order."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.config import Settings
from burnish.recipes.label.pairs import Pair, checksum
from burnish.recipes.label.plan import Selection
from burnish.run import UserError, companion, config_differences, printable, read_mapping, write_atomically

RANDOM, DISAGREEMENT = "random", "disagreement"
ENDING = ".order.json"
RANDOM_SHARE = 0.2
"""The share of pairs that stays in random order, unless it is given."""


@dataclass(frozen=True)
class Selecting:
    """The reward models that select pairs, their folders, and the share of pairs that stays random."""

    members: tuple[str, ...]
    share: float

    def selection(self, pairs: Sequence[Pair], labels: Path, base: Settings) -> Selection:
        """The order of these pairs, as it was when the session began. No model is loaded where it is kept.

        It is kept in a file beside `labels`. Raises UserError where that file is of other reward models, pairs or
        options, and where there are labels without it.
        """
        kept = order_file(labels)
        facts = {"reward": [*self.members], "random_share": self.share, "seed": base.seed, "data": checksum(pairs)[:12]}
        if kept.exists():
            found = read_mapping(kept)
            if differing := config_differences(found.get("facts", {}), facts):
                raise UserError(
                    f"{kept} has another order, {', '.join(differing)}: give what it was begun with, or choose another "
                    "--out"
                )
            spread = np.array([np.nan if one is None else one for one in found["disagreement"]], dtype=float)
        else:
            spread = disagreements(pairs, self.members, base)
            values = [None if np.isnan(one) else float(one) for one in spread]
            write_atomically(kept, json.dumps({"facts": facts, "disagreement": values}, indent=0) + "\n")
        if not base.quiet:
            print(printable(self.described(spread)), file=sys.stderr)
        return Selection(ranked(spread), self.share)

    def described(self, spread: Float[np.ndarray, "N"]) -> str:
        """What is said on start."""
        known = spread[~np.isnan(spread)]
        text = f"--select disagreement of {len(self.members)} reward models; --random-share {self.share:g} of the pairs"
        text += " are in random order"
        if len(known):
            text += f"; the standard deviation of the predicted probability is {known.max():.3f} at most, "
            text += f"{np.median(known):.3f} in the median"
        if len(known) < len(spread):
            text += f"; {len(spread) - len(known):,} pairs that they cannot read come last"
        return text


def selecting(
    select: str, reward: str | Sequence[str | Path] | None, share: float | None, labels: Path
) -> Selecting | None:
    """What the options say; None where the order is random.

    Raises UserError for a way to select that does not exist, for fewer than two reward models, for one that is none or
    is not finished, for options that a random order does not use, and for labels that were begun otherwise.
    """
    kept = order_file(labels)
    if select not in (RANDOM, DISAGREEMENT):
        raise UserError(f"--select must be {RANDOM} or {DISAGREEMENT}, not {select}")
    if select == RANDOM:
        if reward or share is not None:
            option = "--reward" if reward else "--random-share"
            raise UserError(f"{option} is for --select {DISAGREEMENT}: give that too, or leave it out")
        if kept.exists():
            raise UserError(
                f"{labels} was begun with --select {DISAGREEMENT}: give it again with its --reward, or choose another "
                "--out"
            )
        return None
    members = members_of(reward)
    share = RANDOM_SHARE if share is None else share
    if not 0 <= share <= 1:
        raise UserError(f"--random-share must lie in [0, 1], not {share:g}")
    if not kept.exists():
        if labels.exists() and labels.stat().st_size:
            raise UserError(
                f"{labels} was begun without --select {DISAGREEMENT}: leave it out, or choose another --out"
            )
        from burnish.recipes.evaluate.ensemble import check_member

        for member in members:
            check_member(Path(member))
    return Selecting(members, share)


def members_of(reward: str | Sequence[str | Path] | None) -> tuple[str, ...]:
    """The folders in a text with commas, or in a list. Raises UserError for fewer than two, or one given twice."""
    given = reward.split(",") if isinstance(reward, str) else [str(one) for one in reward or ()]
    members = tuple(one.strip() for one in given if one.strip())
    if len(members) < 2:
        raise UserError(
            f"--select {DISAGREEMENT} needs at least two reward models, and {len(members) or 'none'} is given: "
            "name the folders of `burnish reward` runs with other seeds, --reward A,B,C"
        )
    if twice := [one for one in members if members.count(one) > 1]:
        raise UserError(f"--reward {twice[0]} is given twice: name each reward model once")
    return members


def order_file(labels: Path) -> Path:
    """The file beside `labels` with the order."""
    return companion(labels, ENDING)


def ranked(spread: Float[np.ndarray, "N"]) -> tuple[int, ...]:
    """The numbers of the pairs, first the one with the largest disagreement; of equal ones the earlier, and last those
    that have none."""
    order = np.argsort(-np.where(np.isnan(spread), -1.0, spread), kind="stable")
    return tuple(int(one) for one in order)


def disagreements(pairs: Sequence[Pair], members: Sequence[str], base: Settings) -> Float[np.ndarray, "N"]:
    """How much the reward models disagree on each pair; not a number where one of them cannot read it."""
    from burnish.evaluation.reward_models import disagreement
    from burnish.recipes.train.prepare import prepare_torch

    prepare_torch(base)
    return disagreement(np.stack([margins_of(Path(one), pairs, base) for one in members]))


def margins_of(run: Path, pairs: Sequence[Pair], base: Settings) -> Float[np.ndarray, "N"]:
    """The score of a less that of b by a finished reward model, read as in its training; not a number for a pair
    with an empty answer, or of which no token is left."""
    from burnish.data.walk import in_order
    from burnish.evaluation.reward_models import score_pairs
    from burnish.policies.language.frozen import freeze
    from burnish.policies.language.scorer import load_scorer
    from burnish.recipes.evaluate.run import build_from
    from burnish.recipes.train.models import loading_of, pick_device
    from burnish.recipes.train.rows import tokenised

    algorithm, settings = build_from(run)
    trusted = base.trust_remote_code
    settings = dataclasses.replace(settings, quiet=base.quiet, trust_remote_code=trusted, holdout=0.0)
    loading = loading_of(settings).elsewhere()
    scorer = load_scorer(run / "model", pick_device(base.device), loading=loading)
    freeze(scorer, loading.dtype)
    margins = np.full(len(pairs), np.nan)
    written = np.array([number for number, one in enumerate(pairs) if one.a and one.b], dtype=int)
    texts: list[dict[str, Any]] = [
        {"prompt": pairs[i].prompt, "chosen": pairs[i].a, "rejected": pairs[i].b, **pairs[i].options} for i in written
    ]
    if texts:
        rows = tokenised(algorithm, settings, scorer, texts, "labels")
        scores = score_pairs(scorer, in_order(rows, 64))
        margins[written[list(rows.dataset["row"])]] = scores[:, 0] - scores[:, 1]
    return margins
