"""Who may import whom, and how long a file may get: read from the source, so that nothing has to run.

The rules are first tried on small invented packages, each with one sin, and only then on ours.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    "functional": 1,
    "arithmetic": 1,
    "batches": 1,
    "ends": 1,
    "cache": 1,
    "hub": 1,
    "options": 1,
    "run": 1,
    "policies": 2,
    "rewards": 2,
    "environments": 2,
    "data": 2,
    "report": 2,
    "algorithms": 3,
    "experience": 3,
    "evaluation": 3,
    "config": 4,
    "training": 5,
    "recipes": 6,
    "cli": 7,
    "burnish": 7,
    "__main__": 8,
}
"""Imports go down only. A folder is one thing, so is a file beside the folders, and "burnish" is the package's face."""

OURS = {
    "functional": (),
    "report": ("burnish.run",),
    "algorithms": ("burnish.functional", "burnish.batches", "burnish.options", "burnish.policies.interface"),
}
"""Where a floor's worth of freedom is too much: what of Burnish these may import, besides themselves."""

OTHERS = {"functional": {"torch", "jaxtyping"}, "algorithms": {"torch", "jaxtyping"}}
"""What these may import from elsewhere, besides the standard library."""

NOT_FOR = {"report": {"torch", "transformers", "tokenizers", "datasets", "peft", "accelerate"}}
"""What these may not import from elsewhere: a report needs no model."""

LIGHT = ("burnish", "burnish.cli", "burnish.cli.main", "burnish.cli.commands", "burnish.algorithms.table")
"""What `burnish --help` and a mistyped command import: nothing in `HEAVY`, directly or through others."""

HEAVY = {"torch", "transformers", "datasets", "numpy", "pandas", "yaml", "gymnasium", "altair"}

UNTESTED = {"burnish.algorithms.terms"}
"""Modules that need no test file of their own: they declare and do nothing."""

ROOMS = ("language", "control")

FILE_LINES, FUNCTION_LINES = 320, 60

Tree = dict[str, Path]


# The checker -------------------------------------------------------------------------------------------------------


