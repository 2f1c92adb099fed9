"""Lists of methods in README.md and docs/papers.md, generated from the table of algorithms.

A list stands between two comments, `<!-- methods -->` and `<!-- /methods -->`; `make docs` writes it anew, and the
tests fail while a page does not have every method.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from burnish.algorithms.table import CONTROL, LANGUAGE, load  # noqa: E402 - the sources of this checkout

BEGIN, END = "<!-- methods -->", "<!-- /methods -->"
ROWS = {
    "demonstrations": "demonstrations",
    "preferences": "comparisons",
    "feedback": "responses labelled good or bad",
    "prompts": "prompts and a reward",
}


def readme() -> str:
    """A row per method: its command, its data, one line, and its paper."""
    lines = ["| command | learns from | what it does | paper |", "|---|---|---|---|"]
    for name, entry in LANGUAGE.items():
        algorithm = load(name)
        learns = "prompts and a teacher" if "teacher" in algorithm.roles else ROWS[algorithm.data]
        lines.append(f"| `burnish {name}` | {learns} | {entry.summary} | {algorithm.paper} |")
    for name, entry in CONTROL.items():
        command = f"`burnish classic --algorithms {name}`"
        lines.append(f"| {command} | a Gymnasium environment | {entry.summary} | {load(name).paper} |")
    return "\n".join(lines)


def papers() -> str:
    """A row per method: its paper, its file, and the models that it uses."""
    lines = ["| method | class | paper | file | models |", "|---|---|---|---|---|"]
    for name, entry in (CONTROL | LANGUAGE).items():
        algorithm, file = load(name), f"algorithms/{entry.module}.py"
        roles = ", ".join(algorithm.roles)
        link = f"[{file}](../src/burnish/{file})"
        lines.append(f"| {name} | `burnish.{entry.cls}` | {algorithm.paper} | {link} | {roles} |")
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """The pages with lists, and their text with the lists as they should be. Raises ValueError for missing comments."""
    found = {}
    for path, made in ((ROOT / "README.md", readme()), (ROOT / "docs" / "papers.md", papers())):
        before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f"{path.name} has no {BEGIN} … {END}: put them where the list belongs")
        found[path] = f"{before}{BEGIN}\n{made}\n{END}{after}"
    return found
