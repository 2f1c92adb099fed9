"""What a row has beside its prompt and responses: keywords for the chat template, and columns that nothing reads.

TRL's columns: `tools` and `chat_template_kwargs`. `documents`, and every other column that the chat template names, are
keywords too, as in `apply_chat_template(messages, tools=…, documents=…, **others)`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import jinja2
from datasets import Dataset
from jinja2 import meta
from transformers import PreTrainedTokenizerBase

from burnish.data.columns import rows_of
from burnish.data.formats import Example
from burnish.data.messages import calls, parsed
from burnish.run import UserError, warn

TOOLS, KEYWORDS = "tools", "chat_template_kwargs"
KEYS = (TOOLS, "documents", KEYWORDS)
MEANS = ("chosen_mean", "rejected_mean")
"""Columns of comparisons that no method reads: the means of all raters of either response."""
OWN = {
    *("messages", "conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize"),
    *("padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    *("tokenizer_kwargs", "raise_exception", "strftime_now"),
}
"""What Burnish or `apply_chat_template` sets itself."""

_GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")


def template_variables(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """The variables that the tokenizer's chat templates read and that a caller may set."""
    written: Any = tokenizer.chat_template or {}
    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])
    found: set[str] = set()
    for template in written.values() if isinstance(written, dict) else [written]:
        try:
            found |= meta.find_undeclared_variables(environment.parse(_GENERATION.sub("", template)))
        except jinja2.TemplateError:  # rendering will say what is wrong
            continue
    return frozenset(found - OWN - environment.globals.keys() - tokenizer.special_tokens_map.keys())


def option_columns(dataset: Dataset, used: Iterable[str], variables: frozenset[str]) -> tuple[str, ...]:
    """The columns with keywords for the chat template: those in `KEYS`, and those that it names."""
    return tuple(name for name in dataset.column_names if name not in used and (name in KEYS or name in variables))


def with_options(
    examples: Iterable[Example],
    dataset: Dataset,
    columns: tuple[str, ...],
    name: str,
    per_row: int,
    variables: frozenset[str] | None,
) -> Iterator[Example]:
    """The examples with their rows' keywords for the chat template; row i of the data gives `per_row` numbers from
    i·`per_row` on, in order. Warns of keywords that are not among the template's `variables`, and of those of plain
    text, which has no template."""
    rows = enumerate(rows_of(dataset, columns))
    number, cells = next(rows, (0, ()))
    unread = 0
    unknown: Counter[str] = Counter()
    for example in examples:
        while number < example.row // per_row:
            number, cells = next(rows)
        options = _options(dict(zip(columns, cells, strict=True)), f"{name}, row {number}: column")
        if options and not example.conversational:
            unread += 1
            options = {}
        unknown.update(options.keys() - variables if variables is not None else ())
        yield replace(example, template_options=options)
    if unread:
        listed = " and ".join(f"`{column}`" for column in columns)
        warn(f"{name}: {unread:,} rows of plain text have {listed}, which only the template of a conversation reads.")
    for keyword, rows_with in sorted(unknown.items()):
        warn(f"{name}: the chat template does not read `{keyword}`, which {rows_with:,} rows have.")


def checked(examples: Iterable[Example], kind: str, name: str) -> Iterator[Example]:
    """The examples; warns, after the last, of what is read as it stands but is seldom meant.

    Feedback with one label only, and plain responses that repeat their prompt in every row.
    """
    labels: set[bool | None] = set()
    repeats, rows = True, 0
    for example in examples:
        labels.add(example.desirable)
        rows += 1
        prompt = "" if isinstance(example.prompt, list) else example.prompt
        said = bool(prompt.strip()) and bool(example.responses)
        repeats &= said and all(str(text).startswith(prompt) for text in example.responses)
        yield example
    if kind == "feedback" and rows and len(labels) == 1:
        what = "desirable" if True in labels else "not desirable"
        warn(f"{name}: every response is labelled {what}; KTO learns from the contrast of both.")
    if rows and repeats:
        warn(
            f"{name}: every response begins with its prompt, which the model then reads twice; remove it from the "
            "response if it is not meant."
        )


def _options(cells: dict[str, Any], where: str) -> dict[str, Any]:
    """A row's keywords for the chat template. Raises UserError for a type that no template can read."""
    found = {column: cell for column, cell in cells.items() if cell not in (None, "") and column != KEYWORDS}
    for column in (TOOLS, "documents"):
        if column in found:
            found[column] = _list(found[column], f"{where} `{column}`")
    return {key: value for key, value in found.items() if value != []} | _keywords(cells.get(KEYWORDS), where)


def _list(cell: Any, where: str) -> list[Any]:
    """Tools or documents: a list of objects, or the JSON text of the list or of each."""
    each = calls(cell, where) if isinstance(cell, str) else cell
    if not isinstance(each, list):
        raise UserError(f"{where} is of type {type(cell).__name__}, but it must be a list; fix or remove the row.")
    found = [parsed(one, where) if isinstance(one, str) else one for one in each]
    if not all(isinstance(one, dict) for one in found):
        raise UserError(f"{where} must be a list of objects; fix or remove the row.")
    return found


def _keywords(cell: Any, where: str) -> dict[str, Any]:
    found = parsed(cell, f"{where} `{KEYWORDS}`") if isinstance(cell, str) and cell else cell or {}
    if not isinstance(found, dict):
        raise UserError(f"{where} `{KEYWORDS}` must be an object of keywords; fix or remove the row.")
    if own := sorted((OWN | {TOOLS, "documents"}) & found.keys()):
        raise UserError(f"{where} `{KEYWORDS}` sets `{own[0]}`, which is set apart from these; remove the key.")
    return found
