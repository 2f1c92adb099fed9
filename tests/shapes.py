"""Shapes in signatures are checked while tests run: burnish is rewritten as it is imported, and only then.

Functions and data classes whose annotations name a shape are wrapped, functions inside others too; all else stays as it
is. jaxtyping's own hook, which CHECK_TYPES=all turns on, wraps everything, and the wrapper of a function inside another
is compiled anew whenever the other one is called.
"""

import ast
import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source
from pathlib import Path
from types import CodeType
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook, jaxtyped

SOURCE = Path(__file__).parents[1] / "src"
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
    if isinstance(thing, type) and dataclasses.is_dataclass(thing):
        annotations = [field.type for field in dataclasses.fields(thing)]
    return jaxtyped(thing, typechecker=beartype) if any(map(has_shape, annotations)) else thing


def has_shape(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return bool(NAMES.search(annotation))
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(has_shape, get_args(annotation)))


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
