"""The built-in data set: demonstrations, human comparisons and prefixes from rated film reviews.

Everything is derived from the corpora by SHA-256 (see `splits.fraction`), so it is the same on every machine and with
every library version. No `held_out` text is in any `train` or `validation` split or in `pretraining_texts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from burnish.data.corpora import FILES, Snippet, corpus, lexicon
from burnish.data.splits import fraction, split

__all__ = [
    "Ceiling",
    "Snippet",
    "comparisons",
    "corpus",
    "demonstrations",
    "human_ceiling",
    "lexicon",
    "prefixes",
    "pretraining_parts",
    "pretraining_texts",
    "rated",
    "rater_outcomes",
    "split",
]

SPLITS = {"train": ("gold", "preferences"), "validation": ("validation",), "held_out": ("held_out",)}
PAIRINGS = {"train": ("preferences", 4), "validation": ("validation", 1), "held_out": ("held_out", 1)}


def _check(name: str) -> None:
    if name not in SPLITS:
        raise ValueError(f"the built-in data has no split {name!r}; use one of {', '.join(SPLITS)}")


def pretraining_parts() -> dict[str, list[str]]:
    """The training texts of each corpus, without the held-out film reviews."""
    parts = {"film": [*split("film", "gold"), *split("film", "preferences")]}
    parts |= {name: split(name, "train") for name in FILES if name != "film"}
    return {name: [snippet.text for snippet in snippets] for name, snippets in parts.items()}


def pretraining_texts() -> dict[str, list[str]]:
    """Plain texts of all four corpora, as `train` and `validation`, without the held-out film reviews."""
    validation = [snippet.text for name in FILES for snippet in split(name, "validation")]
    return {"train": [text for texts in pretraining_parts().values() for text in texts], "validation": validation}


def demonstrations(name: str) -> Dataset:
    """Film reviews to imitate, in the column `text`; `name` is train, validation or held_out."""
    _check(name)
    return Dataset.from_dict({"text": [snippet.text for part in SPLITS[name] for snippet in split("film", part)]})


def rated(name: str) -> Dataset:
    """Film reviews with their mean rating: columns id, text, mean (−4…4).

    `name` is gold (on which the gold judge is fitted), preferences, validation or held_out.
    """
    return Dataset.from_list([{"id": s.id, "text": s.text, "mean": s.mean} for s in split("film", name)])


def pairs(name: str) -> Iterator[tuple[Snippet, Snippet]]:
    """Pairs of film snippets: neighbours after sorting by a hash, each snippet at most once per round.

    train has four rounds, validation and held_out one. No pair occurs twice.
    """
    _check(name)
    part, rounds = PAIRINGS[name]
    snippets = split("film", part)
    seen: set[frozenset[str]] = set()
    for round_ in range(rounds):
        order = sorted(snippets, key=lambda snippet: fraction("pair", round_, snippet.id))
        for first, second in zip(order[::2], order[1::2], strict=False):
            both = frozenset((first.id, second.id))
            if both not in seen:
                seen.add(both)
                yield first, second


def draw_rater(snippet: Snippet, other: Snippet) -> int:
    """The index of the rater who judges `snippet` when it is compared with `other`."""
    return int(fraction("rater", snippet.id, other.id) * len(snippet.ratings))


def comparisons(name: str) -> Dataset:
    """Human comparisons of film snippets, one rater per snippet; `name` is train, validation or held_out.

    One rater is drawn for each snippet; the snippet with the higher rating is `chosen`. Ties are dropped. So the labels
    contain the raters' disagreement. Columns: prompt (empty), chosen, rejected, and for analysis chosen_mean and
    rejected_mean (over all raters), chosen_id and rejected_id.
    """
    rows = []
    for first, second in pairs(name):
        one, two = first.ratings[draw_rater(first, second)], second.ratings[draw_rater(second, first)]
        if one == two:
            continue
        chosen, rejected = (first, second) if one > two else (second, first)
        rows.append(
            {
                "prompt": "",
                "chosen": chosen.text,
                "rejected": rejected.text,
                "chosen_mean": chosen.mean,
                "rejected_mean": rejected.mean,
                "chosen_id": chosen.id,
                "rejected_id": rejected.id,
            }
        )
    return Dataset.from_list(rows)


def prefixes(name: str, n: int | None = None) -> Dataset:
    """Film reviews to continue: `prompt` is the first 2 to 8 words of `text` and leaves out at least the last 3.

    The rows are ordered by a hash, so the first `n` serve as a random sample, and a larger `n` extends a smaller
    one. A snippet of fewer than 5 words gives no prefix.
    """
    _check(name)
    rows = []
    snippets = [snippet for part in SPLITS[name] for snippet in split("film", part)]
    for snippet in sorted(snippets, key=lambda snippet: fraction("prefix", snippet.id)):
        words = snippet.text.split(" ")
        longest = min(8, len(words) - 3)
        if longest >= 2:
            length = 2 + int(fraction("prefix length", snippet.id) * (longest - 1))
            rows.append({"prompt": " ".join(words[:length]), "id": snippet.id, "text": snippet.text})
    if n is not None and not 0 < n <= len(rows):
        raise ValueError(f"n is {n}, but {name} has {len(rows)} prefixes; use 1 to {len(rows)}")
    return Dataset.from_list(rows[:n])


@dataclass(frozen=True)
class Ceiling:
    """Share of `pairs` that single raters order as the other raters' means do, with its 95 % interval."""

    agreement: float
    low: float
    high: float
    pairs: int


