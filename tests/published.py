"""Small files in exactly the columns and types in which the data sets are published; the texts are our own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tiny
from datasets import Dataset

from burnish.data import columns
from burnish.data.messages import SPEAKERS
from burnish.data.sources import load

SAMPLES = Path(__file__).parent / "data" / "samples"


def sample(name: str) -> Path:
    (found,) = SAMPLES.glob(f"{name}.*")
    return found


HH = sample("hh_rlhf")
TLDR = sample("tldr_comparisons")
ULTRAFEEDBACK = sample("ultrafeedback_binarized")
KTO = sample("kto")
SHP = sample("shp")
HELPSTEER = sample("helpsteer2")
SHAREGPT = sample("sharegpt")
RANKED = sample("ranked")
RANKED_BY_NUMBERS = sample("ranked_by_numbers")
MARGINS = sample("margins_and_confidences")

PAIRS = (HH, TLDR, ULTRAFEEDBACK, SHP, HELPSTEER, MARGINS)
FILES = (*PAIRS, RANKED, RANKED_BY_NUMBERS, KTO, SHAREGPT)
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% if m['role'] == 'assistant' %}</s> {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
)


def save_model(folder: Path, template: str | None = TEMPLATE) -> Path:
    """A tiny random model whose words are those of the samples."""
    words = {word for file in FILES for row in rows_of(load(file)) for text in texts(row) for word in text.split()}
    words |= {"Human:", "Assistant:", "SUBREDDIT:", "TITLE:", "POST:", "Article:", "TL;DR:", ":", *SPEAKERS.values()}
    tokenizer = tiny.make_tokenizer(sorted(words))
    tokenizer.chat_template = template
    tiny.make_model(vocab_size=len(words) + 3, n_positions=256).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows_of(dataset: Dataset) -> list[list[Any]]:
    return [list(cells) for cells in columns.rows_of(dataset, dataset.column_names)]


def texts(cell: Any) -> Iterator[str]:
    """Every text in a row."""
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, dict | list):
        for part in cell.values() if isinstance(cell, dict) else cell:
            yield from texts(part)
