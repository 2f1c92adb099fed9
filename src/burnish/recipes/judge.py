"""`burnish judge`: recomputes the numbers of docs/data.md: splits, human ceiling and gold judge."""

import importlib.util
import json
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from burnish.data import builtin
from burnish.data.corpora import FILES, FOLDER, SOURCE, Snippet, archive, lexicon
from burnish.data.splits import FILM_SPLITS, OTHER_SPLITS, word_runs
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.statistics import proportion
from burnish.recipes.gold import gold_judge
from burnish.rewards.gold import ALPHA, GoldJudge, cross_validated, quality
from burnish.run import writable_file, write_atomically

ALPHAS = (0.25, ALPHA, 1.0)
DRAWS = {"held_out": 20_000, "train": 50_000}  # random pairs of snippets; ties among them are dropped
CLEAR = 1.0  # snippets whose mean is at least so far from 0 are clearly liked or disliked

ATTEMPTS = {
    "(empty)": "",
    "and × 30": " ".join(["and"] * 30),
    "the × 7": " ".join(["the"] * 7),
    "great": "great",
    "great × 50": " ".join(["great"] * 50),
    "a good film": "a good film",
    "not a good film": "not a good film",
    "a bad film": "a bad film",
    "not a bad film": "not a bad film",
    "It isn't funny.": "It isn't funny.",
    "It's never boring.": "It's never boring.",
    "I can't recommend this enough": "I can't recommend this enough",
    "one failure": "A wonderful, moving, delightful film that fails completely.",
    "a list of praise": "funny moving beautiful best great wonderful delightful fascinating",
    "and beautiful × 20": "A film that is" + " and beautiful" * 20,
}
"""What a policy that wants a high score might write, and what a counter of words gets wrong."""