def read(source: Path) -> Tree:
    """Module names and files of the package `burnish` in `source`; a folder's name stands for its `__init__`."""
    tree = {}
    for path in sorted((source / "burnish").rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        tree[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return tree


@cache
def parsed(text: str) -> tuple[ast.AST, ...]:
    """Every node of a source. All rules read the same ones: to parse is what takes the time."""
    return tuple(ast.walk(ast.parse(text)))


def nodes(path: Path) -> tuple[ast.AST, ...]:
    return parsed(path.read_text(encoding="utf-8"))


def unit(module: str) -> str:
    """The folder or file on a floor that a module is of."""
    return module.split(".")[1] if "." in module else module


def imports(module: str, tree: Tree, among: Iterable[ast.AST] | None = None) -> Iterator[str]:
    """Every module, ours or not, that `module` imports anywhere: at the top, in a function, for types, by name.

    `among` limits this to some of its nodes.
    """
    path = tree[module]
    for node in nodes(path) if among is None else among:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join(package[: len(package) - node.level + 1] + ([base] if base else []))
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in tree else base
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value)


def check_floors(tree: Tree) -> Iterator[str]:
    """Imports go down only, never sideways, and every module has a floor."""
    for module in tree:
        here = FLOORS.get(unit(module))
        if here is None:
            yield f"{module} is on no floor"
            continue
        for target in imports(module, tree):
            if target.split(".")[0] != "burnish" or unit(target) == unit(module):
                continue
            there = FLOORS.get(unit(target))
            if there is None or there >= here:
                yield f"{module} (floor {here}) imports {target} (floor {there})"


def check_freedom(tree: Tree) -> Iterator[str]:
    """The narrower rules of `OURS`, `OTHERS` and `NOT_FOR`."""
    for module in tree:
        own = unit(module)
        for target in imports(module, tree):
            top = target.split(".")[0]
            if top == "burnish":
                allowed = OURS.get(own)
                inside = allowed is None or unit(target) == own
                fine = inside or any(f"{target}.".startswith(f"{name}.") for name in allowed or ())
            elif own in OTHERS:
                fine = top in OTHERS[own] or top in sys.stdlib_module_names
            else:
                fine = top not in NOT_FOR.get(own, ())
            if not fine:
                yield f"{module} imports {target}"


def check_rooms(tree: Tree) -> Iterator[str]:
    """What serves language alone and what serves control alone do not import each other."""
    for module in tree:
        here = room(module)
        for target in imports(module, tree):
            if here and room(target) not in ("", here):
                yield f"{module} imports {target}"


def room(module: str) -> str:
    """ "language" or "control" for a module in such a folder of ours, else ""."""
    parts = module.split(".")
    return parts[2] if parts[0] == "burnish" and len(parts) > 2 and parts[2] in ROOMS else ""


def check_circles(tree: Tree) -> Iterator[str]:
    """No module leads back to itself."""
    edges = {module: sorted({t for t in imports(module, tree) if t in tree}) for module in tree}
    finished: set[str] = set()

    def walk(module: str, way: list[str]) -> Iterator[str]:
        if module in way:
            yield " -> ".join([*way[way.index(module) :], module])
        elif module not in finished:
            for target in edges[module]:
                yield from walk(target, [*way, module])
            finished.add(module)

    for module in tree:
        yield from walk(module, [])


def outside_functions(path: Path) -> Iterator[ast.AST]:
    """The nodes of a source that run when the module is imported."""
    waiting: list[ast.AST] = [nodes(path)[0]]
    while waiting:
        node = waiting.pop()
        yield node
        inner = ast.iter_child_nodes(node)
        waiting += [] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else inner


def check_light(tree: Tree) -> Iterator[str]:
    """The modules of `LIGHT` import nothing of `HEAVY` when they are imported, nor does anything that they import."""
    for module in LIGHT:
        ways = {module: module} if module in tree else {}
        waiting = list(ways)
        while waiting:
            here = waiting.pop()
            for target in imports(here, tree, outside_functions(tree[here])):
                if target.split(".")[0] in HEAVY:
                    yield f"{ways[here]} -> {target}"
                parts = target.split(".")
                for name in (".".join(parts[: i + 1]) for i in range(len(parts))):  # the folders' `__init__` run first
                    if name in tree and name not in ways:
                        ways[name] = f"{ways[here]} -> {name}"
                        waiting.append(name)


def check_sizes(tree: Tree) -> Iterator[str]:
    """Files and functions that are asking to be two; a docstring makes no function longer."""
    for module, path in tree.items():
        if (lines := path.read_text(encoding="utf-8").count("\n")) > FILE_LINES:
            yield f"{module} has {lines} lines"
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1:2] if ast.get_docstring(node) else node.body[:1]
                lines = (node.end_lineno or 0) - first[0].lineno + 1 if first else 0
                if lines > FUNCTION_LINES:
                    yield f"{module}.{node.name} has {lines} lines"


def check_mirror(tree: Tree, tests: Path, untested: set[str]) -> Iterator[str]:
    """Every module with code has its test file, unless listed; what is listed exists and has none."""
    for module, path in tree.items():
        if path.name in ("__init__.py", "__main__.py"):
            continue
        *folders, name = module.split(".")[1:]
        mirror = tests.joinpath(*folders, f"test_{name}.py")
        if mirror.exists() == (module in untested):
            yield f"{module} has {'a' if mirror.exists() else 'no'} {mirror.relative_to(tests.parent)}"
    yield from (f"{module} is gone" for module in sorted(untested - set(tree)))


RULES = (check_floors, check_freedom, check_rooms, check_circles, check_light, check_sizes)


# The checker, checked ----------------------------------------------------------------------------------------------


def invent(folder: Path, files: dict[str, str]) -> Tree:
    """A package `burnish` with these files; every folder gets an `__init__.py`."""
    for name, text in files.items():
        path = folder / "burnish" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for parent in path.parents:
            if folder in parent.parents:
                (parent / "__init__.py").touch()
    return read(folder)


SOUND = {
    "functional/kl.py": "import math\nfrom torch import Tensor\nfrom jaxtyping import Float\nfrom .masked import mean",
    "functional/masked.py": "import torch",
    "functional/__init__.py": "from burnish.functional.kl import k1\nfrom . import masked",
    "batches.py": "import torch",
    "run/__init__.py": "import yaml",
    "policies/interface.py": "from burnish.batches import Episodes",
    "policies/language/policy.py": "import transformers\nfrom burnish.policies import interface",
    "report/page.py": "import altair\nimport burnish.run",
    "algorithms/ppo.py": "from burnish import batches, functional\nfrom burnish.policies.interface import Models",
    "evaluation/returns.py": "from burnish.policies.language.policy import load",
    "training/loop.py": "from burnish.algorithms import ppo\nfrom ..run import RunFolder",
    "recipes/train/run.py": "def train():\n    from burnish.training import loop",
    "options.py": "import math",
    "algorithms/table.py": "import burnish.options",
    "config/build.py": "import yaml\nfrom burnish import options",
    "cli/__init__.py": "from burnish.cli.main import main",
    "cli/main.py": "def f():\n    import torch\nfrom burnish.algorithms.table import LANGUAGE",
    "cli/commands.py": "from importlib import import_module\ndef f():\n    import_module('burnish.recipes.train.run')",
    "__main__.py": "from burnish.cli import main",
}


