"""`burnish chat MODEL`: chat with a model in the terminal, or with two side by side."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from burnish.config import Settings
from burnish.data import tokenise
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import check_knobs, stream_tokens
from burnish.recipes.compare import writer
from burnish.recipes.train.models import loading_of, pick_device
from burnish.recipes.train.run import prepare_torch
from burnish.report.runs import short_names
from burnish.run import UserError, first_line, printable, write_atomically

HELP = "/help lists the commands, /exit or Ctrl-D quits, Ctrl-C stops an answer"
COMMANDS = {
    "/system TEXT": "begins with this message from now on, and without TEXT with none; what was said stays",
    "/undo": "takes back the last question and its answer",
    "/save FILE": "writes the conversation as a row of messages, which burnish sft reads",
    "/reset": "starts a new conversation, with the same system message",
    "/help": "prints this list",
    "/exit": "quits, as Ctrl-D does",
}
ALIASES = {"/quit": "/exit", "/clear": "/reset", "/?": "/help"}
MOST = 256  # tokens per answer, unless set otherwise
UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer decodes the first bytes of a character to."""

Write = Callable[[str], None]
Read = Callable[[str], str]


@dataclass
class Speaker:
    """A model with its conversation: messages if its tokenizer has a chat template, else plain text."""

    name: str
    policy: LanguagePolicy
    max_new_tokens: int
    system: str | None = None
    turns: list[tuple[str, str]] = field(default_factory=list)
    question: str | None = None
    before: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.decoder = Decoder.of(self.policy)

    @property
    def has_template(self) -> bool:
        return bool(self.policy.tokenizer.chat_template)

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

    def forget(self) -> None:
        self.turns, self.question = [], None


def chat(
    model: str | Path,
    against: str | Path | None = None,
    *,
    system: str | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    top_p: float | None = None,
    base: Settings | None = None,
    read: Read = input,
    write: Write | None = None,
    console: Console | None = None,
) -> None:
    """Talk with `model` until the input ends; with `against`, both models answer, each with its own memory of the
    conversation. An answer has at most `max_new_tokens` tokens, by default 256 or half the context.

    `read(prompt)` gives a line and raises EOFError at the end; `write` takes each piece as soon as it is there. On a
    `console`, by default the terminal where there is one, two models answer side by side; else one after the other.
    Raises UserError for a model that cannot be loaded, or knobs that leave nothing to draw.
    """
    base = base or Settings()
    if write is None and console is None and sys.stdout.isatty():
        console = Console()
    write = shown_by(write or written)
    check_knobs(MOST if max_new_tokens is None else max_new_tokens, temperature, None, top_p)
    prepare_torch(base)
    speakers = loaded([model] if against is None else [model, against], max_new_tokens, base)
    greet(speakers, system, write)
    turn = 0
    while (said := heard(read)) is not None:
        line = said.strip()
        if line.startswith("/"):
            answer = obey(line, speakers)
            if answer is None:
                break
            write(f"{answer}\n")
        elif line:
            for speaker in speakers:
                speaker.hear(said)
            answers = [speaker.answer(base.seed, turn, temperature, top_p) for speaker in speakers]
            if console and len(speakers) > 1:
                tell_beside([speaker.name for speaker in speakers], answers, console)
            else:
                for speaker, pieces in zip(speakers, answers, strict=True):
                    tell(speaker, len(speakers) > 1, write, pieces)
            turn += 1


def obey(line: str, speakers: list[Speaker]) -> str | None:
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
    question, _ = [speaker.turns.pop() for speaker in speakers][0]
    return f"(taken back: {question.strip()})"


def set_system(text: str, speakers: list[Speaker]) -> str:
    """Change or remove the system message of a conversation, and say so."""
    if not all(speaker.has_template for speaker in speakers):
        return "(/system needs a chat template, and the model has none)"
    for speaker in speakers:
        speaker.system = text or None
    return "(the system message is set)" if text else "(there is no system message)"


