"""Tokenises a data set of demonstrations, preferences or feedback for training.

A row is a prompt with its responses: one BOS, one trained EOS, at most `max_length` ids. `adapters` maps columns to
prompts and responses, `encode` turns them into ids.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from burnish.data import adapters, templates
from burnish.data.adapters import Reading
from burnish.data.beside import template_variables
from burnish.data.encode import Encoder, Fitted, cut_left, fit
from burnish.data.formats import Messages
from burnish.data.partners import with_partners
from burnish.data.tokenised import Row, Tokenised, chunks, collect
from burnish.run import UserError

_COUNTS = ("rows", "used", "dropped", "truncated_prompts", "truncated_responses", "long_prompts", "equal")


def demonstrations(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str) -> Tokenised:
    """Tokenise demonstrations; the response is trained, in conversations every assistant turn.

    Raises UserError for an invalid row, a tokenizer without EOS, and if no row is left.
    """
    return tokenise(read("demonstrations", dataset, tokenizer, name), "demonstrations", tokenizer, max_length, name)


def preferences(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str, mask_formatting: bool = False
) -> Tokenised:
    """Tokenise comparisons; rows with equal responses are kept, counted and warned about.

    Raises UserError as `demonstrations` does, and if the responses are equal in every row.
    """
    reading = read("preferences", dataset, tokenizer, name)
    found = tokenise(reading, "preferences", tokenizer, max_length, name, mask_formatting)
    if found.counts["equal"] == len(found):
        raise UserError(f"{name}: chosen and rejected are equal in every row; use data in which they differ.")
    if found.counts["equal"]:
        warnings.warn(
            f"{name}: {found.counts['equal']} of {len(found)} rows have chosen and rejected responses with the same "
            "tokens; they are kept, but have no effect.",
            stacklevel=2,
        )
    return found


def feedback(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str, mask_formatting: bool = False
) -> Tokenised:
    """Tokenise feedback; each row has its own response and, after the same prompt, the response of another row.

    Raises UserError as `demonstrations` does, and if only one row is left.
    """
    reading = read("feedback", dataset, tokenizer, name)
    found = tokenise(reading, "feedback", tokenizer, max_length, name, mask_formatting)
    if len(found) < 2:
        raise UserError(
            f"{name}: only one row is left, but the KL divergence is estimated with responses of other rows; use at "
            "least two."
        )
    pairs = with_partners(found.dataset.with_format(None), max_length)
    dataset, _, fingerprint = collect(chunks(pairs), "feedback")
    return replace(found, dataset=dataset, fingerprint=fingerprint)


def read(kind: str, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, name: str) -> Reading:
    """A data set's examples; dialogues are messages if the tokenizer has a chat template."""
    return adapters.read(kind, dataset, name, bool(tokenizer.chat_template), template_variables(tokenizer))


def tokenise(
    reading: Reading,
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str,
    mask_formatting: bool = False,
) -> Tokenised:
    """Tokenise examples; `name` identifies the data in messages.

    The counts of the result: `rows` read, `used`, `dropped` (some response has no trained token within `max_length`)
    and `formatting_only` (dropped only because of `mask_formatting`); among the rows used, `truncated_prompts`,
    `truncated_responses` and `equal` (all responses have the same tokens); among all rows, `long_prompts`, whose prompt
    alone exceeds `max_length`; and the rows that the format's reader skipped.
    """
    encoder = Encoder.checked(tokenizer, max_length, name)
    counts = dict.fromkeys((*_COUNTS, "formatting_only"), 0)

    def rows() -> Iterator[Row]:
        for found in fit(reading.examples, encoder, max_length, name, mask_formatting):
            count(found, counts, max_length)
            one = found.example
            if found.responses:
                yield Row(one.row, found.responses, one.margin, one.confidence, one.desirable, found.start)

    dataset, sizes, fingerprint = collect(chunks(rows()), kind)
    if not counts["used"]:
        raise UserError(
            f"{name}: none of its {counts['rows']} rows has a response token within max_length {max_length}; raise it."
            if counts["rows"]
            else f"{name} has no rows; use a data set with at least one."
        )
    return Tokenised(
        dataset, counts | reading.left_out | sizes, fingerprint, name, reading.columns, kind, reading.unread
    )


def count(found: Fitted, counts: dict[str, int], max_length: int) -> None:
    """Update the counts with one tokenised example."""
    counts["rows"] += 1
    counts["long_prompts"] += len(found.prompt) > max_length
    if not found.responses:
        counts["formatting_only" if found.formatting_only else "dropped"] += 1
        return
    counts["used"] += 1
    counts["truncated_prompts"] += found.cut_prompt > 0
    counts["truncated_responses"] += sum(cut > 0 for cut in found.cut_responses)
    first, *others = found.responses
    counts["equal"] += bool(others) and all(other.tokens == first.tokens for other in others)


def prompts(
    texts: Sequence[str | Messages], tokenizer: PreTrainedTokenizerBase, max_length: int, name: str = "prompts"
) -> list[list[int]]:
    """Tokenise prompts to sample from: one BOS, then at most the last `max_length` − 1 ids of the text.

    A conversation is rendered with the generation prompt. Raises UserError for a prompt without ids.
    """
    if max_length < 1:
        raise UserError(f"max_length is {max_length}; it must be at least 1.")
    encoder = Encoder.of(tokenizer)
    rendered = [
        text if isinstance(text, str) else templates.render(text, tokenizer, f"{name}, row {number}", answer_next=True)
        for number, text in enumerate(texts)
    ]
    found = [cut_left(encoder.with_bos(ids), max_length, encoder.bos) for ids in encoder.ids(rendered)]
    for number, ids in enumerate(found):
        if not ids:
            raise UserError(
                f"{name}, row {number}: is empty, and the tokenizer has no BOS token; add text or remove the row."
            )
    return found
