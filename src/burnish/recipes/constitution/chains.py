"""A prompt's chain: an answer, then rounds of a critique by a principle and a revision."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from burnish.data import adapters, sources
from burnish.data.beside import KEYS, KEYWORDS, template_variables
from burnish.data.names import named
from burnish.evaluation.readings import READ, Reading
from burnish.evaluation.writers import Talk
from burnish.recipes.constitution.calls import TEXT, Call, key_of
from burnish.recipes.constitution.principles import Principle, drawn
from burnish.run import UserError, without_keys

ANSWER, CRITIQUE, REVISION = "answer", "critique", "revision"
BEFORE_CRITIQUE, BEFORE_REVISION = "\n\nCritique request: ", "\n\nRevision request: "
STOPS = (BEFORE_CRITIQUE.rstrip(), BEFORE_REVISION.rstrip(), "\n\nHuman:", "\n\nAssistant:")
"""Where the text of a model without a chat template ends: before the next request, or the next turn of a dialogue."""


@dataclass(frozen=True)
class Prompt:
    """A prompt to answer, at a row of the data set `source`: messages, or a text. `options` are its keywords for the
    template."""

    row: int
    value: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @cached_property
    def key(self) -> str:
        text = json.dumps([self.value, dict(self.options)], ensure_ascii=True, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [{"role": "user", "content": self.value}] if isinstance(self.value, str) else self.value

    def columns(self) -> dict[str, Any]:
        """The keywords as columns of a data set."""
        own = {key: value for key, value in self.options.items() if key in KEYS}
        others = {key: value for key, value in self.options.items() if key not in KEYS}
        return own | ({KEYWORDS: others} if others else {})


def prompts_in(data: Any, limit: int | None, chat: bool, tokenizer: Any = None) -> list[Prompt]:
    """The prompts of a data set, as messages if the model has a chat template (`chat`): that of the `tokenizer`, or one
    of a server.

    Raises UserError where there are none, and for a conversation that does not end before an answer.
    """
    found: list[Prompt] = []
    variables = None if tokenizer is None else template_variables(tokenizer)
    for name, dataset in sources.load_parts(data, limit):
        for one in adapters.read("prompts", dataset, name, chat, variables).examples:
            prompt = Prompt(one.row, one.prompt, one.template_options, without_keys(name))
            if chat:
                prompt = replace(prompt, value=prompt.messages)
                if not prompt.value or prompt.value[-1]["role"] == "assistant":
                    last = "ends with the assistant's words" if prompt.value else "has no message"
                    raise UserError(f"{name}, row {one.row}: the prompt {last}: end it with a message of the user")
            elif not isinstance(prompt.value, str):
                raise UserError(
                    f"{name}, row {one.row}: the prompt is a conversation, and the model has no chat template: give "
                    "texts, or another --model"
                )
            found.append(prompt)
    if not found:
        raise UserError(f"{named(data)} has no prompt: there is nothing to answer")
    return found


def once(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts, each once."""
    found: dict[str, Prompt] = {}
    for one in prompts:
        found.setdefault(one.key, one)
    return list(found.values())


@dataclass(frozen=True)
class Step:
    """One call of a chain, in a round from 1 on; the answer is round 0."""

    prompt: Prompt
    kind: str
    round: int
    principle: Principle | None
    model: str
    asked: Talk

    wants = TEXT

    @cached_property
    def key(self) -> str:
        talk = self.asked
        return key_of(self.model, list(talk.messages), talk.text, talk.whole, self.prompt.key)

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {"prompt": self.prompt.key, "source": self.prompt.source, "row": self.prompt.row}
        found |= {"round": self.round, "step": self.kind}
        return found | {"principle": None if self.principle is None else self.principle.text, "model": self.model}


@dataclass(frozen=True)
class Chain:
    """A prompt with the principle of each round; `model` is the identity of who writes."""

    prompt: Prompt
    principles: tuple[Principle, ...]
    model: str

    @classmethod
    def of(cls, prompt: Prompt, principles: Sequence[Principle], revisions: int, seed: int, model: str) -> "Chain":
        """The chain of so many revisions, each by a principle that the seed, the prompt and the round decide."""
        return cls(
            prompt, tuple(drawn(principles, seed, f"{prompt.key}/{number}") for number in range(revisions)), model
        )

    def steps(self, readings: Mapping[str, Reading]) -> Iterator[tuple[Step, str]]:
        """The steps that can be asked for, each with what was said, or an empty text where nothing was read."""
        answer = ""
        for number in range(len(self.principles) + 1):
            principle = self.principles[number - 1] if number else None
            critique = ""
            for kind in (ANSWER,) if principle is None else (CRITIQUE, REVISION):
                step = Step(
                    self.prompt, kind, number, principle, self.model, self.talk(kind, principle, answer, critique)
                )
                reading = readings.get(step.key)
                said = (reading.text or "") if reading is not None and reading.kind == READ else ""
                yield step, said
                if not said:
                    return
                answer, critique = (answer, said) if kind == CRITIQUE else (said, critique)

    def talk(self, kind: str, principle: Principle | None, answer: str, critique: str) -> Talk:
        """What the model is asked for: the latest answer is criticized and revised, without those before it. A prompt
        that is messages is for models with a template, which read no text."""
        messages, options, whole = list(self.prompt.messages), self.prompt.options, kind == REVISION
        text = str(self.prompt.value)
        if principle is not None:
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": principle.critique}]
            text += f"{answer}{BEFORE_CRITIQUE}{principle.critique}\n\nCritique:"
            if kind == REVISION:
                messages += [
                    {"role": "assistant", "content": critique},
                    {"role": "user", "content": principle.revision},
                ]
                text += f"{critique}{BEFORE_REVISION}{principle.revision}\n\nRevision:"
        return Talk(messages, text if isinstance(self.prompt.value, str) else "", whole, options)

    def reached(self, readings: Mapping[str, Reading]) -> list[Call]:
        """The calls that have been made, and the next one."""
        return [step for step, _ in self.steps(readings)]