def save(file: str, speakers: list[Speaker]) -> str:
    """Write the conversation as `burnish sft` reads it, a row per model, and say so, or why not."""
    if not file:
        return "(/save needs the name of a file, as in /save talk.jsonl)"
    if not speakers[0].turns:
        return "(there is nothing to save)"
    path = Path(file).expanduser()
    if path.exists():
        return f"({path} exists: choose another name)"
    rows = [{"messages": one.messages} | ({"model": one.name} if len(speakers) > 1 else {}) for one in speakers]
    try:
        write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    except (UserError, OSError, ValueError) as error:
        return f"({first_line(error)})"
    return f"(saved in {path})"


def loaded(models: list[str | Path], max_new_tokens: int | None, base: Settings) -> list[Speaker]:
    """The models, with distinct names."""
    names = short_names([Path(model) for model in models])
    speakers, loading = [], loading_of(base)
    for name, model in zip(names, models, strict=True):
        policy = load_policy(writer(model), pick_device(base.device), base.precision, loading=loading)
        loading = loading.elsewhere()
        context = policy.context or 2**31
        longest = min(MOST, context // 2) if max_new_tokens is None else max_new_tokens
        if longest >= context:
            raise UserError(
                f"--max-new-tokens {longest} leaves no room for your message in {name}'s context of {context} tokens"
            )
        speakers.append(Speaker(name, policy, longest))
    return speakers


def greet(speakers: list[Speaker], system: str | None, write: Write) -> None:
    """Print the models' names, and a note about models without a chat template; begin with the system message."""
    write(f"{' and '.join(one.name for one in speakers)}: {HELP}\n")
    for one in speakers:
        if not one.has_template:
            write(f"({one.name} has no chat template: it goes on with what you write, as one text)\n")
    if system and not all(one.has_template for one in speakers):
        raise UserError("--system needs a chat template, and the model has none: leave it out")
    for one in speakers:
        one.system = system or None


def heard(read: Read) -> str | None:
    """The user's next line; None at the end of the input."""
    try:
        return read("\nyou > " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def tell(speaker: Speaker, labelled: bool, write: Write, pieces: Iterator[str]) -> None:
    """Print an answer as it is sampled; Ctrl-C ends the answer, not the conversation."""
    if labelled:
        write(f"\n{speaker.name} > ")
    try:
        for piece in pieces:
            write(piece)
    except KeyboardInterrupt:
        pieces.close()  # type: ignore[attr-defined]
        write(" (stopped)")
    write("\n")


def tell_beside(names: list[str], answers: list[Iterator[str]], console: Console) -> None:
    """Show the answers in columns as they are sampled; Ctrl-C ends the answers, not the conversation."""
    texts, going = ["" for _ in answers], dict(enumerate(answers))
    with Live(columns(names, texts), console=console, auto_refresh=False, vertical_overflow="visible") as live:
        try:
            while going:
                for i, pieces in list(going.items()):
                    piece = next(pieces, None)
                    if piece is None:
                        del going[i]
                    else:
                        texts[i] += printable(piece)
                live.update(columns(names, texts), refresh=True)
        except KeyboardInterrupt:
            for i, pieces in going.items():
                pieces.close()  # type: ignore[attr-defined]
                texts[i] += " (stopped)"
            live.update(columns(names, texts), refresh=True)


def columns(names: list[str], texts: list[str]) -> Table:
    """One column per text, under its name."""
    table = Table(*map(printable, names), box=None, expand=True, padding=(0, 2, 0, 0))
    for column in table.columns:
        column.ratio = 1
    table.add_row(*map(Text, texts))
    return table


def shown_by(write: Write) -> Write:
    """The same without what a terminal would obey: a model may write anything."""
    return lambda text: write(printable(text))


def written(text: str) -> None:
    """Print without buffering."""
    sys.stdout.write(text)
    sys.stdout.flush()
