"""Tokenises a data set of demonstrations, preferences or feedback for training.

A row is a prompt with its responses, each with one trained end, at most `max_length` ids. `adapters` maps columns to
prompts and responses, `templates` turns conversations into text, `encode` turns text into ids.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from burnish.data import adapters
from burnish.data.adapters import Reading
from burnish.data.beside import template_variables
from burnish.data.encode import Encoder, check_length
from burnish.data.fit import Fitted, cut_left, fit
from burnish.data.formats import Example, Messages
from burnish.data.holdout import Holdout
from burnish.data.partners import with_partners
from burnish.data.rendering import USUAL, Rendering
from burnish.data.templates import RejectedError
from burnish.data.tokenised import Row, Tokenised, chunks, collect
from burnish.run import UserError, warn

_COUNTS = (
    "rows",
    "used",
    "dropped",
    "formatting_only",
    "truncated_prompts",
    "truncated_responses",
    "long_prompts",
    "equal",
)


def demonstrations(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str,
    how: Rendering = USUAL,
    only: Holdout | None = None,
    known: str | None = None,
) -> Tokenised:
    """Tokenise demonstrations; the response is trained, in conversations every assistant turn.

    A conversation becomes several rows if the chat template rewrites earlier turns. `known` is the format of a
    stream's first block where the rows are a later one, which may have no usable row. Raises UserError for an invalid
    row, a tokenizer without EOS, and if no row is left.
    """
    reading = read("demonstrations", dataset, tokenizer, name, only, known)
    return tokenise(reading, "demonstrations", tokenizer, max_length, name, how, later=known is not None)


def preferences(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str,
    how: Rendering = USUAL,
    only: Holdout | None = None,
    known: str | None = None,
) -> Tokenised:
    """Tokenise comparisons; rows with equal responses are kept, counted and warned about.

    Raises UserError as `demonstrations` does, and if the responses are equal in every row.
    """
    reading = read("preferences", dataset, tokenizer, name, only, known)
    found = tokenise(reading, "preferences", tokenizer, max_length, name, how, later=known is not None)
    if known is None and found.counts["equal"] == len(found):
        raise UserError(f"{name}: chosen and rejected are equal in every row; use data in which they differ.")
    if found.counts["equal"]:
        warn(
            f"{name}: {found.counts['equal']} of {len(found)} rows have chosen and rejected responses with the same "
            "tokens; they are kept, but have no effect."
        )
    return found


def feedback(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str,
    how: Rendering = USUAL,
    only: Holdout | None = None,
    known: str | None = None,
) -> Tokenised:
    """Tokenise feedback; each row has its own response and, after the same prompt, the response of another row.

    Raises UserError as `demonstrations` does, and if only one row is left; in a later block of a stream, whose rows are
    paired with one another, such a row is left out and counted.
    """
    reading = read("feedback", dataset, tokenizer, name, only, known)
    examples: dict[int, Example] = {}

    def noted() -> Iterator[Example]:
        for example in reading.examples:
            examples[example.row] = example
            yield example

    noting = replace(reading, examples=noted())
    found = tokenise(noting, "feedback", tokenizer, max_length, name, how, later=known is not None)
    if len(found) < 2 and known is not None:
        left_out = found.counts | {"used": 0, "unpaired": len(found)}
        return replace(found, dataset=found.dataset.select([]), counts=left_out)
    if len(found) < 2:
        raise UserError(
            f"{name}: only one row is left, but the KL divergence is estimated with responses of other rows; use at "
            "least two."
        )
    encoder = Encoder.of(tokenizer, how)
    pairs = with_partners(found.dataset.with_format(None), examples, encoder, max_length, name)
    dataset, _, fingerprint = collect(chunks(pairs), "feedback")
    return replace(found, dataset=dataset, fingerprint=fingerprint)


def read(
    kind: str,
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    only: Holdout | None = None,
    known: str | None = None,
) -> Reading:
    """A data set's examples, or `only` a part of them; dialogues are messages if the tokenizer has a chat template.

    Rows of a stream behind its first block are read in the format of that block, `known`.
    """
    found = adapters.read(kind, dataset, name, bool(tokenizer.chat_template), template_variables(tokenizer), known)
    return found if only is None else only.part(found, name)


def tokenise(
    reading: Reading,
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str,
    how: Rendering = USUAL,
    later: bool = False,
) -> Tokenised:
    """Tokenise examples; `name` identifies the data in messages. Only a `later` part of the data may give no row.

    The counts of the result: `rows` read (several per conversation if the template rewrites turns), `used`, `dropped`
    (some response has no trained token within `max_length`), `formatting_only` (dropped only because of
    `how.mask_formatting`) and `untrained` (every turn is marked as not to be trained); `truncated_prompts`,
    `truncated_responses` and `equal` (all responses have the same tokens) among the rows used; among all rows,
    `long_prompts`, whose prompt alone exceeds `max_length`; what `templates` notes; and the rows that the format's
    reader skipped.
    """
    encoder = Encoder.checked(tokenizer, max_length, name, how)
    counts = Counter(dict.fromkeys(_COUNTS, 0))

    def rows() -> Iterator[Row]:
        for found in fit(reading.examples, encoder, max_length, name):
            count(found, counts, max_length)
            one = found.example
            if found.responses:
                yield Row(
                    one.row, found.responses, one.margin, one.confidence, one.desirable, found.start, found.cut_prompt
                )

    dataset, sizes, fingerprint = collect(chunks(rows()), kind)
    if not counts["used"] and not later:
        raise UserError(
            f"{name}: none of its {counts['rows']} rows has a response token within max_length {max_length}; raise it."
            if counts["rows"]
            else f"{name} has no rows; use a data set with at least one."
        )
    return Tokenised(
        dataset,
        dict(counts) | reading.left_out | sizes,
        fingerprint,
        name,
        reading.columns,
        kind,
        reading.unread,
        format=reading.format,
        per_row=reading.per_row,
    )


def check_options(counts: Mapping[str, int], how: Rendering, name: str) -> None:
    """Raise UserError for an option that these data give nothing to do."""
    if not how.train_thoughts and not counts.get("thoughts"):
        raise UserError(f"{name}: no answer has a thought, so train_thoughts changes nothing; leave it out.")
    if how.last_answer_only and not counts.get("earlier_answers"):
        raise UserError(f"{name}: no row has more than one answer to train; leave out last_answer_only.")


def count(found: Fitted, counts: Counter[str], max_length: int) -> None:
    """Update the counts with one row."""
    counts["rows"] += 1
    counts.update(found.notes)
    counts["long_prompts"] += len(found.prompt) > max_length
    if not found.responses:
        counts[found.dropped] += found.dropped not in found.notes
        return
    counts["used"] += 1
    counts["truncated_prompts"] += found.cut_prompt > 0
    counts["truncated_responses"] += sum(cut > 0 for cut in found.cut_responses)
    first, *others = found.responses
    counts["equal"] += bool(others) and all(other.tokens == first.tokens for other in others)


def prompts(
    texts: Sequence[str | Messages],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str = "prompts",
    options: Sequence[dict[str, Any]] | None = None,
    how: Rendering = USUAL,
) -> list[list[int]]:
    """Tokenise prompts to sample from, each at most `max_length` ids: a BOS at the beginning, if any, and the last ids.

    A conversation is rendered with the generation prompt, or continued if it ends with the assistant's words; `options`
    are keywords for the chat template, per prompt. Raises UserError for a prompt without ids.
    """
    check_length(max_length)
    encoder = Encoder.of(tokenizer, how)
    whole = encoder.prompts(texts, options or [{}] * len(texts), name)
    for number, ids in enumerate(whole):
        if not ids:
            raise UserError(
                f"{name}, row {number}: is empty, and the tokenizer adds no BOS token; add text or remove the row."
            )
    return [cut_left(ids, max_length, encoder.bos) for ids in whole]


def questions(
    texts: Sequence[str | Messages],
    tokenizer: PreTrainedTokenizerBase,
    options: Sequence[dict[str, Any]] | None = None,
) -> list[list[int] | str]:
    """Each of the prompts as `prompts` does it, none of them cut; in the place of one that has no ids, why."""
    encoder = Encoder.of(tokenizer)
    found: list[list[int] | str] = []
    for text, keywords in zip(texts, options or [{}] * len(texts), strict=True):
        try:
            ids = encoder.prompts([text], [keywords], "the question")[0]
            found.append(ids or "the question is empty, and the tokenizer adds no BOS token")
        except RejectedError as error:
            found.append(error.problem)
    return found