def _agrees(first: Snippet, second: Snippet, i: int, j: int) -> bool | None:
    """Whether raters i and j order the snippets as the other raters' means do; None if either order is a tie."""
    label = np.sign(first.ratings[i] - second.ratings[j])
    rest = [(sum(s.ratings) - s.ratings[k]) / (len(s.ratings) - 1) for s, k in ((first, i), (second, j))]
    others = np.sign(round(rest[0] - rest[1], 9))  # equal fractions of different denominators are ties
    return None if label == 0 or others == 0 else bool(label == others)


def _wilson(successes: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927)."""
    p, shrink = successes / total, 1 + z * z / total
    half = z * np.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / shrink
    centre = (p + z * z / (2 * total)) / shrink
    return float(centre - half), float(centre + half)


def rater_outcomes(name: str) -> list[bool | None]:
    """For each row of `comparisons(name)`, whether its label orders both snippets as the other raters' means do; None
    where these are equal."""
    found = []
    for a, b in pairs(name):
        i, j = draw_rater(a, b), draw_rater(b, a)
        if a.ratings[i] != b.ratings[j]:
            found.append(_agrees(a, b, i, j))
    return found


def human_ceiling(name: str = "held_out", draws: int | None = None) -> Ceiling:
    """How often two single raters order snippets as the *other* raters' means do: the ceiling for a reward model.

    With `draws` None, the pairs and raters are those of `comparisons(name)`; otherwise `draws` random pairs from the
    split with random raters (seed 0), which repeat snippets, so that the interval is too narrow. Ties are dropped.
    """
    if draws is None:
        found = rater_outcomes(name)
    else:
        snippets, rng = split("film", PAIRINGS[name][0]), np.random.default_rng(0)
        chosen = [(*rng.choice(len(snippets), 2, replace=False), *rng.random(2)) for _ in range(draws)]
        some = [(snippets[i], snippets[j], u, v) for i, j, u, v in chosen]
        found = [_agrees(a, b, int(u * len(a.ratings)), int(v * len(b.ratings))) for a, b, u, v in some]
    outcomes = [outcome for outcome in found if outcome is not None]
    low, high = _wilson(sum(outcomes), len(outcomes))
    return Ceiling(sum(outcomes) / len(outcomes), low, high, len(outcomes))
