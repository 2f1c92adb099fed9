"""Which pair a rater sees next, and on which side each answer stands: functions of the pairs, the seed and the votes.

A pair that is not shared belongs to one rater: the one who voted on it first, or else the one to whom it is dealt. Thus
raters may be added and removed between two starts, and nobody labels again what somebody else has labelled.
"""

import math
import random
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from burnish.data.labels import A, B
from burnish.options import quoted
from burnish.run import UserError

LONGEST_NAME = 40


@dataclass(frozen=True)
class Place:
    """A place in a rater's order: the number of a pair, and how often the rater saw it before."""

    pair: int
    showing: int = 0


@dataclass(frozen=True)
class Selection:
    """The pairs in the order in which they are worth most, and the `share` of places that have random ones instead."""

    ranked: tuple[int, ...]
    share: float

    def mixed(self, random_order: Sequence[int]) -> list[int]:
        """All pairs: of every n places, n times `share` (rounded down) have the first pair of `random_order` that had
        no place before, and the others the first such pair of `ranked`."""
        sources, found = (iter(self.ranked), iter(random_order)), dict[int, None]()
        for place in range(len(random_order)):
            at_random = math.floor((place + 1) * self.share) > math.floor(place * self.share)
            found[next(pair for pair in sources[at_random] if pair not in found)] = None
        return list(found)


@dataclass(frozen=True)
class Plan:
    """Who labels what: `shared` is the share of pairs that all raters get, `repeat` the share of a rater's pairs that
    the rater gets twice, at most ½. Without a `selection` the order is random."""

    raters: tuple[str, ...]
    seed: int = 0
    shared: float = 0.2
    repeat: float = 0.1
    selection: Selection | None = None

    def owners(self, pairs: int, voted: Mapping[int, Sequence[str]]) -> dict[int, str]:
        """The rater of each pair that is not shared; `voted` are the raters of each pair's votes, the first one first.

        What nobody voted on is dealt in a random order, so that each rater gets as many pairs as the others.
        """
        order = shuffled(pairs, self.seed, "pairs")
        shared = {*order[: round(self.shared * pairs)]}
        dealt = {pair: self.raters[place % len(self.raters)] for place, pair in enumerate(order)}
        return {pair: (voted.get(pair) or [dealt[pair]])[0] for pair in range(pairs) if pair not in shared}

    def places(self, rater: str, pairs: int, voted: Mapping[int, Sequence[str]]) -> list[Place]:
        """The rater's order: own and shared pairs, and half of them later those that are shown again.

        The own order of each rater is random, or that of the selection with random pairs of the rater's own.
        """
        owners, order = self.owners(pairs, voted), shuffled(pairs, self.seed, rater)
        if self.selection is not None:
            order = self.selection.mixed(order)
        order = [pair for pair in order if owners.get(pair, rater) == rater]
        half = len(order) // 2
        again = {*order[: int(self.repeat * len(order))]}
        found: list[Place] = []
        for place, pair in enumerate(order):
            found.append(Place(pair))
            if place >= half and (before := order[place - half]) in again and half:
                found.append(Place(before, 1))
        return found

    def left(self, rater: str, place: Place) -> str:
        """The answer that is on the left, "a" or "b"."""
        return random.Random(f"{self.seed}/{rater}/{place.pair}/{place.showing}").choice((A, B))


def shuffled(count: int, *seed: int | str) -> list[int]:
    """The numbers below `count` in a random order."""
    numbers = list(range(count))
    random.Random("/".join(map(str, seed))).shuffle(numbers)
    return numbers


def next_place(places: Sequence[Place], answered: Collection[Place]) -> int:
    """The first place without an answer; the number of places if there is none."""
    return next((number for number, place in enumerate(places) if place not in answered), len(places))


def rater_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the raters, in Unicode's composed form. Raises UserError for odd characters and for two equal ones.

    A name is of letters, digits, "-", "_" and ".", because it is part of addresses and file names.
    """
    found = tuple(unicodedata.normalize("NFC", name.strip()) for name in names)
    for name in found:
        if not (name and name[0].isalnum() and all(one.isalnum() or one in "-_." for one in name)):
            raise UserError(
                f"the rater's name {quoted(name)} may have letters, digits, - _ and . alone: choose another"
            )
        if len(name) > LONGEST_NAME:
            raise UserError(f"the rater's name {quoted(name)} has more than {LONGEST_NAME} characters: choose another")
    if twice := {name for name in found if found.count(name) > 1}:
        raise UserError(f"the rater's name {quoted(min(twice))} is given twice: name each rater once")
    return found
