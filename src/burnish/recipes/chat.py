"""`burnish chat MODEL`: chat with a model in the terminal, or with two side by side."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from burnish.config import Settings
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import check_knobs
from burnish.recipes.answers import writer
from burnish.recipes.conversation import Speaker, Talk, obey
from burnish.recipes.remote import remote
from burnish.recipes.train.models import loading_of, pick_device
from burnish.recipes.train.prepare import prepare_torch
from burnish.report.runs import short_names
from burnish.run import UserError, printable

HELP = "/help lists the commands, /exit or Ctrl-D quits, Ctrl-C stops an answer"
MOST = 256  # tokens per answer, unless set otherwise
LONGEST_LINE = 1_000_000
Write = Callable[[str], None]
Read = Callable[[str], str]


def line_of_input(prompt: str) -> str:
    """`input`, but a line of a file or pipe has at most LONGEST_LINE characters: it may never end."""
    if sys.stdin.isatty():
        return input(prompt)
    said = sys.stdin.readline(LONGEST_LINE + 1)
    if not said:
        raise EOFError
    if len(said) > LONGEST_LINE:
        raise UserError(f"a line of standard input has more than {LONGEST_LINE:,} characters: give shorter messages")
    return said.removesuffix("\n")


def chat(
    model: str | Path | None,
    against: str | Path | None = None,
    *,
    server: str | None = None,
    system: str | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    top_p: float | None = None,
    base: Settings | None = None,
    read: Read = line_of_input,
    write: Write | None = None,
    console: Console | None = None,
) -> None:
    """Talk with `model` until the input ends; with `against`, both models answer, each with its own memory of the
    conversation. An answer has at most `max_new_tokens` tokens, by default 256 or half the context. With `server` the
    model is the one of that name there, or its only one.

    `read(prompt)` gives a line and raises EOFError at the end; `write` takes each piece as soon as it is there. On a
    `console`, by default the terminal where there is one, two models answer side by side; else one after the other.
    Raises UserError for a model that cannot be loaded, or knobs that leave nothing to draw.
    """
    base = base or Settings()
    if write is None and console is None and sys.stdout.isatty():
        console = Console()
    write = shown_by(write or written)
    check_knobs(MOST if max_new_tokens is None else max_new_tokens, temperature, None, top_p)
    speakers = speakers_of(model, against, server, max_new_tokens, base)
    greet(speakers, system, write)
    turn = 0
    while (said := heard(read)) is not None:
        if said.startswith("/"):  # a question may begin with a space and a slash
            answer = obey(said.strip(), speakers)
            if answer is None:
                break
            write(f"{answer}\n")
        elif said.strip():
            for speaker in speakers:
                speaker.hear(said)
            answers = [speaker.answer(base.seed, turn, temperature, top_p) for speaker in speakers]
            if console and len(speakers) > 1:
                tell_beside([speaker.name for speaker in speakers], answers, console)
            else:
                for speaker, pieces in zip(speakers, answers, strict=True):
                    tell(speaker, len(speakers) > 1, write, pieces)
            for speaker in speakers:
                speaker.end_turn()
            turn += 1


def speakers_of(
    model: str | Path | None, against: str | Path | None, server: str | None, max_new_tokens: int | None, base: Settings
) -> Sequence[Talk]:
    """Those who answer. Raises UserError where none is named, or two at a server."""
    if server is not None:
        if against is not None:
            raise UserError("--against needs models in this process: leave it out, or --server")
        return [remote(server, None if model is None else str(model), max_new_tokens)]
    if model is None:
        raise UserError("give a MODEL to talk with, or the URL of a --server")
    prepare_torch(base)
    return loaded([model] if against is None else [model, against], max_new_tokens, base)


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
        speakers.append(Speaker(name, longest, policy))
    return speakers


def greet(speakers: Sequence[Talk], system: str | None, write: Write) -> None:
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
        said = read("\nyou > " if sys.stdin.isatty() else "")
        said.encode()  # bytes that are no UTF-8 may come as surrogates
    except EOFError:
        return None
    except UnicodeError as error:
        raise UserError("standard input is not UTF-8 text: give `burnish chat` lines of text") from error
    if "\0" in said:
        raise UserError("standard input contains NUL characters: give `burnish chat` lines of text")
    return said


def tell(speaker: Talk, labelled: bool, write: Write, pieces: Iterator[str]) -> None:
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
    table = Table(*(escape(printable(name)) for name in names), box=None, expand=True, padding=(0, 2, 0, 0))
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