def test_a_sound_package_passes(tmp_path: Path) -> None:
    tree = invent(tmp_path, SOUND)
    assert len(tree) == 29  # The 19 above and the __init__ of ten other folders, the package's own among them.
    for check in RULES:
        assert list(check(tree)) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("policies/x.py", "import burnish.algorithms.ppo", "(floor 2) imports burnish.algorithms.ppo (floor 3)"),
        ("policies/x.py", "from ..algorithms import ppo", "(floor 2) imports burnish.algorithms.ppo (floor 3)"),
        ("policies/x.py", "from ..algorithms.ppo import PPO", "(floor 2) imports burnish.algorithms.ppo (floor 3)"),
        ("policies/__init__.py", "from ..algorithms import ppo", "(floor 2) imports burnish.algorithms.ppo (floor 3)"),
        ("batches.py", "def f():\n    import burnish.cli", "(floor 1) imports burnish.cli (floor 7)"),
        (
            "batches.py",
            "import importlib as i\ni.import_module('burnish.cli')",
            "(floor 1) imports burnish.cli (floor 7)",
        ),
        ("batches.py", "from burnish import __version__", "(floor 1) imports burnish (floor 7)"),
        ("batches.py", "if TYPE_CHECKING:\n    from burnish.run import R", "(floor 1) imports burnish.run (floor 1)"),
        ("rewards/x.py", "from burnish.data import y", "(floor 2) imports burnish.data.y (floor 2)"),
        ("experience/x.py", "from burnish.algorithms.ppo import PPO", "imports burnish.algorithms.ppo (floor 3)"),
        ("algorithms/x.py", "from burnish.experience import x", "imports burnish.experience (floor 3)"),
        ("options.py", "from burnish.run import UserError", "(floor 1) imports burnish.run (floor 1)"),
        ("config/build.py", "from burnish import training", "(floor 4) imports burnish.training (floor 5)"),
        ("training/x.py", "from burnish import nowhere", "(floor 5) imports burnish (floor 7)"),
        ("training/x.py", "import burnish.nowhere", "(floor 5) imports burnish.nowhere (floor None)"),
        ("helpers/x.py", "", "burnish.helpers.x is on no floor"),
        ("helpers.py", "", "burnish.helpers is on no floor"),
    ],
)
def test_an_import_that_does_not_go_down_is_found(tmp_path: Path, file: str, text: str, said: str) -> None:
    tree = invent(tmp_path, SOUND | {"data/y/z.py": ""} | {file: text})
    found = list(check_floors(tree))
    assert found
    assert all(said in sentence or sentence == "burnish.helpers is on no floor" for sentence in found)
    assert any(said in sentence for sentence in found)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("functional/x.py", "import numpy as np"),
        ("functional/x.py", "def f():\n    from scipy import stats"),
        ("functional/x.py", "from burnish.batches import Episodes"),
        ("algorithms/x.py", "import transformers"),
        ("algorithms/x.py", "import gymnasium.spaces"),
        ("algorithms/x.py", "from burnish.policies.language.policy import load"),
        ("algorithms/x.py", "from burnish.policies import language"),
        ("algorithms/x.py", "import burnish.policies"),
        ("algorithms/x.py", "from burnish.policies.interface_of_mine import x"),
        ("algorithms/x.py", "from burnish.run import RunFolder"),
        ("report/x.py", "import torch"),
        ("report/x.py", "from transformers import AutoModel"),
        ("report/x.py", "from burnish.functional import kl"),
    ],
)
def test_too_much_freedom_is_found(tmp_path: Path, file: str, text: str) -> None:
    tree = invent(tmp_path, SOUND | {"policies/interface_of_mine.py": ""} | {file: text})
    (found,) = check_freedom(tree)
    assert found.startswith(f"burnish.{file.split('/')[0]}.x imports ")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("policies/language/x.py", "from burnish.policies.control.y import z"),
        ("experience/control/x.py", "import burnish.policies.language.y"),
        ("report/control/__init__.py", "from ..language.y import z"),
    ],
)
def test_a_room_that_looks_into_the_other_is_found(tmp_path: Path, file: str, text: str) -> None:
    tree = invent(tmp_path, SOUND | {file: text, "policies/language/y.py": "", "policies/control/y.py": ""})
    assert len(list(check_rooms(tree))) == 1


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        (
            {"data/a.py": "import burnish.data.b", "data/b.py": "def f():\n    from . import a"},
            "data.a -> burnish.data.b",
        ),
        ({"data/__init__.py": "from .a import x", "data/a.py": "from burnish.data import x"}, "data -> burnish.data.a"),
        (
            {"data/a.py": "from .b import x", "data/b.py": "from .c import x", "data/c.py": "from .a import x"},
            "data.b ->",
        ),
    ],
)
def test_a_circle_is_found(tmp_path: Path, files: dict[str, str], circle: str) -> None:
    found = list(check_circles(invent(tmp_path, SOUND | files)))
    assert len(found) == 1
    assert circle in found[0]


