"""Shapes in signatures are checked while tests run: burnish is rewritten as it is imported, and only then.

Functions and data classes whose annotations name a shape are wrapped, functions inside others too; all else stays as it
is. jaxtyping's own hook, which CHECK_TYPES=all turns on, wraps everything, and the wrapper of a function inside another
is compiled anew whenever the other one is called. A check takes as long as the sum it guards; so what has passed one,
by types, dtypes and shapes, is not checked again.
"""

import ast
import dataclasses
import functools
import os
import re
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook, jaxtyped

SOURCE = Path(__file__).parents[1] / "src"
FEW = 8
BY_VALUE = {str, bool, int}
KNOWN: dict[Hashable, dict[Hashable, set[Hashable]]] = {}
"""What calls of a function have passed the check, and what they had returned, by what `kinds` says of them."""
NAMES = re.compile(r"\b(Bool|Float|Int|Num|Shaped)\[")


def install() -> None:
    """Check what is imported from now on."""
    if os.environ.get("CHECK_TYPES") == "all":
        install_import_hook("burnish", "beartype.beartype")
    else:
        sys.meta_path.insert(0, Finder(frozenset(modules_with_shapes())))


def modules_with_shapes() -> Iterator[str]:
    for file in (SOURCE / "burnish").rglob("*.py"):
        if file.name != "__init__.py" and re.search(r"^(from|import) jaxtyping\b", file.read_text("utf-8"), re.M):
            yield ".".join(file.relative_to(SOURCE).with_suffix("").parts)


def checked(thing: Any) -> Any:
    """A function or a class, which checks its shapes if it has some."""
    annotations = getattr(thing, "__annotations__", {}).values()
    if not isinstance(thing, type):
        return remembering(thing) if any(map(has_shape, annotations)) else thing
    if dataclasses.is_dataclass(thing) and any(has_shape(field.type) for field in dataclasses.fields(thing)):
        thing.__init__ = remembering(thing.__init__)
    return thing


def has_shape(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return bool(NAMES.search(annotation))
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(has_shape, get_args(annotation)))


def remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which checks what it is given and what it returns where it knows no call of the same kinds."""
    name = function.__module__, function.__qualname__, function.__code__  # code alone is the same of many an __init__
    known = KNOWN.setdefault(name, {})
    returned: list[Any] = []

    @functools.cache
    def whole() -> Callable[..., Any]:
        return jaxtyped(function, typechecker=beartype)

    @functools.cache
    def of_output() -> Callable[..., Any]:
        """A function of the same signature that returns what the other one has returned."""
        code = (lambda *arguments, **named: returned[-1]).__code__
        same = FunctionType(code, function.__globals__, closure=(CellType(returned),))
        return jaxtyped(functools.update_wrapper(same, function), typechecker=beartype)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        given = kinds(*arguments, *named.values()), tuple(named)
        if given[0] is None:
            return whole()(*arguments, **named)
        if given not in known:
            output = whole()(*arguments, **named)
            known[given] = {kinds(output)}
            return output
        output = function(*arguments, **named)
        of = kinds(output)
        if of is None or of not in known[given]:
            returned.append(output)
            try:
                of_output()(*arguments, **named)
            finally:
                returned.pop()
            known[given].add(of)
        return output

    return call


def kinds(*values: Any) -> tuple[Hashable, ...] | None:
    """What decides whether the values fit their annotations; None where more than that does."""
    found: list[Hashable] = []
    for value in values:
        own = type(value)
        if is_array(own):
            found.append((own, value.dtype, value.shape))
        elif own in BY_VALUE or isinstance(value, type):
            found.append((own, value))
        elif own is tuple and len(value) <= FEW:
            parts = kinds(*value)
            if parts is None:
                return None
            found.append(parts)
        elif is_container(own):
            return None
        else:
            found.append(own)
    return tuple(found)


@functools.cache
def is_array(own: type) -> bool:
    """Whether it is PyTorch's or NumPy's, neither of which is imported here."""
    return hasattr(own, "dtype") and hasattr(own, "shape")


@functools.cache
def is_container(own: type) -> bool:
    """Whether the check looks at what is in such a value too."""
    return issubclass(own, Sequence | Mapping | Set)


class Loader(SourceFileLoader):
    """A module whose functions and classes go through `checked`; its code is neither read from a cache nor kept."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(decode_source(self.get_data(path)), path)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                decorator = ast.parse(f"__import__({__name__!r}).checked", mode="eval").body
                first = isinstance(node, ast.ClassDef)  # outside `dataclass`; of a function inside all others
                node.decorator_list.insert(0 if first else len(node.decorator_list), decorator)
                for part in ast.walk(decorator):
                    ast.copy_location(part, node)
        return compile(tree, path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    def __init__(self, modules: frozenset[str]) -> None:
        self.modules = modules

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec
