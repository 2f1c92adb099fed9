"""Renders conversations as text with the tokenizer's chat template, and finds the assistant's turns in it.

The text of a row is the template's own for the whole conversation. An answer is trained in the context in which the
model would generate it: behind the rendering of the messages before it with the generation prompt. If a longer
rendering does not begin with a shorter one, because the template rewrites earlier turns, the conversation gets one row
per answer.
"""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from transformers import PreTrainedTokenizerBase

from burnish.data import thoughts
from burnish.data.formats import Example, Messages
from burnish.data.rendering import USUAL, Rendering, stopped
from burnish.ends import RunawayTemplateError, rendered, template_end
from burnish.run import UserError, first_line

Span = tuple[int, int]


class RejectedError(UserError):
    """A row that the chat template has no text for: `problem` says why, without the row."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {problem}{remedy}")
        self.problem = problem


@dataclass(frozen=True)
class Text:
    """A prompt with its response as one text; characters from `start` on are the response, those of `spans` trained.

    `closed`: the text contains its trained end. `plain` text gets the tokenizer's own special tokens.
    """

    text: str
    start: int
    spans: tuple[Span, ...]
    closed: bool = False
    plain: bool = False


@dataclass(frozen=True)
class Written:
    """An example as texts: per row one text per response, and what is to be counted about it."""

    rows: list[list[Text]]
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Answer:
    """One assistant turn as it is generated: the text up to its end, which begins with its context."""

    text: str
    start: int
    spans: tuple[Span, ...]
    closed: bool
    notes: Counter[str]


@dataclass(frozen=True)
class Template:
    """A tokenizer's chat template: the `end` that it writes after an answer, the special tokens, a thought's tags.

    `at` gives it a row's own keywords, and the beginning of error messages.
    """

    tokenizer: PreTrainedTokenizerBase
    how: Rendering
    end: str | None
    special: frozenset[str]
    where: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, how: Rendering = USUAL) -> "Template":
        number = template_end(tokenizer)
        end = None if number is None else str(tokenizer.convert_ids_to_tokens(number))
        special = {str(token).rstrip() for token in tokenizer.added_tokens_decoder.values() if token.special}
        return cls(tokenizer, how, end, frozenset(special - {""}))

    def at(self, where: str, options: dict[str, Any]) -> "Template":
        """The template for one row."""
        return replace(self, where=where, options=options)

    @property
    def source(self) -> str:
        """The template's own text; empty if there is none."""
        has_one = bool(self.tokenizer.chat_template)
        return str(self.tokenizer.get_chat_template(None, self.options.get("tools"))) if has_one else ""

    @property
    def tags(self) -> thoughts.Tags:
        return thoughts.tags_of(self.source)

    def render(self, messages: Messages, answer_next: bool = False, unfinished: bool = False) -> str:
        """The template's text for `messages`; with `answer_next`, including the generation prompt; `unfinished`
        messages end within the last one.

        Raises UserError if the tokenizer has no template, and RejectedError if the template rejects the messages.
        """
        if not self.tokenizer.chat_template:
            raise UserError(
                f"{self.where}: is a conversation, but the tokenizer has no chat template; set `chat_template` in its "
                "tokenizer_config.json or use plain text."
            )
        shown = [{key: value for key, value in message.items() if key != "train"} for message in messages]
        keywords = self.options | {"add_generation_prompt": answer_next, "continue_final_message": unfinished}
        try:
            if self.how.clock is not None:
                keywords["chat_template"] = stopped(self.source, self.how.clock)
            return rendered(self.tokenizer, shown, **keywords)
        except RunawayTemplateError as error:
            raise RejectedError(
                self.where, f"the chat template {error}", ": fix the template or remove the row."
            ) from error
        except Exception as error:  # whatever the template's own code raises
            problem = f"the chat template rejects its messages ({first_line(error)})"
            raise RejectedError(self.where, problem, "; fix or remove the row.") from error

    def prompt(self, messages: Messages) -> str:
        """A prompt to sample from: with the generation prompt, or unfinished if it ends with the assistant's words."""
        unfinished = bool(messages) and messages[-1]["role"] == "assistant"
        return self.render(messages, answer_next=not unfinished, unfinished=unfinished)

    def ended(self, text: str, start: int) -> tuple[int, bool]:
        """Where the answer that begins at `start` ends, and whether the template wrote an end.

        What follows the template's end is left out. An answer with another special token at its end, such as that of a
        tool call, ends there.
        """
        if self.end is not None and (place := text.rfind(self.end, start)) >= 0:
            return place + len(self.end), True
        written = text.rstrip()
        if len(written) > start and any(written.endswith(token) for token in self.special):
            return len(written), True
        return len(text), False


