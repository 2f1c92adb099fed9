"""The whole training text of the embedded model: what SmolLM2 wrote, WordNet's examples and the four corpora."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from burnish.data import builtin, wordnet
from burnish.data.written import pack, shipped, shipped_facts, shipped_shards, unpack
from burnish.evaluation.english import spelled
from burnish.recipes.writing.dictionary import dictionary
from burnish.recipes.writing.filters import Seen, copies, kept, runs_of
from burnish.recipes.writing.write import RECIPE, shards
from burnish.run import UserError, read_jsonl, read_mapping, sha256, write_atomically

WEIGHTS = {"written": 1, "wordnet": 1, "film": 3, "product": 2, "news": 2, "tweets": 1}
"""How often an epoch has each text of a part. In six epochs film reviews are read as often as once in eighteen."""

NAME, FACTS = "written.txt.xz", "written.json"


def held_out() -> list[str]:
    """The film reviews that no model has seen."""
    return list(builtin.demonstrations("held_out")["text"])


def parts(written: Sequence[str], exists: Callable[[str], bool] | None = None) -> dict[str, list[str]]:
    """The texts of each part, in the order of `WEIGHTS`.

    None is a near duplicate of a held-out review or shares a run of eight words with one: written texts and WordNet's
    examples because such ones are left out here, the others by their splits (see docs/data.md). A text of people with a
    word that does not exist is left out, as written ones were: `exists` says which do, by default a `dictionary`.
    """
    reviews, exists = held_out(), exists or dictionary()
    people = {"wordnet": apart(wordnet.examples(), reviews)} | builtin.pretraining_parts()
    return {"written": apart(written, reviews)} | {name: existing(texts, exists) for name, texts in people.items()}


def existing(texts: Iterable[str], exists: Callable[[str], bool]) -> list[str]:
    """The texts in which every word exists: a model that reads misspelled words and rare names invents others."""
    return [text for text in texts if all(map(exists, spelled(text)))]


def apart(texts: Iterable[str], reviews: Sequence[str]) -> list[str]:
    """The texts that are far from all `reviews`, and from each other."""
    runs, seen = runs_of(reviews), Seen(reviews)
    return [text for text in texts if not copies(text, runs) and seen.reason(text) is None]


def epoch(found: dict[str, list[str]]) -> list[str]:
    """The texts of an epoch: those of each part as often as its weight says."""
    return [text for name, texts in found.items() for text in texts * WEIGHTS[name]]


def freeze(out: Path, folder: Path | None) -> list[str]:
    """The written texts of the training in `out`, which are the same ever after: other shards do not change them.

    The first time they are those that ship, followed by those of the complete shards in `folder`, see `part`. `out`
    then has them in `written.txt.xz`, and in `written.json` where they come from.

    Raises UserError where `out` has a file of another checksum than is noted, and what `part` raises.
    """
    path, facts = out / NAME, out / FACTS
    if path.exists() and facts.exists():
        if sha256(path) != read_mapping(facts)["sha256"]:
            raise UserError(f"{path} is not the file that {facts} describes: restore it or choose another --out")
        return unpack(path)
    texts, noted = shipped(), shipped_facts()
    if folder is not None:
        more, of_more = part(folder)
        texts, noted = [*texts, *more], [*noted, of_more]
    write_atomically(path, pack(texts))
    write_atomically(facts, json.dumps({"sha256": sha256(path), "parts": noted}, indent=2) + "\n")
    return texts


def part(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The texts of the complete shards in `folder` that the filters keep, and where they come from: `written_with`,
    the checksums of the `shards`, `words` and `counts` by filter.

    Shards that ship already are left out, and duplicates of texts that ship. Raises UserError for a folder without
    other shards.
    """
    complete = shards(folder)
    recipe = read_mapping(folder / RECIPE)
    known = shipped_shards(recipe)
    found = [path for path in complete if path.name not in known]
    if not found:
        raise UserError(f"all shards in {folder} come with Burnish: leave --text out, or write more of them")
    rows = [row for path in found for row in read_jsonl(path)]
    texts, counts = kept(rows, held_out(), dictionary(), shipped())
    noted = {
        "written_with": recipe,
        "shards": {path.name: sha256(path) for path in found},
        "words": {"written": _words(row["text"] for row in rows), "kept": _words(texts)},
        "counts": counts,
    }
    return texts, noted


def _words(texts: Iterable[str]) -> int:
    return sum(len(text.split()) for text in texts)
