"""Make the course: pages of Markdown, readable on a forge, and of HTML, from the templates in docs/course/src.

    python docs/build.py            write docs/course/*.md and docs/course/build/*.html
    python docs/build.py --check    write nothing; fail where the committed pages are not those of the templates
    python docs/build.py --figures  run the command of every page, keep its figure and numbers, then write the pages

Code in a page is taken from the source when the page is made, and every reference is followed: a function that is
gone, a figure that was never made, a dead link, a flag that does not exist, or an answer that is wrong ends the build
with status 1 and a sentence that names the page. Links and commands of the repository's other pages are followed too.
"""

import argparse
import html
import inspect
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import figures
import jinja2
import lists
from excerpts import ROOT, BrokenReferenceError, differences, excerpt, path_of
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from references import check_command, check_page

COURSE = ROOT / "docs" / "course"
OTHERS = ("README.md", "CONTRIBUTING.md", "docs/*.md")


@dataclass
class Page:
    """One page while it is made: the template's name, and what its directives have been asked for."""

    course: "Course"
    name: str
    command: str | None = None
    exercises: list[str] = field(default_factory=list)

    def source(self, module: str, *names: str, first: str | None = None, last: str | None = None) -> str:
        """The lines that define `names`, or a part of them, with a link to the file."""
        code = "\n".join(excerpt(module, *names, first=first, last=last))
        return f"From {self.link(module)}:\n\n```python\n{code}\n```"

    def diff(self, before: str, after: str, *without: str) -> str:
        """What changes from one module to another; functions `without` are left out."""
        lines = differences(before, after, without)
        added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
        modules = list(dict.fromkeys(what.partition(":")[0] for what in (before, after)))
        ends = " → ".join(map(self.link, modules))
        if len(modules) == 1:  # two parts of one file, which have names
            names = (what.partition(":")[2].partition("[")[0] for what in (before, after))
            ends += ", " + " → ".join(f"`{name}`" for name in names)
        left_out = f"; without {', '.join(f'`{name}`' for name in without)}" if without else ""
        body = "\n".join(lines)
        return f"{ends}, {added} lines added and {removed} removed{left_out}:\n\n```diff\n{body}\n```"

    def link(self, module: str) -> str:
        path = path_of(module)
        return (
            f"[{path.relative_to(ROOT).as_posix().removeprefix('src/burnish/')}]({relative(path, self.course.folder)})"
        )

    def experiment(self, command: str) -> str:
        """The page's command; its figure and its numbers are of this command, or the page is broken."""
        check_command(command)
        self.command = command
        return f"    {command}"

    def ready(self) -> bool:
        """Whether the page's figure has been made: what a page says of it may wait for that."""
        return self.name in self.course.made

    def made(self) -> dict[str, Any]:
        """What is known of the page's figure."""
        if self.command is None:
            raise BrokenReferenceError("the page has no experiment")
        made = self.course.made.get(self.name)
        if made is None or made["command"] != self.command:
            raise BrokenReferenceError(f"its figure is not of `{self.command}`: make docs-figures makes it again")
        return made

    def figure(self, shows: str) -> str:
        """The page's figure; `shows` tells it to those who do not see it."""
        self.made()
        return f"![{shows}](figures/{self.name}.svg)"

    def seconds(self) -> str:
        return f"{self.made()['seconds']:.0f}"

    def cpu(self) -> str:
        """The seconds of all cores together, which do not depend on what else the machine does."""
        return f"{self.made()['cpu']:.0f}"

    def result(self, of: str, what: str, form: str = ".0f") -> str:
        """A number of the experiment's summary: of an algorithm or variant, by its key there."""
        numbers = self.made()["numbers"]
        if what not in numbers.get(of, {}):
            raise BrokenReferenceError(f"its experiment has no {what} of {of}")
        return format(numbers[of][what], form)

    def interval(self, of: str, what: str, form: str = ".2f") -> str:
        """Such a number with the ends of its 95 % interval."""
        low, high = (self.result(of, f"{what}_{end}", form) for end in ("low", "high"))
        return f"{self.result(of, what, form)} [{low}, {high}]"

    def texts(self, of: str) -> str:
        """What a model of the experiment wrote, as a listing."""
        found = self.made().get("texts", {})
        if of not in found:
            raise BrokenReferenceError(f"its experiment has no texts of {of}")
        return "\n".join(["```text", *(f"{i}. {text}" for i, text in enumerate(found[of], 1)), "```"])

    def exercise(self, name: str) -> str:
        """An exercise's beginning, how to check it, and an answer that has been checked."""
        self.exercises.append(name)
        stub = "\n".join(excerpt("docs/course/exercises.py", name))
        task = self.course.task(name)
        answer = "\n".join(excerpt("docs/course/answers.py", name))
        check = f"    .venv/bin/python docs/course/exercises.py {name}"
        return (
            f"{task}\n\n```python\n{stub}\n```\n\n"
            f"Write it in [exercises.py](exercises.py) and check it:\n\n{check}\n\n"
            f"<details>\n<summary>Answer</summary>\n\n```python\n{answer}\n```\n\n</details>"
        )


