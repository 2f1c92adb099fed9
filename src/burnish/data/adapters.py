"""Detects a data set's format from its columns and reads its rows as examples.

Published data sets with columns of their own are read by the functions in `dialogues`; what they call a post, a history
or a transcript is a dialogue here. If the tokenizer has a chat template (`chat`), dialogues are lists of messages;
otherwise they are text with the markers "\\n\\nHuman:" and "\\n\\nAssistant:".
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from datasets import Dataset

from burnish.data import beside, cells, dialogues, formats, labels
from burnish.data.columns import column as cells_of
from burnish.data.dialogues import Source
from burnish.data.formats import Example
from burnish.run import UserError

MARGIN, CONFIDENCE, SCORES = "margin", "confidence", ("score_chosen", "score_rejected")
TWICE = ", two rows per pair"


@dataclass(frozen=True)
class Reading:
    """A data set with its detected format: the format's name, the columns that identify it, and its examples.

    `left_out` counts by reason what gives no example; it is filled while `examples` is iterated. `beside` are further
    columns that are read, and `per_row` is the number of examples of a row.
    """

    format: str
    columns: tuple[str, ...]
    examples: Iterator[Example]
    left_out: Counter[str] = field(default_factory=Counter)
    beside: tuple[str, ...] = ()
    per_row: int = 1
    unread: tuple[str, ...] = ()
    """The data set's other columns; filled by `read`."""


@dataclass(frozen=True)
class _Format:
    """A format of comparisons: its name, its required columns, and the function that reads its rows."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Source], Iterator[Example]]
    fits: Callable[[Dataset], bool] = lambda dataset: True
    pairs: bool = True
    """Whether each row is one pair, so that it can have the columns `margin` and `confidence`."""
    plain_prompts: bool = False
    """Whether its prompts are read as those of the formats in `formats`."""
    beside: tuple[str, ...] = ()
    """Columns that are read where there are any."""


def _standard(source: Source) -> Iterator[Example]:
    return formats.preferences(source.dataset, source.name)


def _scored(source: Source) -> Iterator[Example]:
    """Comparisons with a judge's scores of both responses; the margin is score_chosen − score_rejected."""
    if not any(_has_values(source.dataset, column) for column in SCORES):
        yield from _standard(source)
        return
    for example, (number, row) in zip(_standard(source), cells.rows(source.dataset, SCORES), strict=True):
        chosen, rejected = (cells.number(row[c], source.where(number, c)) for c in SCORES)
        yield replace(example, margin=chosen - rejected)


LABELS = "labels of burnish label"

COMPARISONS = (
    _Format(LABELS, labels.VOTES, labels.comparisons, pairs=False, plain_prompts=True, beside=labels.BESIDE),
    _Format("UltraFeedback binarized", ("prompt", "chosen", "rejected", *SCORES), _scored, plain_prompts=True),
    _Format("prompt, chosen and rejected", ("prompt", "chosen", "rejected"), _standard, plain_prompts=True),
    _Format("Anthropic HH-RLHF", ("chosen", "rejected"), dialogues.transcripts, dialogues.are_transcripts),
    _Format("chosen and rejected with scores", ("chosen", "rejected", *SCORES), _scored, plain_prompts=True),
    _Format("chosen and rejected with an implicit prompt", ("chosen", "rejected"), _standard, plain_prompts=True),
    _Format("OpenAI TL;DR comparisons", ("info", "summaries", "choice"), dialogues.summaries),
    _Format(
        "Stanford Human Preferences",
        ("history", "human_ref_A", "human_ref_B", "labels"),
        dialogues.forum_comments,
        beside=("score_A", "score_B"),
    ),
    _Format(
        "prompt and ranked responses",
        formats.RANKED,
        lambda source: formats.ranked(source.dataset, source.name),
        pairs=False,
        beside=("ranks",),
    ),
    _Format(
        "HelpSteer ratings", ("prompt", "response", "helpfulness"), dialogues.rated("helpfulness", True), pairs=False
    ),
    *(
        _Format(
            f"responses with a {rating}",
            ("prompt", "response", rating),
            dialogues.rated(rating, False),
            pairs=False,
            plain_prompts=True,
        )
        for rating in ("rating", "score")
    ),
)
"""The formats of comparisons, in the order in which they are tried; the first match is used."""


