"""A conversation with a model, and the commands that change it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.data import tokenise
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import stream_tokens
from burnish.run import UserError, first_line, write_atomically

COMMANDS = {
    "/system TEXT": "begins with this message from now on, and without TEXT with none; what was said stays",
    "/undo": "takes back the last question and its answer",
    "/save FILE": "writes the conversation as a row of messages, which burnish sft reads",
    "/reset": "starts a new conversation, with the same system message",
    "/help": "prints this list",
    "/exit": "quits, as Ctrl-D does",
}
ALIASES = {"/quit": "/exit", "/clear": "/reset", "/?": "/help"}
UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer decodes the first bytes of a character to."""


@dataclass
class Talk:
    """What was said in a conversation with a model: messages if it has a chat template, else plain text."""

    name: str
    max_new_tokens: int
    system: str | None = field(default=None, kw_only=True)
    turns: list[tuple[str, str]] = field(default_factory=list, kw_only=True)
    question: str | None = field(default=None, kw_only=True)
    saved: Path | None = field(default=None, kw_only=True)

    @property
    def has_template(self) -> bool:
        raise NotImplementedError

    def answer(self, seed: int, turn: int, temperature: float, top_p: float | None) -> Iterator[str]:
        """The answer in pieces, as it is sampled; what was said of it is remembered, even where nobody waits for the
        end."""
        raise NotImplementedError

    @property
    def messages(self) -> list[dict[str, str]]:
        """What was said, as messages."""
        said = [] if self.system is None else [{"role": "system", "content": self.system}]
        for question, answer in self.turns:
            said += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return said if self.question is None else [*said, {"role": "user", "content": self.question}]

    @property
    def text(self) -> str:
        """What was said, as one text."""
        said = " ".join(question + answer for question, answer in self.turns)
        return said if self.question is None else f"{said} {self.question}" if said else self.question

    def hear(self, said: str) -> None:
        """Add the user's message."""
        self.question = said

    def end_turn(self) -> None:
        """Remember a question that was stopped before its answer began."""
        if self.question is not None:
            self.turns.append((self.question, ""))
            self.question = None

    def forget(self) -> None:
        self.turns, self.question = [], None


@dataclass
class Speaker(Talk):
    """A conversation with a model in this process."""

    policy: LanguagePolicy
    before: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.decoder = Decoder.of(self.policy)

    @property
    def has_template(self) -> bool:
        return bool(self.policy.tokenizer.chat_template)

    def answer(self, seed: int, turn: int, temperature: float, top_p: float | None) -> Iterator[str]:
        """The answer in pieces, as it is sampled; what was said of it is remembered, even where nobody waits for the
        end."""
        tokens: list[int] = []
        said = ""
        try:
            drawn = stream_tokens(
                self.policy,
                self.prompt(),
                seed=seed,
                max_new_tokens=self.max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                stream=turn,
            )
            for token in drawn:
                tokens.append(token)
                whole = self.decoded(tokens)
                if not whole.endswith(UNFINISHED):
                    piece, said = whole[len(said) :], whole
                    yield piece
            whole = self.decoded(tokens)
            yield whole[len(said) :]
        finally:
            self.turns.append((self.question or "", self.decoded(tokens)))
            self.question = None

    def decoded(self, tokens: list[int]) -> str:
        """The answer so far. Within a text a tokenizer may write a space that it leaves out at the beginning, so what
        stands before is decoded with it."""
        if self.has_template:
            return self.decoder.responses([tokens])[0]
        before, whole = self.decoder.texts([self.before] * 2, [[], tokens])
        return whole[len(before) :]

    def prompt(self) -> list[int]:
        """The conversation as token ids, with room for an answer; its beginning is cut if it is too long."""
        context = self.policy.context
        room = 2**31 if context is None else max(1, context - self.max_new_tokens)
        conversation: Any = self.messages if self.has_template else self.text
        (self.before,) = tokenise.prompts([conversation], self.policy.tokenizer, room, "the conversation")
        return self.before


def obey(line: str, speakers: Sequence[Talk]) -> str | None:
    """Do what a line that begins with a slash says, and return what is to be printed; None ends the conversation."""
    command, _, rest = line.partition(" ")
    command, rest = ALIASES.get(command, command), rest.strip()
    if command not in {known.split()[0] for known in COMMANDS}:
        return f"({command} is not a command: /help lists them)"
    if rest and command not in ("/system", "/save"):
        return f"({command} takes nothing behind it: write {command} alone)"
    if command == "/exit":
        return None
    if command == "/help":
        return "\n".join(f"{name:<14}{what}" for name, what in COMMANDS.items())
    if command == "/system":
        return set_system(rest, speakers)
    if command == "/save":
        return save(rest, speakers)
    if command == "/reset":
        for speaker in speakers:
            speaker.forget()
        return "(a new conversation)"
    if not speakers[0].turns:
        return "(there is nothing to take back)"
    question, _ = speakers[0].turns[-1]
    for speaker in speakers:
        speaker.turns.pop()
    return f"(taken back: {question.strip()})"


def set_system(text: str, speakers: Sequence[Talk]) -> str:
    """Change or remove the system message of a conversation, and say so."""
    if not all(speaker.has_template for speaker in speakers):
        return "(/system needs a chat template, and the model has none)"
    for speaker in speakers:
        speaker.system = text or None
    return "(the system message is set)" if text else "(there is no system message)"


def save(file: str, speakers: Sequence[Talk]) -> str:
    """Write the conversation as `burnish sft` reads it, a row per model, and say so, or why not."""
    path = Path(file).expanduser()
    if path.suffix not in (".jsonl", ".json"):
        return "(/save needs a file name that ends with .jsonl, as in /save talk.jsonl)"
    if not speakers[0].turns:
        return "(there is nothing to save)"
    if path.exists() and path != speakers[0].saved:
        return f"({path} exists: choose another name)"
    rows = [{"messages": one.messages} | ({"model": one.name} if len(speakers) > 1 else {}) for one in speakers]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    try:
        write_atomically(path, f"[{', '.join(lines)}]\n" if path.suffix == ".json" else "\n".join([*lines, ""]))
    except (UserError, ValueError) as error:
        return f"({first_line(error)})"
    speakers[0].saved = path
    empty = any(not answer.strip() for one in speakers for _, answer in one.turns)
    return f"(saved in {path}{'; it has an empty answer, which burnish sft refuses' if empty else ''})"
