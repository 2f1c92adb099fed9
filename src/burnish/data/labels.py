"""Labels of `burnish label`: people's votes on pairs of answers, a line per vote, read as comparisons and feedback.

Of two votes of one rater on one showing of a pair the later counts. A rater who saw a pair twice counts once, with the
mean of both votes, so that the votes of a pair are a number per rater.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.data import cells
from burnish.data.dialogues import Source
from burnish.data.formats import Example, explicit
from burnish.data.messages import Messages
from burnish.run import UserError

VOTES = ("prompt", "a", "b", "rater", "verdict")
"""The columns that make a file one of labels."""

BESIDE = ("id", "data", "row", "showing", "left", "strength", "note", "seconds", "time", "revises")
"""Its other columns."""

A, B, TIE, BAD, SKIP = "a", "b", "tie", "bad", "skip"
VERDICTS = (A, B, TIE, BAD, SKIP)
"""An answer is better, both are about the same, both are bad, or no verdict."""

WORTH = {A: 1.0, B: 0.0, TIE: 0.5}
STRENGTHS = (1, 2, 3)
"""Slightly, clearly and much better."""

Texts = tuple[str | Messages, list[str | Messages], list[str]]


@dataclass(frozen=True)
class Vote:
    """One rater's verdict on one showing of a pair, at a row of the data; `left` is the answer that was on the left.

    `pair` is the key of prompt and answers, and `showing` counts from 0 how often the rater saw the pair before.
    """

    row: int
    pair: str
    rater: str
    showing: int
    verdict: str
    strength: int | None = None
    left: str | None = None
    seconds: float | None = None

    @property
    def worth(self) -> float | None:
        """1 where the answer a is better, 0 where b is, ½ if they are about the same; None for other verdicts."""
        return WORTH.get(self.verdict)

    @property
    def lead(self) -> float | None:
        """By how much a is better: the strength of the verdict, negative where b is better, and 0 for a tie."""
        if self.verdict == TIE:
            return 0.0
        return None if self.strength is None else float(self.strength if self.verdict == A else -self.strength)


@dataclass(frozen=True)
class Tally:
    """The votes of a pair that count. Each number is the mean over raters of a rater's mean, None if nobody gave one.

    `share` is of votes for a among those that compare, ties counting half; `margin` by how much a is better. `good` is
    for each answer the share of votes that call it good: the better one is, the other is not, and neither if both are
    bad. `row` is the pair's first row.
    """

    row: int
    votes: tuple[Vote, ...]
    share: float | None
    margin: float | None
    good: tuple[float | None, float | None]


def pair_key(prompt: Any, a: Any, b: Any) -> str:
    """A checksum of a pair's prompt and answers."""
    text = json.dumps([prompt, a, b], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def votes_of(rows: Iterable[tuple[int, Mapping[str, Any]]], name: str) -> Iterator[Vote]:
    """The votes in numbered rows. Raises UserError, naming row and column, for a cell that is not valid."""
    for number, row in rows:
        where = f"{name}, row {number}: column"
        verdict, strength, left = (row.get(key) for key in ("verdict", "strength", "left"))
        if verdict not in VERDICTS:
            raise UserError(f"{where} `verdict` is {cells.shown(verdict)}, not one of {', '.join(VERDICTS)}; fix it.")
        if strength is not None and (strength not in STRENGTHS or verdict not in (A, B)):
            raise UserError(
                f"{where} `strength` is {cells.shown(strength)} beside {verdict}; it must be 1, 2 or 3 beside a or b, "
                "or empty."
            )
        if left not in (None, A, B):
            raise UserError(f"{where} `left` is {cells.shown(left)}, not a or b; fix it.")
        showing, seconds = row.get("showing"), row.get("seconds")
        yield Vote(
            number,
            pair_key(row.get("prompt"), row.get("a"), row.get("b")),
            cells.text(row.get("rater"), f"{where} `rater`"),
            int(cells.number(0 if showing is None else showing, f"{where} `showing`")),
            verdict,
            None if strength is None else int(strength),
            left,
            None if seconds is None else cells.number(seconds, f"{where} `seconds`"),
        )


def counted(votes: Iterable[Vote]) -> list[Vote]:
    """The votes that count, in the order of their showings' first votes: of each showing the last one, with the seconds
    of all of them together."""
    found: dict[tuple[str, str, int], Vote] = {}
    for one in votes:
        key = one.pair, one.rater, one.showing
        before = found[key].seconds if key in found else None
        if before is not None:
            one = replace(one, seconds=before + (one.seconds or 0.0))
        found[key] = one
    return list(found.values())


def tallies(votes: Iterable[Vote]) -> list[Tally]:
    """A tally per pair of the votes that count, in the order of the pairs' first votes."""
    every = list(votes)
    first = {one.pair: one.row for one in reversed(every)}
    pairs: dict[str, list[Vote]] = {}
    for vote in counted(every):
        pairs.setdefault(vote.pair, []).append(vote)
    return [tally(found, first[key]) for key, found in pairs.items()]


def tally(votes: Sequence[Vote], row: int) -> Tally:
    """The tally of one pair's votes."""
    share = _mean(by_rater(votes))
    margin = _mean(_rater_means(votes, [one.lead for one in votes]))
    good = tuple(
        _mean(
            _rater_means(votes, [None if one.verdict in (TIE, SKIP) else float(one.verdict == side) for one in votes])
        )
        for side in (A, B)
    )
    return Tally(row, tuple(votes), share, margin, (good[0], good[1]))


def by_rater(votes: Sequence[Vote]) -> list[float]:
    """Of each rater who compared the answers the mean worth of their votes, 1 for a."""
    return _rater_means(votes, [one.worth for one in votes])


def _rater_means(votes: Sequence[Vote], values: Sequence[float | None]) -> list[float]:
    raters: dict[str, list[float]] = {}
    for vote, value in zip(votes, values, strict=True):
        if value is not None:
            raters.setdefault(vote.rater, []).append(value)
    return [sum(found) / len(found) for found in raters.values()]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def comparisons(source: Source) -> Iterator[Example]:
    """A comparison per pair: the answer with more votes is chosen, and the share of votes for it its confidence.

    There are no confidences if the votes on every pair agree, and margins only if votes have strengths: the mean
    strength towards the chosen answer, at least 0. Pairs whose votes are even, that are only bad or skipped, or that
    have an empty answer are left out and counted. Raises UserError if only some votes have a strength.
    """
    texts, found = read(source)
    used = [one for one in found if _usable(source, texts[one.row], one)]
    confident = any(one.share not in (0.0, 1.0) for one in used)
    strengths = have_strengths(source, used)
    for one in used:
        if one.share is None:
            continue
        sign = 1 if one.share > 0.5 else -1
        margin = max(0.0, sign * one.margin) if strengths and one.margin is not None else None
        confidence = max(one.share, 1 - one.share) if confident else None
        prompt, answers, where = _texts(source, texts[one.row], one.row)
        order = slice(None, None, sign)
        yield replace(explicit(one.row, prompt, answers[order], where[order]), margin=margin, confidence=confidence)


def singles(source: Source) -> Iterator[Example]:
    """Two labelled responses per pair at most: an answer that most votes call good, or not, see `Tally`.

    An empty answer, and one with even votes or without any, is left out and counted. An example's number is twice that
    of the pair's first row, and one more for the answer b.
    """
    texts, found = read(source)
    for one in found:
        prompt, answers, where = _texts(source, texts[one.row], one.row)
        for side, good in enumerate(one.good):
            if good is None or good == 0.5 or not answers[side]:
                source.left_out["unclear" if answers[side] else "empty"] += 1
                continue
            made = explicit(one.row, prompt, [answers[side]], [where[side]])
            yield replace(made, row=2 * one.row + side, desirable=good > 0.5)


def read(source: Source, more: Sequence[str] = ()) -> tuple[dict[int, dict[str, Any]], list[Tally]]:
    """The first row of each pair, with what it has in the columns `more`, and the tallies of all pairs."""
    names = (*VOTES, *(name for name in BESIDE if name in source.dataset.column_names), *more)
    first: dict[str, int] = {}
    texts: dict[int, dict[str, Any]] = {}

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in cells.rows(source.dataset, names):
            key = pair_key(*(row[name] for name in VOTES[:3]))
            if first.setdefault(key, number) == number:
                texts[number] = row
            yield number, row

    return texts, tallies(votes_of(rows(), source.name))


def _usable(source: Source, row: Mapping[str, Any], one: Tally) -> bool:
    """Whether a pair is a comparison; counts those that are not by reason."""
    reason = None
    if one.share is None:
        reason = "bad" if any(vote.verdict == BAD for vote in one.votes) else "skipped"
    elif one.share == 0.5:
        reason = "even"
    elif not (row[A] and row[B]):
        reason = "empty"
    if reason is not None:
        source.left_out[reason] += 1
    return reason is None


def have_strengths(source: Source, found: Sequence[Tally]) -> bool:
    """Whether votes for an answer have a strength. Raises UserError if only some have one."""
    decided = [vote for one in found for vote in one.votes if vote.verdict in (A, B)]
    without = [vote.row for vote in decided if vote.strength is None]
    if without and len(without) < len(decided):
        raise UserError(
            f"{source.name}, row {without[0]}: has no `strength`, which other rows have; give all votes one, or remove "
            "the column."
        )
    return bool(decided) and not without


def _texts(source: Source, row: Mapping[str, Any], number: int) -> Texts:
    """The prompt and the answers a and b of a row, and what errors call the answers."""
    prompt = cells.value(row["prompt"], source.where(number, "prompt"), may_be_empty=True)
    where = [source.where(number, side) for side in (A, B)]
    answers = [cells.value(row[side], at, may_be_empty=True) for side, at in zip((A, B), where, strict=True)]
    return prompt, answers, where