@pytest.mark.parametrize(
    ("files", "way"),
    [
        ({"__init__.py": "import torch"}, "burnish -> torch"),
        ({"cli/main.py": "from torch import Tensor"}, "burnish.cli.main -> torch"),
        ({"cli/commands.py": "if True:\n    import yaml"}, "burnish.cli.commands -> yaml"),
        (
            {"cli/commands.py": "import burnish.cli.flags"},
            "burnish.cli.commands -> burnish.cli.flags -> burnish.batches",
        ),
        ({"algorithms/__init__.py": "from .ppo import PPO"}, "-> burnish.algorithms -> burnish.algorithms.ppo ->"),
        (
            {"algorithms/table.py": "from burnish.algorithms.ppo import PPO"},
            "burnish.algorithms.table -> burnish.algor",
        ),
        (
            {"options.py": "class C:\n    from numpy import array"},
            "burnish.algorithms.table -> burnish.options -> numpy",
        ),
    ],
)
def test_a_light_module_with_a_heavy_import_is_found(tmp_path: Path, files: dict[str, str], way: str) -> None:
    tree = invent(tmp_path, SOUND | {"cli/flags.py": "from burnish.batches import Episodes"} | files)
    assert any(way in found for found in check_light(tree))


def test_length_is_found(tmp_path: Path) -> None:
    docstring = '    """One.\n' + "\n" * 100 + '    """\n'
    fits = "def fits():\n" + docstring + "    x = 1\n" * 60
    long = "class C:\n    async def long(self):\n" + "        x = 1\n" * 61
    tree = invent(tmp_path, {"data/a.py": fits, "data/b.py": long, "data/c.py": "\n" * 320, "data/d.py": "\n" * 321})
    assert list(check_sizes(tree)) == ["burnish.data.b.long has 61 lines", "burnish.data.d has 321 lines"]


def test_a_missing_mirror_is_found(tmp_path: Path) -> None:
    tree = invent(tmp_path / "src", {"data/a.py": "", "data/b.py": "", "cli.py": ""})
    (tmp_path / "tests" / "data").mkdir(parents=True)
    (tmp_path / "tests" / "data" / "test_a.py").touch()
    assert list(check_mirror(tree, tmp_path / "tests", {"burnish.cli"})) == [
        "burnish.data.b has no tests/data/test_b.py"
    ]
    assert list(check_mirror(tree, tmp_path / "tests", {"burnish.cli", "burnish.data.a", "burnish.data.b", "x"})) == [
        "burnish.data.a has a tests/data/test_a.py",
        "x is gone",
    ]


# Burnish -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read(ROOT / "src")


@pytest.mark.parametrize("check", RULES)
def test_burnish_keeps_the_rules(tree: Tree, check: Callable[[Tree], Iterator[str]]) -> None:
    assert "burnish.run" in tree  # Else nothing was read, and nothing would be found.
    assert list(check(tree)) == []


def test_every_module_has_its_test_file(tree: Tree) -> None:
    assert list(check_mirror(tree, ROOT / "tests", UNTESTED)) == []


@pytest.mark.parametrize(
    ("unit_", "absent"),
    [("report", NOT_FOR["report"]), ("functional", {"transformers", "datasets"}), ("algorithms", {"transformers"})],
)
def test_what_is_not_to_be_imported_is_not_loaded_either(tree: Tree, unit_: str, absent: set[str]) -> None:
    """The source can be innocent and a neighbour's `__init__` drag in a model after all."""
    modules = ", ".join(module for module in tree if unit(module) == unit_)
    code = f"import sys, {modules}\nprint(*sorted({absent!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
