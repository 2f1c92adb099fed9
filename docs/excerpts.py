"""Code for the pages, taken from the source: a function, a few lines of one, or how one file differs from another.

What a reader of a method can do without is left out: docstrings, imports, the type checker's `assert`s, checks of
hyperparameters, and help texts of fields.
"""

import ast
import difflib
import textwrap
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Lines = list[str | None]


class BrokenReferenceError(Exception):
    """A reference of a page that leads nowhere, in one sentence."""


def path_of(module: str) -> Path:
    """The file of a module of Burnish, or of a path from the repository's root."""
    if module.endswith(".py"):
        candidates = [ROOT / module]
    else:
        base = ROOT / "src" / Path(*module.split("."))
        candidates = [base.with_suffix(".py"), base / "__init__.py"]
    for path in candidates:
        if path.is_file():
            return path
    raise BrokenReferenceError(f"there is no module {module}")


def trimmed(text: str, without: Collection[str] = ()) -> Lines:
    """The lines of a module, None in the place of those that are left out, so that line numbers stay what they were.

    `without` names functions that are left out too.
    """
    lines: Lines = list(text.splitlines())

    def drop(node: ast.stmt) -> None:
        first = first_line(node)
        lines[first - 1 : node.end_lineno] = [None] * ((node.end_lineno or first) - first + 1)

    def shorten(node: ast.AnnAssign, default: ast.expr) -> None:
        parts = (node.target, node.annotation, default)
        name, kind, value = (ast.get_source_segment(text, part) for part in parts)
        drop(node)
        lines[node.lineno - 1] = f"{' ' * node.col_offset}{name}: {kind} = {value}"

    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Assert():
                drop(node)
            case ast.FunctionDef(name=name) if name == "__post_init__" or name in without:
                drop(node)
            case ast.Expr(value=ast.Constant(value=str())):
                drop(node)
            case ast.AnnAssign(value=ast.Call(func=ast.Name(id="field"), keywords=keywords)):
                default = next((k.value for k in keywords if k.arg == "default"), None)
                if default is not None:
                    shorten(node, default)
            case ast.AnnAssign(value=ast.Call(func=ast.Name(id="option"), args=[default, *_])):
                shorten(node, default)
    return lines


def tidy(lines: Lines) -> list[str]:
    """What is left, without blank lines at the ends, or two together, or at the head of a block."""
    kept: list[str] = []
    for line in lines:
        if line is not None and (line.strip() or (kept and kept[-1] and not kept[-1].endswith(":"))):
            kept.append(line.rstrip())
    while kept and not kept[-1]:
        kept.pop()
    return kept


def extent(tree: ast.Module, name: str, module: str) -> tuple[int, int]:
    """The lines, counted from 0, of what defines `name`; points lead to what is inside."""
    body: list[ast.stmt] = tree.body
    node: ast.stmt | None = None
    for part in name.split("."):
        node = next((n for n in body if part in names_of(n)), None)
        if node is None:
            raise BrokenReferenceError(f"{module} has no {name}")
        body = getattr(node, "body", [])
    assert node is not None
    return first_line(node) - 1, node.end_lineno or 0


def first_line(node: ast.stmt) -> int:
    """The line in which a statement begins, its decorators included."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


def names_of(node: ast.stmt) -> set[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {t.id for t in targets if isinstance(t, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def excerpt(module: str, *names: str, first: str | None = None, last: str | None = None) -> list[str]:
    """The lines that define `names`; of one name also those from the line that holds `first` to the one with `last`."""
    text = path_of(module).read_text(encoding="utf-8")
    tree, lines = ast.parse(text), trimmed(text)
    found: list[str] = []
    for name in names:
        part = lines[slice(*extent(tree, name, module))]
        if first is not None or last is not None:
            begin = 0 if first is None else place(part, first, f"{module} {name}")
            end = len(part) - 1 if last is None else place(part, last, f"{module} {name}")
            part = part[begin : end + 1]
        found += [*([""] if found else []), *textwrap.dedent("\n".join(tidy(part))).split("\n")]
    return found


def place(lines: Lines, mark: str, where: str) -> int:
    """The one line that holds `mark`."""
    places = [i for i, line in enumerate(lines) if line is not None and mark in line]
    if len(places) != 1:
        raise BrokenReferenceError(f"{len(places) or 'no'} lines of {where} hold {mark!r}, where one should")
    return places[0]


def differences(before: str, after: str, without: Collection[str] = ()) -> list[str]:
    """What changes from one thing to another, line by line, with the lines that do not change.

    Each is a module, or `module:name` for a part of one, or `module:name[first … last]` for the lines of it from the one
    that holds `first` to the one with `last`; `without` names functions that are left out of both.
    """

    def read(what: str) -> list[str]:
        module, _, name = what.partition(":")
        name, _, marks = name.partition("[")
        if marks:
            first, _, last = marks.removesuffix("]").partition(" … ")
            return excerpt(module, name, first=first, last=last)
        text = path_of(module).read_text(encoding="utf-8")
        lines = trimmed(text, without)
        return tidy(lines[slice(*extent(ast.parse(text), name, module))] if name else lines)

    old, new = read(before), read(after)
    changed = list(difflib.unified_diff(old, new, lineterm="", n=len(old) + len(new)))
    if not changed:
        raise BrokenReferenceError(f"{before} and {after} do not differ")
    return changed[3:]
