"""How good a model's English is, beside people's: `python bench/english.py MODEL [MODEL …] --out FOLDER`.

Prints a column per model and one of people, and writes all numbers and a page of pairs for guessing into FOLDER.
SmolLM2 judges; words exist if WordNet has them or two training texts do. A few minutes a model.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from burnish.data import written
from burnish.evaluation.english import vocabulary
from burnish.policies.language.policy import load_policy
from burnish.policies.language.smollm2 import NAME
from burnish.recipes.assets import resolve_model
from burnish.recipes.writing.dictionary import FEWEST_TEXTS, dictionary
from burnish.recipes.writing.measure import SAMPLES, blind_page, measure
from burnish.recipes.writing.text import parts

ROWS = {"nats": "{:.2f}", "invented": "{:.2%}", "copy": "{}", "distinct_2": "{:.3f}", "words": "{:.1f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", type=Path, help="written.txt.xz of a pretraining; default: the text that ships")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    wrote = written.unpack(given.text) if given.text else written.shipped()
    training = [text for part in parts(wrote).values() for text in part]
    exists = words_of(training)
    judge = load_policy(resolve_model(NAME))
    given.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for number, model in enumerate(given.models, start=1):
        policy = load_policy(resolve_model(model))
        found[model] = measure(policy, training, exists, judge, given.samples)
        (given.out / f"pairs-{number}.md").write_text(blind_page(found[model]["continuations"]), encoding="utf-8")
    (given.out / "english.json").write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    print("\n".join(table(found)))


def words_of(training: Sequence[str]) -> Callable[[str], bool]:
    """Whether a word exists: WordNet has it, or two of the training texts do."""
    return dictionary(vocabulary(training, FEWEST_TEXTS))


def table(found: dict) -> list[str]:
    """Rows in Markdown, a column per model and the last of people."""
    rows = ["| | " + " | ".join([*found, "people"]) + " |", "|---" * (len(found) + 2) + "|"]
    for unit in ("word", "byte"):
        values = [f"{one['held_out'][f'perplexity_per_{unit}']:,.3f}" for one in found.values()]
        rows.append(f"| perplexity per {unit} | " + " | ".join([*values, ""]) + " |")
    people = next(iter(found.values()))["people"]
    for name, form in ROWS.items():
        values = [form.format(one[name]) for one in [*(one["ours"] for one in found.values()), people]]
        rows.append(f"| {name} | " + " | ".join(values) + " |")
    return rows


if __name__ == "__main__":
    main()
