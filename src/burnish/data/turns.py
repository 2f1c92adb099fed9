"""The ids of a dialogue whose answers are sampled: how it begins, and what stands between two answers.

Nothing is tokenised twice: the ids of earlier turns are those that were sampled, and only what an environment says is
rendered, behind an answer of a dialogue made for this purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from burnish.data.encode import Encoder
from burnish.data.formats import Messages
from burnish.data.rendering import USUAL, Rendering
from burnish.run import UserError

QUESTION, ANSWER = "q?", "a7z"
"""What is asked and answered before the messages to be rendered: words that no template writes."""


@dataclass(frozen=True)
class Turns:
    """Renders a dialogue piece by piece; `ends` are the tokens that end an answer, as text with their ids."""

    encoder: Encoder
    ends: dict[str, int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, ends: Sequence[int], how: Rendering = USUAL) -> "Turns":
        """Raises UserError for a tokenizer without a chat template."""
        if not tokenizer.chat_template:
            raise UserError(
                "an environment needs a model for conversations, but the tokenizer has no chat template: set "
                "`chat_template` in its tokenizer_config.json, or use another model"
            )
        texts = {str(tokenizer.convert_ids_to_tokens(number)): number for number in ends}
        return cls(Encoder.of(tokenizer, how), texts)

    def first(self, messages: Messages, tools: Sequence[dict[str, Any]], where: str) -> list[int]:
        """The ids that a dialogue begins with, up to where the first answer begins."""
        options = {"tools": list(tools)} if tools else {}
        (text,) = (self.encoder.template.at(where, options).prompt(messages),)
        (found,) = self.encoder.tokens([text], False, [[0]])
        return found.before + found.ids

    def between(self, messages: Messages, tools: Sequence[dict[str, Any]], where: str) -> list[int]:
        """The ids between the end of an answer and the beginning of the next, with `messages` between them.

        Raises UserError where the template does not write the answer before them.
        """
        text = self._rendered(messages, {"tools": list(tools)} if tools else {}, where)
        place = text.rfind(ANSWER) + len(ANSWER)
        found = [(at, end) for end in self.ends if (at := text.find(end, place)) >= 0]
        if not found:
            return self._ids(text[place:])
        at, end = min(found, key=lambda pair: (pair[0], -len(pair[1])))
        ids = self._ids(text[at:])  # with the end before it, so that no word begins a text
        return ids[1:] if ids[:1] == [self.ends[end]] else self._ids(text[at + len(end) :])

    def _rendered(self, messages: Messages, options: dict[str, Any], where: str) -> str:
        """A question, an answer that calls the tools whose messages follow, and the messages."""
        template = self.encoder.template.at(where, options)
        said: dict[str, Any] = {"role": "assistant", "content": ANSWER}
        calls = [
            {"type": "function", "id": f"call{i:05}", "function": {"name": message.get("name", ""), "arguments": {}}}
            for i, message in enumerate(messages)
            if message["role"] == "tool"
        ]
        asked = {"role": "user", "content": QUESTION}
        for answer in [said | {"tool_calls": calls}, said] if calls else [said]:
            text = template.render([asked, answer, *messages], answer_next=True)
            if ANSWER in text:
                return text
        raise UserError(
            f"{where}: the chat template leaves out an assistant's answer before the environment's messages: use "
            "another template"
        )

    def _ids(self, text: str) -> list[int]:
        (found,) = self.encoder.tokens([text], False, [[0]])
        return found.ids
