"""Reads rows as examples, according to the data set's column names (the names that TRL uses).

Demonstrations: `text` | `messages` or `conversations` | `prompt` + `completion`. Preferences: `prompt` + `chosen` +
`rejected` | `chosen` + `rejected` with an implicit prompt, their common prefix | `prompt` + `responses`, best first or
with `ranks`. Feedback: `prompt` + `completion` + `label`. Prompts: `prompt`, or the prompts of the other formats. Each
is plain (text) or conversational (lists of messages with `role` and `content`, or `from` and `value`). Text next to a
conversation becomes one message: a user message in `prompt`, otherwise an assistant message. Published data sets with
other columns are read by `burnish.data.adapters`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from datasets import Dataset

from burnish.data import cells
from burnish.data.cells import as_messages, check_answer
from burnish.data.messages import Messages, alike, calls
from burnish.run import UserError

DEMONSTRATIONS = (("messages",), ("conversations",), ("prompt", "completion"), ("text",))
_PREFERENCES = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))
_TALKS = ("messages", "conversations")
_PROMPTS = (("prompt",), ("messages",), ("conversations",), ("chosen", "rejected"))
FEEDBACK = ("prompt", "completion", "label")
RANKED = ("prompt", "responses")


@dataclass(frozen=True)
class Example:
    """A prompt with its G responses, best first, all text or all lists of messages; a prompt to be sampled has G = 0.

    In `messages` data the prompt is everything before the first assistant turn. `row` counts from 0. `margin` is how
    much better the first response is, `confidence` the probability that it is better, and `desirable` the label of a
    single response; each is None if the data does not have it. `template_options` are the row's own keyword arguments
    for the chat template, such as `tools`. An assistant message whose key `train` is False is not trained.
    """

    row: int
    prompt: str | Messages
    responses: tuple[str | Messages, ...]
    margin: float | None = None
    confidence: float | None = None
    desirable: bool | None = None
    template_options: dict[str, Any] = field(default_factory=dict)

    @property
    def conversational(self) -> bool:
        return isinstance(self.prompt, list)


def demonstration_columns(dataset: Dataset, name: str) -> tuple[str, ...]:
    """The columns with the demonstrations: `messages` before `prompt` + `completion` before `text`.

    Raises UserError, naming the columns found and needed, if they are missing.
    """
    found = match(dataset, DEMONSTRATIONS)
    if found is None:
        remedy = "rename the columns"
        if match(dataset, _PREFERENCES):
            remedy = "these are comparisons, which are data for `burnish dpo`"
        needed = "`text`, or `messages`, or `prompt` and `completion`"
        raise UserError(f"{name}: demonstrations need {needed}, but its columns are {listed(dataset)}; {remedy}.")
    return found


def preference_columns(dataset: Dataset, name: str) -> tuple[str, ...]:
    """The columns with the comparisons.

    Raises UserError, naming the columns found and needed, if they are missing.
    """
    found = match(dataset, _PREFERENCES)
    if found is None:
        remedy = "rename the columns"
        if match(dataset, DEMONSTRATIONS):
            remedy = "these are demonstrations, which are data for `burnish sft`"
        needed = "`chosen` and `rejected`, with or without `prompt`"
        raise UserError(f"{name}: comparisons need {needed}, but its columns are {listed(dataset)}; {remedy}.")
    return found


def prompt_columns(dataset: Dataset, name: str) -> tuple[str, ...]:
    """The columns that contain the prompts: `prompt` before `messages` before `chosen` + `rejected`.

    Raises UserError, naming the columns found and needed, if they are missing.
    """
    found = match(dataset, _PROMPTS)
    if found is None:
        remedy = "rename the column to `prompt`" if len(dataset.column_names) == 1 else "rename one of them to `prompt`"
        needed = "`prompt`, or `messages`, or `chosen` and `rejected`"
        raise UserError(f"{name}: prompts need {needed}, but its columns are {listed(dataset)}; {remedy}.")
    return found


def prompts(dataset: Dataset, name: str) -> Iterator[Example]:
    """The prompt of each row, without responses; raises UserError as `demonstrations` does.

    In `messages` data the prompt is everything before the first assistant turn, or all messages if there is none.
    """
    columns = prompt_columns(dataset, name)
    if columns == ("chosen", "rejected"):
        yield from (Example(found.row, found.prompt, ()) for found in preferences(dataset, name))
        return
    (column,) = columns
    beside = [c for c in ("completion", "chosen", *_TALKS) if c in dataset.column_names and c != column]
    for number, row in cells.rows(dataset, (column, *beside)):
        value = cells.value(row[column], f"{name}, row {number}: column `{column}`", may_be_empty=column == "prompt")
        if column in _TALKS:
            value = list(takewhile(lambda message: message["role"] != "assistant", as_messages(value, "user")))
        elif any(isinstance(row[c], list) for c in beside):
            value = as_messages(value, "user")
        yield Example(number, value, ())


def demonstrations(dataset: Dataset, name: str) -> Iterator[Example]:
    """Each row as a prompt and one response. Raises UserError, naming row and column, for an invalid cell."""
    columns = demonstration_columns(dataset, name)
    for number, row in cells.rows(dataset, columns):
        values = {c: cells.value(row[c], f"{name}, row {number}: column `{c}`", c == "prompt") for c in columns}
        where = f"{name}, row {number}: column `{columns[-1]}`"
        if columns[0] in _TALKS:
            messages = as_messages(values[columns[0]], "assistant")
            check_answer(messages, where)
            first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
            yield Example(number, messages[:first], (messages[first:],))
        elif columns == ("text",):
            if isinstance(values["text"], list):
                raise UserError(
                    f"{where} contains messages, but `text` is plain text; rename the column to `messages`."
                )
            yield Example(number, "", (values["text"],))
        else:
            yield explicit(number, values["prompt"], [values["completion"]], [where])


def preferences(dataset: Dataset, name: str) -> Iterator[Example]:
    """Each row as a prompt and two responses, chosen first; raises UserError as `demonstrations` does."""
    columns = preference_columns(dataset, name)
    for number, row in cells.rows(dataset, columns):
        where = {c: f"{name}, row {number}: column `{c}`" for c in columns}
        values = {c: cells.value(row[c], where[c], c == "prompt") for c in columns}
        chosen, rejected, places = values["chosen"], values["rejected"], [where["chosen"], where["rejected"]]
        if "prompt" in columns:
            yield explicit(number, values["prompt"], [chosen, rejected], places)
        elif isinstance(chosen, str) and isinstance(rejected, str):
            length = common_prefix(chosen, rejected)
            yield Example(number, chosen[:length], (chosen[length:], rejected[length:]))
        else:
            yield implicit(number, [as_messages(answer, "assistant") for answer in (chosen, rejected)], places)


def feedback(dataset: Dataset, name: str) -> Iterator[Example]:
    """Each row as a prompt and one labelled response; raises UserError as `demonstrations` does."""
    for number, row in cells.rows(dataset, FEEDBACK):
        where = {c: f"{name}, row {number}: column `{c}`" for c in FEEDBACK}
        prompt, completion = (cells.value(row[c], where[c], c == "prompt") for c in FEEDBACK[:2])
        label = cells.truth(row["label"], where["label"])
        yield replace(explicit(number, prompt, [completion], [where["completion"]]), desirable=label)


def ranked(dataset: Dataset, name: str) -> Iterator[Example]:
    """Each row as a prompt and two or more responses, best first; raises UserError as `demonstrations` does.

    If there is a column `ranks`, the smallest rank is the best response's; ranks must be distinct.
    """
    columns = (*RANKED, "ranks") if "ranks" in dataset.column_names else RANKED
    for number, row in cells.rows(dataset, columns):
        where = f"{name}, row {number}: column `responses`"
        given = calls(row["responses"], where) if isinstance(row["responses"], str) else row["responses"]
        found = given if isinstance(given, list) else []
        if len(found) < 2:
            raise UserError(f"{where} has {len(found)} responses, but a comparison needs at least two; remove the row.")
        places = [f"{where}, response {place}" for place in range(len(found))]
        answers = [cells.value(cell, place) for cell, place in zip(found, places, strict=True)]
        if "ranks" in columns:
            order = _order(row["ranks"], len(found), f"{name}, row {number}: column `ranks`")
            answers, places = [answers[i] for i in order], [places[i] for i in order]
        prompt = cells.value(row["prompt"], f"{name}, row {number}: column `prompt`", may_be_empty=True)
        yield explicit(number, prompt, answers, places)


def _order(ranks: object, count: int, where: str) -> list[int]:
    """The indices that sort `count` ranks, smallest first."""
    if not isinstance(ranks, list) or len(ranks) != count:
        raise UserError(f"{where} must contain one number for each of the {count} responses; fix or remove the row.")
    found = [cells.number(rank, where) for rank in ranks]
    if len(set(found)) < count:
        raise UserError(f"{where} contains equal ranks; give each response a different rank, or remove one of them.")
    return sorted(range(count), key=lambda i: found[i])


def common_prefix(chosen: str, rejected: str) -> int:
    """The number of characters in the implicit prompt of `chosen` and `rejected`.

    The prompt is their common prefix up to the beginning of the first word that differs, without the single space
    before it, so that no word is split and each answer keeps its leading space. Both answers keep at least one
    character.

    Source: TRL, `extract_prompt`. Differs: TRL compares single characters, which splits "blue" and "black" after "bl",
    and if one text is a prefix of the other it leaves the shorter one's last character as its answer.
    """
    shortest = min(len(chosen), len(rejected))
    length = next((i for i in range(shortest) if chosen[i] != rejected[i]), shortest)
    if length == shortest:  # one is a prefix of the other: its last word becomes its answer
        while length and chosen[length - 1].isspace():
            length -= 1
    while length and not chosen[length - 1].isspace():
        length -= 1
    return length - 1 if length and chosen[length - 1] == " " else length


def explicit(number: int, prompt: str | Messages, answers: list[str | Messages], where: list[str]) -> Example:
    """A prompt and responses that are in columns of their own, all text or all messages; `where` names the responses.

    Raises UserError for a response without an assistant's message.
    """
    if isinstance(prompt, str) and all(isinstance(answer, str) for answer in answers):
        return Example(number, prompt, tuple(answers))
    messages = as_messages(prompt, "user")
    turns = [as_messages(answer, "assistant") for answer in answers]
    # Some data sets repeat the prompt in front of every answer.
    if all(len(turn) > len(messages) and alike(turn[: len(messages)], messages) for turn in turns):
        turns = [turn[len(messages) :] for turn in turns]
    for turn, place in zip(turns, where, strict=True):
        check_answer(turn, place)
    return Example(number, messages, tuple(turns))


def implicit(number: int, answers: list[Messages], where: list[str]) -> Example:
    """The prompt is the messages that all answers begin with; each answer keeps at least its last message."""
    shortest = min(len(answer) for answer in answers)
    common = 0
    while common < shortest - 1 and all(alike([answer[common]], [answers[0][common]]) for answer in answers):
        common += 1
    turns = [answer[common:] for answer in answers]
    for turn, place in zip(turns, where, strict=True):
        check_answer(turn, place)
    return Example(number, answers[0][:common], tuple(turns))


def match(dataset: Dataset, formats: tuple[tuple[str, ...], ...]) -> tuple[str, ...] | None:
    names = set(dataset.column_names)
    return next((columns for columns in formats if names.issuperset(columns)), None)


def listed(dataset: Dataset) -> str:
    return ", ".join(f"`{column}`" for column in sorted(dataset.column_names)) or "none"