class Course:
    """The templates of a folder, and the pages that they make."""

    def __init__(self, folder: Path = COURSE) -> None:
        self.folder = folder
        names = [path.name.removesuffix(".md.j2") for path in (folder / "src").glob("*.md.j2")]
        self.names = sorted(names, key=lambda name: (figures.number_of(name), name))
        self.steps = [name for name in self.names if name[:1].isdigit()]
        loader = jinja2.FileSystemLoader([folder / "src", COURSE / "src"])
        self.templates = jinja2.Environment(
            loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
        )
        made = folder / "figures" / "made.json"
        self.made: dict[str, Any] = json.loads(made.read_text(encoding="utf-8")) if made.is_file() else {}

    def render(self) -> dict[Path, str]:
        """Every page's Markdown by its path. Raises BrokenReferenceError, the page named."""
        pages = {}
        for name in self.names:
            try:
                pages[self.folder / f"{name}.md"] = self.page(name)
            except (BrokenReferenceError, jinja2.TemplateError) as error:
                raise BrokenReferenceError(f"{name}: {error}") from error
        for path, text in pages.items():
            checked(path.stem, path, text, pages)
        return pages

    def page(self, name: str) -> str:
        page = Page(self, name)
        known = ("source", "diff", "experiment", "ready", "figure", "seconds", "cpu", "exercise")
        known += ("result", "interval", "texts")
        directives = {word: getattr(page, word) for word in known}
        text = self.templates.get_template(f"{name}.md.j2").render(**directives, steps=self.contents())
        return text.rstrip() + "\n" + self.ways(name)

    def contents(self) -> list[tuple[str, str]]:
        """File and title of each step."""
        return [(f"{name}.md", self.title(name)) for name in self.steps]

    def title(self, name: str) -> str:
        first = (self.folder / "src" / f"{name}.md.j2").read_text(encoding="utf-8").split("\n", 1)[0]
        return first.removeprefix("# ")

    def ways(self, name: str) -> str:
        """The line at a step's end that leads to its neighbours."""
        if name not in self.steps:
            return ""
        at = self.steps.index(name)
        links = [f"[← {self.title(n)}]({n}.md)" for n in self.steps[max(at - 1, 0) : at]]
        links += ["[The course](README.md)"]
        links += [f"[{self.title(n)} →]({n}.md)" for n in self.steps[at + 1 : at + 2]]
        return f"\n---\n\n{' · '.join(links)}\n"

    def task(self, name: str) -> str:
        """What an exercise asks: the docstring of its beginning."""
        module = load_exercises()
        return inspect.cleandoc(str(getattr(module, name).__doc__))

    def experiments(self) -> dict[str, str]:
        """The command of every page that has one."""
        found = re.compile(r"experiment\(\s*[\"']([^\"']+)[\"']\s*\)")
        texts = {name: (self.folder / "src" / f"{name}.md.j2").read_text(encoding="utf-8") for name in self.steps}
        return {name: match[1] for name, text in texts.items() if (match := found.search(text))}


