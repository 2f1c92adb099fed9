"""Counts and lengths of a data set, as `burnish data show` prints them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from burnish.data import tokenise
from burnish.data.fit import Fitted
from burnish.data.formats import Example
from burnish.data.partners import partners
from burnish.data.tokenised import LEFT_OUT, rewritten

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass
class Seen:
    """Counts over the rows of a data set."""

    counts: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    prompts: list[bytes] = field(default_factory=list)
    rows: set[bytes] = field(default_factory=set)

    def add(self, found: Fitted, max_length: int) -> None:
        """Count one row, before and after it was cut."""
        tokenise.count(found, self.counts, max_length)
        if found.dropped == "untrained":
            return
        whole = [found.prompt, *(response.tokens for response in found.whole)]
        one = hashlib.sha256(str(whole).encode()).digest()
        self.counts["duplicates"] += one in self.rows
        self.rows.add(one)
        for name, ids in zip(names(found.example), whole, strict=True):
            self.lengths.setdefault(name, []).append(len(ids))
        if len(whole) > 2:
            self.counts["longer"] += len(whole[1]) > len(whole[-1])
            self.counts["as long"] += len(whole[1]) == len(whole[-1])
        if found.responses:
            self.prompts.append(str(found.responses[0].tokens[: found.start]).encode())
        for name in ("margin", "confidence", "desirable"):
            if (number := getattr(found.example, name)) is not None:
                self.numbers.setdefault(name, []).append(float(number))


def names(example: Example) -> tuple[str, ...]:
    """The names of a row's prompt and responses."""
    count = len(example.responses)
    if count < 2:
        return ("prompt", "response")[: count + 1]
    if count == 2:
        return ("prompt", "chosen", "rejected")
    return ("prompt", *(f"response {place}" for place in range(1, count + 1)))


def summary(seen: Seen, left_out: Counter[str], kind: str) -> Iterable[str]:
    """Counts, and lengths before cutting."""
    counts = seen.counts + left_out
    if kind == "prompts":
        yield f"{counts['rows']:,} prompts, {counts['truncated_prompts']:,} cut on the left"
        yield from [f"{counts['held_out']:,} rows held out"] * bool(counts["held_out"])
    else:
        yield f"{counts['used']:,} of {counts['rows']:,} rows used"
        always = (
            "dropped",
            "truncated_prompts",
            "truncated_responses",
            *(["equal"] if "rejected" in seen.lengths else []),
        )
        yield from (f"{counts[key]:,} {words}" for key, words in LEFT_OUT.items() if counts[key] or key in always)
        yield from rewritten(counts)
    yield f"{counts['duplicates']:,} rows that repeat an earlier one"
    if len(seen.prompts) > 1 and kind == "feedback":
        found = partners(seen.prompts)
        same = sum(seen.prompts[i] == seen.prompts[j] for i, j in enumerate(found))
        yield f"{same:,} rows whose other response, of another row, answers the same prompt"
    if "rejected" in seen.lengths:
        pairs = len(seen.lengths["rejected"])
        longer, equally = counts["longer"] / pairs, counts["as long"] / pairs
        yield f"chosen is longer than rejected in {longer:.0%} of rows, as long in {equally:.0%}"
    if labels := seen.numbers.get("desirable"):
        yield f"{sum(labels):,.0f} desirable, {len(labels) - sum(labels):,.0f} not"
    heads = ("", "least", "25 %", "half", "75 %", "95 %", "most")
    yield "".join(f"{head:>12}" if head else f"{'tokens':<12}" for head in heads)
    tables: list[tuple[str, list[Any], Callable[[float], str]]] = [
        (name, values, lambda x: f"{x:.0f}") for name, values in seen.lengths.items()
    ]
    tables += [(name, values, lambda x: f"{x:.3g}") for name, values in seen.numbers.items() if name != "desirable"]
    for name, values, write in tables:
        found_quantiles = np.quantile(np.array(values, dtype=float), QUANTILES, method="inverted_cdf")
        yield f"{name:<12}" + "".join(f"{write(x):>12}" for x in found_quantiles)
