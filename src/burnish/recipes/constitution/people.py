"""Labels of people in a share of a judge's: which pairs the judge is asked about, and which rows are written."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data import adapters, cells, sources
from burnish.data.beside import KEYS
from burnish.data.labels import pair_key
from burnish.data.names import named
from burnish.recipes.label.pairs import Pair, keywords
from burnish.run import UserError, without_keys

JUDGE, PEOPLE = "judge", "people"


@dataclass(frozen=True)
class Labelled:
    """A label as it is written, with the key of its pair, whichever answer comes first."""

    key: str
    row: dict[str, Any]


@dataclass(frozen=True)
class Mixing:
    """People's labels, and the `share` of the judge's among all rows.

    A pair that both could label belongs to one of them, in the same share. All draws are functions of the seed and the
    pair, and what belongs to the judge does so with every larger share.
    """

    people: tuple[Labelled, ...]
    left_out: Mapping[str, int]
    share: float
    seed: int

    def rank(self, key: str, what: str = "dealt") -> str:
        return hashlib.sha256(f"{self.seed}/{what}/{key}".encode()).hexdigest()

    def dealt(self, pairs: Sequence[Pair]) -> set[str]:
        """The keys of the pairs that people have labelled and that belong to the judge."""
        labelled = {one.key for one in self.people}
        both = sorted(labelled & {unordered(one.prompt, one.a, one.b) for one in pairs}, key=self.rank)
        return set(both[: round(self.share * len(both))])

    def to_ask(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The pairs to ask the judge about, in the order of the data: those that are dealt to it, and no others than
        the share needs. Raises UserError where all of them would give no row of the share."""
        mine, labelled = self.dealt(pairs), {one.key for one in self.people}
        keys = {one.key: unordered(one.prompt, one.a, one.b) for one in pairs}
        own = [one for one in pairs if keys[one.key] in mine or keys[one.key] not in labelled]
        own.sort(key=lambda one: (keys[one.key] not in mine, self.rank(keys[one.key])))
        theirs = sum(one.key not in mine for one in self.people)
        self.check(len(own), theirs)
        wanted, _ = sizes(len(own), theirs, self.share)
        chosen = {one.key for one in own[: max(len(mine), wanted)]}
        return [one for one in pairs if one.key in chosen]

    def mixed(self, pairs: Sequence[Pair], judged: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """As many rows of both as have the share, in random order; each says whose it is. A margin is 0 where only
        other rows have one. Raises UserError where there are none."""
        mine = self.dealt(pairs)
        theirs = sorted((one for one in self.people if one.key not in mine), key=lambda one: self.rank(one.key))
        own = [
            Labelled(unordered(row["prompt"], row["chosen"], row["rejected"]), row | {"by": JUDGE}) for row in judged
        ]
        own.sort(key=lambda one: (one.key not in mine, self.rank(one.key)))
        self.check(len(own), len(theirs))
        a, p = sizes(len(own), len(theirs), self.share)
        rows = [one.row for one in sorted([*own[:a], *theirs[:p]], key=lambda one: self.rank(one.key, "row"))]
        if any("margin" in row for row in rows):
            rows = [{"margin": 0.0} | row for row in rows]
        return rows

    def check(self, judged: int, people: int) -> None:
        """Raise UserError where so many labels of the judge and of people give no row."""
        if not any(sizes(judged, people, self.share)):
            raise UserError(
                f"--ai-share {self.share:g} of {judged:,} labels of the judge and {people:,} of people gives no row: "
                "give more of both, or another share"
            )

    def facts(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What became of the labels."""
        counts = Counter(row["by"] for row in rows)
        found = {"ai_share": self.share, "comparisons": len(self.people), "left_out": dict(self.left_out)}
        return found | {"rows": {JUDGE: counts[JUDGE], PEOPLE: counts[PEOPLE]}}


def sizes(judged: int, people: int, share: float) -> tuple[int, int]:
    """The largest numbers of rows of both, of which the judge's are the share: the judge's rounded down, and then those
    of people to the nearest."""
    if share in (0, 1):
        return (judged, 0) if share else (0, people)
    own = min(judged, int(people * share / (1 - share) + 1e-6))
    return own, min(people, round(own * (1 - share) / share))


def unordered(prompt: Any, a: Any, b: Any) -> str:
    """The key of a pair, whichever answer is named first."""
    first, second = sorted((a, b), key=lambda one: json.dumps(one, sort_keys=True))
    return pair_key(prompt, first, second)


def mixing(data: Any, share: float | None, seed: int) -> Mixing | None:
    """People's comparisons, in any format that training reads, and the share; None where there are none to mix in.

    Raises UserError for a share without labels, labels without a share, a share out of range, a ranking of more than
    two responses, and data without comparisons.
    """
    if data is None:
        if share is not None:
            raise UserError(f"--ai-share {share:g} is for --people: give their labels too, or leave it out")
        return None
    if share is None or not 0 <= share <= 1:
        given = "none is given" if share is None else f"not {share:g}"
        raise UserError(f"--people needs an --ai-share in [0, 1], the share of the judge's labels, and {given}")
    people: list[Labelled] = []
    left_out: Counter[str] = Counter()
    for name, dataset in sources.load_parts(data):
        reading = adapters.preferences(dataset, name, chat=True)
        beside = tuple(key for key in KEYS if key in dataset.column_names)
        rows = dict(cells.rows(dataset, beside)) if beside else {}
        for one in reading.examples:
            if len(one.responses) != 2:
                raise UserError(
                    f"{name}, row {one.row}: the prompt has {len(one.responses)} ranked responses, and --people takes "
                    "comparisons of two: write each pair of them as a row, or remove it"
                )
            chosen, rejected = one.responses
            found: dict[str, Any] = {"prompt": one.prompt, "chosen": chosen, "rejected": rejected}
            found["confidence"] = 1.0 if one.confidence is None else one.confidence
            found |= {} if one.margin is None else {"margin": one.margin}
            found |= {"by": PEOPLE, "source": without_keys(name), "row": one.row}
            found |= keywords(rows.get(one.row, {}), beside)
            if chosen == rejected:
                left_out["equal"] += 1
            else:
                people.append(Labelled(unordered(one.prompt, chosen, rejected), found))
        left_out.update(reading.left_out)
    if not people:
        raise UserError(f"{named(data)} has no comparison that can be mixed in: label pairs first, with burnish label")
    return Mixing(tuple(people), left_out, share, seed)


def sentence(found: Mapping[str, Any]) -> str:
    """What became of the labels, in words."""
    a, p = found["rows"][JUDGE], found["rows"][PEOPLE]
    text = f"{a + p:,} rows are written: {a:,} of the judge and {p:,} of the {found['comparisons']:,} of people"
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in found["left_out"].items())
    return f"{text} ({skipped} are left out)" if skipped else text