def load_exercises() -> Any:
    sys.path.insert(0, str(COURSE))
    try:
        import exercises
    finally:
        sys.path.remove(str(COURSE))
    return exercises


def checked(name: str, path: Path, text: str, pages: dict[Path, str]) -> None:
    try:
        check_page(path, text, pages)
    except BrokenReferenceError as error:
        raise BrokenReferenceError(f"{name}: {error}") from error


def check_answers() -> None:
    """Every exercise has an answer, which is right; what it begins with is not. Raises BrokenReferenceError."""
    exercises = load_exercises()
    answers: dict[str, Any] = {}
    exec((COURSE / "answers.py").read_text(encoding="utf-8"), answers)
    for name, check in exercises.CHECKS.items():
        try:
            check(answers[name])
        except Exception as error:
            raise BrokenReferenceError(f"answers.py: {name} is wrong: {error!r}") from error


def check_others(pages: dict[Path, str] | None = None) -> None:
    """Links and commands of the pages that no template makes; they may lead to `pages` that are yet to be written."""
    for pattern in OTHERS:
        for path in sorted(ROOT.glob(pattern)):
            checked(str(path.relative_to(ROOT)), path, path.read_text(encoding="utf-8"), pages or {})


def relative(path: Path, folder: Path) -> str:
    """The way from a folder to a file, as a link has it."""
    return os.path.relpath(path, folder).replace(os.sep, "/")


# HTML --------------------------------------------------------------------------------------------------------------


def to_html(course: Course, name: str, text: str) -> str:
    """A page of Markdown as one of HTML in the folder below."""
    markdown = MarkdownIt("commonmark", {"highlight": coloured}).enable("table")
    body = re.sub(
        r'(?<= )(href|src)="([^":#][^":]*)"', lambda m: f'{m[1]}="{moved(m[2], course)}"', markdown.render(text)
    )
    light, dark = (HtmlFormatter(style=style).get_style_defs("pre") for style in ("default", "github-dark"))
    template = course.templates.get_template("page.html.j2")
    return template.render(title=html.escape(course.title(name)), body=body, light=light, dark=dark)


def moved(target: str, course: Course) -> str:
    """A link as it is one folder further down, where pages of the course are HTML."""
    name, _, anchor = target.partition("#")
    own = name.removesuffix(".md") in course.names and name.endswith(".md")
    where = f"{name.removesuffix('.md')}.html" if own else f"../{name}"
    return f"{where}#{anchor}" if anchor else where


def coloured(code: str, language: str, _: str) -> str:
    if not language:
        return html.escape(code)
    return highlight(code, get_lexer_by_name(language), HtmlFormatter(nowrap=True))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the course.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is not up to date")
    parser.add_argument("--figures", nargs="*", metavar="N", help="make the figures again, of these pages or of all")
    options = parser.parse_args(arguments)
    course = Course()
    try:
        if options.figures is not None:
            figures.make(course, options.figures)
        pages = course.render()
        check_answers()
        check_others(pages)
        pages_with_lists = lists.pages()
        for path, text in (pages | pages_with_lists).items():
            if options.check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
                raise BrokenReferenceError(f"{path.stem} is not up to date: make docs writes it anew")
        drawn = {
            course.folder / "build" / f"{path.stem}.html": to_html(course, path.stem, t) for path, t in pages.items()
        }
    except BrokenReferenceError as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    if not options.check:
        (course.folder / "build").mkdir(exist_ok=True)
        for path, text in (pages | drawn | pages_with_lists).items():
            path.write_text(text, encoding="utf-8")
        print(course.folder / "build" / "README.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
