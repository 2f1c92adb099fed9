"""Whether what a page of Markdown refers to is there: links, figures, commands with their flags, names of Burnish."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
from excerpts import ROOT, BrokenReferenceError
from markdown_it import MarkdownIt
from markdown_it.token import Token

from burnish.algorithms.table import CONTROL
from burnish.cli import cli

MARKDOWN = MarkdownIt("commonmark").enable("table")
ELLIPSIS = ("…", "...")


def tokens(text: str) -> Iterator[Token]:
    """All tokens of a page, those inside a line of text included."""
    for token in MARKDOWN.parse(text):
        yield token
        yield from token.children or ()


def check_page(path: Path, text: str, pages: dict[Path, str]) -> None:
    """Raise BrokenReferenceError at the first reference that leads nowhere; `pages` are about to be written."""
    for token in tokens(text):
        for target in (token.attrs.get("href"), token.attrs.get("src")):
            if target is not None:
                check_link(path, text, unquote(str(target)), pages)
        if token.type in ("fence", "code_block"):
            for line in token.content.replace("\\\n", " ").splitlines():
                check_command(line)
        elif token.type == "code_inline":
            check_command(token.content, whole=False)
            check_name(token.content)


def check_link(path: Path, text: str, target: str, pages: dict[Path, str]) -> None:
    """A file that exists, and in a page of Markdown a heading that does; addresses elsewhere are not visited."""
    if re.match(r"[a-z]+:", target):
        return
    name, _, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path
    if name and file not in pages and not file.exists():
        raise BrokenReferenceError(f"there is no {target}")
    if anchor and (file == path or file.suffix == ".md"):
        there = text if file == path else pages.get(file) or file.read_text(encoding="utf-8")
        if anchor not in headings(there):
            raise BrokenReferenceError(f"{name or 'the page'} has no heading #{anchor}")


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them: small letters, hyphens for spaces, no punctuation."""
    parsed = MARKDOWN.parse(text)
    words = [parsed[i + 1].content for i, token in enumerate(parsed) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", word.lower()).replace(" ", "-") for word in words}


def check_command(line: str, whole: bool = True) -> None:
    """A `burnish …` or `make …` line must be one that its parser takes; it is not run. A Python file must exist.

    A line that is not `whole`, as in prose, may lack arguments.
    """
    line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
    first = line.split(" ", 1)[0]
    if first not in ("burnish", "make", "python") or any(sign in line for sign in ELLIPSIS):
        return
    words = shlex.split(line, comments=True)
    if first == "burnish":
        check_burnish(words[1:], line, whole)
    elif first == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        for word in words[1:]:
            if "=" not in word and word not in targets:
                raise BrokenReferenceError(f"the Makefile has no target {word}")
    elif len(words) > 1 and words[1].endswith(".py") and not (ROOT / words[1]).is_file():
        raise BrokenReferenceError(f"there is no {words[1]}, which `{line}` runs")


def check_burnish(words: list[str], line: str, whole: bool) -> None:
    """The command exists, and so do its flags and the algorithms it names."""
    if not words or set(words) & {"--help", "-h", "--version"}:
        return
    try:
        context = click.Context(cli, info_name="burnish", **cli.context_settings)
        name, command, rest = cli.resolve_command(context, words)
        assert command is not None
        found = command.make_context(name, rest, parent=context)
    except click.MissingParameter as error:
        if whole:
            raise BrokenReferenceError(f"`{line}` lacks something: {error.format_message()}") from None
        return
    except click.ClickException as error:
        raise BrokenReferenceError(f"`{line}` is no command of Burnish: {error.format_message()}") from None
    named = str(found.params.get("algorithms") or "") if name == "classic" else ""
    for algorithm in filter(None, named.split(",")):
        if algorithm.strip().replace("-", "_") not in CONTROL:
            raise BrokenReferenceError(f"`{line}` names {algorithm}, and there is no such algorithm for control")


def check_name(code: str) -> None:
    """`burnish.functional.gae`, as it stands or called, must be there to be imported."""
    if not (match := re.match(r"burnish(\.\w+)+(?=$|\()", code)):
        return
    parts = match[0].split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                raise BrokenReferenceError(f"there is no {match[0]}")
            found = getattr(found, part)
        return