def preferences(dataset: Dataset, name: str, chat: bool = False, known: str | None = None) -> Reading:
    """Read comparisons. Raises UserError, naming the columns found and needed, if the data has none."""
    found = _comparisons(dataset, known)
    if found is None:
        if formats.match(dataset, (formats.FEEDBACK,)):
            raise UserError(
                f"{name}: `completion` and `label` are single responses labelled good or bad, which are data for "
                "`burnish kto`; comparisons need `chosen` and `rejected`."
            )
        formats.preference_columns(dataset, name)  # raises, with the missing columns
        raise AssertionError("columns of comparisons that match no format")
    source = Source(dataset, name, chat)
    others = (*found.beside, MARGIN, CONFIDENCE) if found.pairs else found.beside
    return Reading(found.name, found.columns, _with_certainty(source, found), source.left_out, others)


def feedback(dataset: Dataset, name: str, chat: bool = False, known: str | None = None) -> Reading:
    """Read single responses labelled desirable or undesirable.

    The pair in row i of a data set of comparisons gives two examples: row 2i, desirable, with the chosen response and
    row 2i + 1, undesirable, with the rejected one.
    """
    if formats.match(dataset, (formats.FEEDBACK,)):
        return Reading("KTO's prompt, completion and label", formats.FEEDBACK, formats.feedback(dataset, name))
    found = _comparisons(dataset, known and known.removesuffix(TWICE))
    if found is None:
        needed = "`prompt`, `completion` and `label`, or comparisons"
        have = formats.listed(dataset)
        raise UserError(f"{name}: feedback needs {needed}, but its columns are {have}; rename the columns.")
    if found.columns == formats.RANKED:
        raise UserError(
            f"{name}: a ranking does not say which responses are good; use pairs, or `prompt`, `completion`, `label`."
        )
    source = Source(dataset, name, chat)
    if found.name == LABELS:
        examples = labels.singles(source)
        return Reading(found.name + TWICE, found.columns, examples, source.left_out, found.beside, per_row=2)
    examples = (single for pair in found.read(source) for single in _singles(pair))
    return Reading(found.name + TWICE, found.columns, examples, source.left_out, per_row=2)


def demonstrations(dataset: Dataset, name: str, chat: bool = False, known: str | None = None) -> Reading:
    """Read demonstrations. Raises UserError for comparisons, and for completions with a boolean `label`."""
    found = _comparisons(dataset)
    if found and not formats.match(dataset, formats.DEMONSTRATIONS):
        raise UserError(
            f"{name}: these are comparisons ({found.name}), which are data for `burnish dpo`; demonstrations need "
            "`text`, or `messages`, or `prompt` and `completion`."
        )
    columns = formats.demonstration_columns(dataset, name)
    if known is None and columns == ("prompt", "completion") and _is_boolean(dataset, "label"):
        raise UserError(
            f"{name}: `label` marks some completions as bad; use `burnish kto`, or keep only the good rows and remove "
            "that column."
        )
    known = {"conversations": "ShareGPT conversations"}.get(columns[0], " and ".join(columns))
    return Reading(known, columns, formats.demonstrations(dataset, name))


def prompts(dataset: Dataset, name: str, chat: bool = False, known: str | None = None) -> Reading:
    """Read prompts: the same ones that a preference method would train on with the same data."""
    found = _comparisons(dataset, known)
    if found is None or found.plain_prompts:
        columns = formats.prompt_columns(dataset, name)
        known = {"conversations": "ShareGPT conversations"}.get(columns[0], " and ".join(columns))
        return Reading(known, columns, formats.prompts(dataset, name))
    source = Source(dataset, name, chat)
    if "helpfulness" in found.columns:
        return Reading(found.name, ("prompt",), dialogues.questions(source))
    examples = (replace(example, responses=(), margin=None) for example in found.read(source))
    columns = found.columns if found.columns[0] == "chosen" else found.columns[:1]
    return Reading(found.name, columns, examples, source.left_out)