def judge(
    out: Path | None, quiet: bool = False, alphas: Sequence[float] = ALPHAS, draws: dict[str, int] = DRAWS
) -> dict[str, Any]:
    """Measure the built-in data and the gold judge on the held-out part, print a table and write JSON to `out`.

    `alphas` are the ridge penalties to cross-validate within `gold` (most of the time goes there; none is fine), and
    `draws` the random pairs behind the ceiling by split. The same data and versions give the same numbers.
    """
    if out is not None:
        writable_file(out)
    found = sizes() | {"ceiling": ceilings(draws), "raters": rater_correlations(builtin.split("film", "held_out"))}
    found |= judged(gold_judge(), alphas)
    if not quiet:
        Console().print(table(found))
    if out is not None:
        write_atomically(out, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return found


def sizes() -> dict[str, Any]:
    """Sizes: texts and words of corpora and splits, pairs, prefixes, and shared runs of words."""
    places = [(c, s) for c in FILES for s in (FILM_SPLITS if c == "film" else OTHER_SPLITS)]
    pretraining = builtin.pretraining_texts()
    held_out = [s.text for s in builtin.split("film", "held_out")]
    others = [text for texts in pretraining.values() for text in texts]
    return {
        "corpora": {name: size(builtin.corpus(name)) | {"raters": rater_range(builtin.corpus(name))} for name in FILES},
        "splits": {f"{c}/{s}": size(builtin.split(c, s)) for c, s in places},
        "comparisons": {name: comparison_counts(name) for name in builtin.SPLITS},
        "held_out_prefixes": len(builtin.prefixes("held_out")),
        "pretraining_texts": {name: len(texts) for name, texts in pretraining.items()},
        "held_out_sharing_a_run": {str(n): sharing(held_out, others, n) for n in (8, 7, 6)},
    }


def size(snippets: Sequence[Snippet]) -> dict[str, Any]:
    return {"texts": len(snippets), "words": sum(len(s.text.split()) for s in snippets)}


def rater_range(snippets: Sequence[Snippet]) -> list[int]:
    """The fewest and the most raters of a snippet."""
    numbers = [len(s.ratings) for s in snippets]
    return [min(numbers), max(numbers)]


def comparison_counts(name: str) -> dict[str, Any]:
    """Pairs of a split, those without a tie, and the share of these that goes against the means of all raters."""
    rows = builtin.comparisons(name)
    against = np.array(rows["chosen_mean"]) < np.array(rows["rejected_mean"])
    return {"pairs": sum(1 for _ in builtin.pairs(name)), "kept": len(rows), "against_means": float(against.mean())}


def sharing(texts: Sequence[str], others: Sequence[str], length: int) -> int:
    """How many of `texts` share a run of `length` words with any of `others`."""
    known = {run for other in others for run in word_runs(other, length)}
    return sum(not known.isdisjoint(word_runs(text, length)) for text in texts)


def ceilings(draws: dict[str, int]) -> dict[str, Any]:
    """The human ceiling on the held-out comparisons, and on random pairs of each split in `draws`."""
    random = {f"{name}_random": asdict(builtin.human_ceiling(name, n)) for name, n in draws.items()}
    return {"held_out": asdict(builtin.human_ceiling("held_out"))} | random


def rater_correlations(snippets: Sequence[Snippet]) -> dict[str, float]:
    """Pearson's correlation of each rating with the mean of its snippet's other ratings, and of two halves' means.

    The halves are every second rater, so nothing is drawn.
    """
    one = [(r, (sum(s.ratings) - r) / (len(s.ratings) - 1)) for s in snippets for r in s.ratings]
    halves = [(np.mean(s.ratings[::2]), np.mean(s.ratings[1::2])) for s in snippets]
    return {
        "one_rater_with_the_others": float(np.corrcoef(np.transpose(one))[0, 1]),
        "half_with_other_half": float(np.corrcoef(np.transpose(halves))[0, 1]),
    }


def judged(gold: GoldJudge, alphas: Sequence[float]) -> dict[str, Any]:
    """The gold judge compared with one without a lexicon and with VADER's rule, and its largest errors."""
    fitted_on, held_out = builtin.split("film", "gold"), builtin.split("film", "held_out")
    texts, means = [s.text for s in fitted_on], [s.mean for s in fitted_on]
    bare = GoldJudge.fit(texts, means)
    unseen = [s.text for s in held_out]
    scores, attempts = gold.score(unseen), gold.score(list(ATTEMPTS.values()))
    return {
        "gold": scored(held_out, scores),
        "without_lexicon": scored(held_out, bare.score(unseen)),
        "vader": scored(held_out, vader_rule(unseen)),
        "cross_validation": {str(a): r for a, r in cross_validated(texts, means, lexicon(), alphas).items()},
        **extremes(held_out, scores),
        "attempts": {name: float(score) for name, score in zip(ATTEMPTS, attempts, strict=True)},
    }


def scored(snippets: Sequence[Snippet], scores: Float[ndarray, "N"]) -> dict[str, Any]:
    """`quality` of scores of the held-out snippets, accuracy on their comparisons (a tie is half), and right signs."""
    means = np.array([s.mean for s in snippets])
    by_id = {s.id: score for s, score in zip(snippets, scores, strict=True)}
    pairs = builtin.comparisons("held_out")
    sides = [np.array([by_id[i] for i in pairs[f"{side}_id"]]) for side in ("chosen", "rejected")]
    right = accuracy_scores(sides[0] - sides[1])
    return asdict(quality(scores, means)) | {
        "accuracy": proportion(float(right.sum()), len(right)).as_dict() | {"pairs": len(right)},
        "right_sign": float(right_signs(scores, means).mean()),
    }


def right_signs(scores: Float[ndarray, "N"], means: Float[ndarray, "N"]) -> Bool[ndarray, "M"]:
    """Whether each score has the sign of its mean, for means that are clearly positive or negative."""
    clear = np.abs(means) >= CLEAR
    return np.sign(scores[clear]) == np.sign(means[clear])


def extremes(snippets: Sequence[Snippet], scores: Float[ndarray, "N"], n: int = 3) -> dict[str, Any]:
    """The `n` snippets with the highest and the lowest score, and the one whose score is furthest from its mean."""
    order = np.argsort(-scores, kind="stable")
    worst = np.argmax(np.abs(scores - np.array([s.mean for s in snippets])))

    def shown(i: int) -> dict[str, Any]:
        return {"text": snippets[i].text, "score": float(scores[i]), "mean": snippets[i].mean}

    return {
        "highest": [shown(int(i)) for i in order[:n]],
        "lowest": [shown(int(i)) for i in order[::-1][:n]],
        "worst": shown(int(worst)),
    }


def vader_rule(texts: Sequence[str]) -> Float[ndarray, "N"]:
    """VADER's own `compound` score (−1…1), by its authors' code in the verified archive, unpacked for this call only.

    Hutto & Gilbert (2014).
    """
    with tarfile.open(archive()) as packed, tempfile.TemporaryDirectory() as folder:
        for name in (f"{SOURCE.package}.py", "vader_lexicon.txt", "emoji_utf8_lexicon.txt"):
            file = cast(IO[bytes], packed.extractfile(f"{FOLDER}{SOURCE.package}/{name}"))
            Path(folder, name).write_bytes(file.read())
        spec = importlib.util.spec_from_file_location(SOURCE.package, Path(folder, f"{SOURCE.package}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        rule = module.SentimentIntensityAnalyzer()
        return np.array([float(rule.polarity_scores(text)["compound"]) for text in texts])


def table(found: dict[str, Any]) -> Table:
    """A table of the most important numbers; the JSON has all of them."""
    shown = Table(
        title="The built-in data and the gold judge", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for name in ("", "value", "95 % interval", "of"):
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, n in found["splits"].items():
        shown.add_row(f"{name}, texts", f"{n['texts']:,}", "", f"{n['words']:,} words")
    for name, n in found["comparisons"].items():
        shown.add_row(f"comparisons {name}", f"{n['kept']:,}", "", f"{n['pairs']:,} pairs")
    for name, c in found["ceiling"].items():
        shown.add_row(f"human ceiling {name}", f"{c['agreement']:.1%}", span(c, ".1%"), f"{c['pairs']:,} pairs")
    for name, value in found["raters"].items():
        shown.add_row(name.replace("_", " "), f"{value:.3f}", "", "held-out")
    for name in ("gold", "without_lexicon", "vader"):
        q, label = found[name], name.replace("_", " ")
        shown.add_row(f"{label}: Pearson", f"{q['correlation']:.3f}", span(q, ".3f"), f"{q['texts']:,} texts")
        shown.add_row(f"{label}: Spearman", f"{q['spearman']:.3f}", "", f"slope {q['slope']:.2f}")
        pairs = f"{q['accuracy']['pairs']} pairs"
        shown.add_row(f"{label}: accuracy", f"{q['accuracy']['mean']:.1%}", span(q["accuracy"], ".1%"), pairs)
        shown.add_row(f"{label}: right sign", f"{q['right_sign']:.1%}")
    for alpha, value in found["cross_validation"].items():
        shown.add_row(f"cross-validation, α = {alpha}", f"{value:.3f}", "", "gold")
    for kind, rows in [("highest", found["highest"]), ("lowest", found["lowest"]), ("worst", [found["worst"]])]:
        for row in rows:
            shown.add_row(
                escape(f"{kind}: {row['text'][:22]}…"), f"{row['score']:.2f}", "", f"people {row['mean']:.1f}"
            )
    for name, score in found["attempts"].items():
        shown.add_row(f"attempt: {name}", f"{score:.2f}")
    return shown


def span(interval: dict[str, Any], form: str) -> str:
    return f"{interval['low']:{form}}–{interval['high']:{form}}"