def conversation(example: Example, template: Template) -> Written:
    """A conversational example as texts with their trained spans.

    There is one row, unless the template rewrites earlier turns; without a trained turn there is none. Raises UserError
    for a template that cannot be used with these messages, and if several responses need more than one row.
    """
    assert isinstance(example.prompt, list)
    if template.how.last_answer_only:
        _check_shared(example, template.where)
    notes: Counter[str] = Counter()
    columns: list[list[Text]] = []
    for response in example.responses:
        assert isinstance(response, list)
        rows, found = _rows(example.prompt, response, template)
        notes += found
        columns.append(rows)
    notes["earlier_answers"] += any(
        sum(message["role"] == "assistant" for message in response) > 1  # type: ignore[index]
        for response in example.responses
    )
    if not all(columns):
        return Written([], Counter(untrained=1))
    longest = max(map(len, columns))
    if longest > 1 and (len(columns) > 1 or example.desirable is not None):
        raise UserError(
            f"{template.where}: the chat template rewrites earlier turns, so a response with several answers is not "
            "one text; put its earlier turns into the prompt, or use last_answer_only if all responses share them."
        )
    if longest > 1:
        notes["rewritten"] += 1
        notes["answers"] += longest
    return Written([list(row) for row in zip(*columns, strict=True)], notes)


def _rows(prompt: Messages, response: Messages, template: Template) -> tuple[list[Text], Counter[str]]:
    """The texts of one response, as few as possible, in the order of their answers."""
    messages, first = [*prompt, *response], len(prompt)
    continued = bool(prompt) and prompt[-1]["role"] == response[0]["role"] == "assistant"
    if continued:
        messages, first = [*prompt[:-1], _joined(prompt[-1], response[0], template.where), *response[1:]], first - 1
    turns = [i for i in range(first, len(messages)) if messages[i]["role"] == "assistant"]
    turns = turns[-1:] if template.how.last_answer_only else turns
    turns = [i for i in turns if messages[i].get("train", True)]
    begun = {first: template.prompt(prompt)} if continued else {}
    answers = [_answer(messages[: i + 1], begun.get(i), template) for i in turns]
    rows: list[Text] = []
    notes: Counter[str] = Counter()
    while answers:
        last = answers[-1]
        inside = [one for one in answers if last.text.startswith(one.text)]
        answers = [one for one in answers if not last.text.startswith(one.text)]
        spans = tuple(span for one in inside for span in one.spans)
        rows.append(Text(last.text, inside[0].start, spans, last.closed))
        notes += sum((one.notes for one in inside), Counter())
    if rows:
        notes += _left_out(messages[: turns[-1]], rows[0].text)
    return rows[::-1], notes


def _answer(messages: Messages, begun: str | None, template: Template) -> _Answer:
    """The last of `messages` as an answer; `begun` is the text up to where an unfinished message is continued."""
    context, whole = template.render(messages[:-1], answer_next=True), template.render(messages)
    tags = template.tags
    text = thoughts.follows(context, whole, messages[-1], tags)
    if begun is not None:
        text = next((one for one in (whole, text) if one is not None and one.startswith(begun)), None)
        context = begun
    if text is None:
        raise UserError(
            f"{template.where}: the chat template writes an answer behind another text than its generation prompt, so "
            "the answer cannot be separated from its prompt; use another template."
        )
    if text == context:
        raise UserError(
            f"{template.where}: the chat template writes nothing for the assistant's message; use another template."
        )
    start = len(context)
    end, closed = template.ended(text, start)
    answer = text[start:end]
    opens = thoughts.opens(context, tags)
    places = [(start + a, start + b) for a, b in thoughts.thoughts(answer, opens, tags)]
    notes = Counter(thoughts=len(places), no_thought=int(opens and thoughts.is_empty(answer, tags)))
    kept = [(start, end)] if template.how.train_thoughts else _without((start, end), places)
    return _Answer(text[:end], start, tuple(kept), closed, notes)


def _without(span: Span, holes: list[Span]) -> list[Span]:
    """The parts of a span outside the holes, which are in order."""
    edges = [span[0], *(edge for hole in holes for edge in hole), span[1]]
    return [(a, b) for a, b in list(pairwise(edges))[::2] if a < b]


def _joined(begun: dict[str, Any], rest: dict[str, Any], where: str) -> dict[str, Any]:
    """An assistant message that a response continues, as one message."""
    parts = begun.get("content"), rest.get("content")
    if not all(isinstance(part, str) for part in parts):
        raise UserError(
            f"{where}: the prompt ends with an assistant message that the response continues, so both need text as "
            "`content`; add a user message between them, or join them."
        )
    return begun | rest | {"content": f"{parts[0]}{parts[1]}"}


def _check_shared(example: Example, where: str) -> None:
    """Raise UserError if responses differ before their last answer."""
    earlier = []
    for response in example.responses:
        last = max(i for i, message in enumerate(response) if message["role"] == "assistant")  # type: ignore[index]
        earlier.append(response[:last])
    if any(one != earlier[0] for one in earlier):
        raise UserError(
            f"{where}: last_answer_only compares last answers, but the turns before them differ; leave the option out, "
            "or remove the row."
        )


def _left_out(messages: Messages, text: str) -> Counter[str]:
    """The roles of messages whose text is not in the rendering, apart from the assistant's."""
    roles = set()
    for message in messages:
        content = message.get("content")
        said = content.strip() if isinstance(content, str) else ""
        # A template may write a tool's answer as JSON.
        if (
            message["role"] != "assistant"
            and said not in text
            and json.dumps(said, ensure_ascii=False)[1:-1] not in text
        ):
            roles.add(str(message["role"]))
    return Counter({f"without_{role}": 1 for role in roles})