def read(
    kind: str,
    dataset: Dataset,
    name: str,
    chat: bool,
    variables: frozenset[str] | None = None,
    known: str | None = None,
) -> Reading:
    """A data set of the `kind`, with what its rows have for the chat template, whose `variables` a row may set.

    `known` is the format of rows that other rows of the same data were found to have; without it these rows decide.

    What the template does not read is warned about, unless its variables are not known.

    Raises UserError as the kind's own reader does, and while it is iterated for cells that are not valid.
    """
    found = READERS[kind](dataset, name, chat, known)
    used = {*found.columns, *found.beside}
    options = beside.option_columns(dataset, used, variables if chat and variables else frozenset())
    examples = found.examples
    if options:
        examples = beside.with_options(examples, dataset, options, name, found.per_row, variables)
    unread = () if kind == "prompts" else tuple(c for c in dataset.column_names if c not in used | {*options})
    columns = found.columns if kind == "prompts" else (*found.columns, *options)  # a reward may want them too
    return replace(found, columns=columns, examples=beside.checked(examples, kind, name), unread=unread)


READERS: dict[str, Callable[[Dataset, str, bool, str | None], Reading]] = {
    "demonstrations": demonstrations,
    "preferences": preferences,
    "feedback": feedback,
    "prompts": prompts,
}


def are_comparisons(dataset: Dataset) -> bool:
    """Whether the columns are those of a format of comparisons."""
    return _comparisons(dataset) is not None


def _comparisons(dataset: Dataset, known: str | None = None) -> _Format | None:
    names = set(dataset.column_names)
    fitting = (one for one in COMPARISONS if names.issuperset(one.columns))
    return next((one for one in fitting if (one.fits(dataset) if known is None else one.name == known)), None)


def _singles(pair: Example) -> tuple[Example, Example]:
    good, bad = pair.responses
    return (
        Example(2 * pair.row, pair.prompt, (good,), desirable=True),
        Example(2 * pair.row + 1, pair.prompt, (bad,), desirable=False),
    )


def _with_certainty(source: Source, found: _Format) -> Iterator[Example]:
    """The examples of a format, with the values of the columns `margin` and `confidence`.

    An empty column is ignored. In any other column an empty confidence counts as 1, and an empty margin is an error.
    """
    known = {c for c in (MARGIN, CONFIDENCE) if c in source.dataset.column_names and _has_values(source.dataset, c)}
    if not known:
        yield from found.read(source)
        return
    if not found.pairs:
        named = " and ".join(f"`{column}`" for column in sorted(known))
        raise UserError(f"{source.name}: {named} can only describe a pair, but a row is not a pair here; remove it.")
    rows = cells.rows(source.dataset, tuple(sorted(known)))
    for example, (number, row) in zip(found.read(source), rows, strict=True):
        if MARGIN in known:
            example = replace(example, margin=cells.number(row[MARGIN], source.where(number, MARGIN)))
        if CONFIDENCE in known:
            confidence = _probability(row[CONFIDENCE], source.where(number, CONFIDENCE))
            example = replace(example, confidence=confidence)
        yield example


def _probability(cell: object, where: str) -> float:
    found = 1.0 if cell is None or cell == "" else cells.number(cell, where)
    if not 0 <= found <= 1:
        raise UserError(
            f"{where} is {found:g}, but it must be the probability that the chosen response is better; use a number "
            "between 0 and 1."
        )
    return found


def _has_values(dataset: Dataset, column: str) -> bool:
    return any(cell not in (None, "") for cell in cells_of(dataset, column))


def _is_boolean(dataset: Dataset, column: str) -> bool:
    """Whether every cell of a column is true or false, as a boolean or as text; numbers may mean something else."""
    if column not in dataset.column_names:
        return False
    return all(str(cell).strip().lower() in ("true", "false") for cell in cells_of(dataset, column))
