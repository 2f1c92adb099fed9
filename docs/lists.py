"""Lists in pages, generated from the code: of methods in README.md and docs/papers.md, and of the monitor's signals
with their thresholds in docs/watch.md.

A list stands between two comments, such as `<!-- methods -->` and `<!-- /methods -->`; `make docs` writes it anew, and
the tests fail while a page's list is not that of the code.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from burnish.algorithms.table import CONTROL, LANGUAGE, load  # noqa: E402 - the sources of this checkout
from burnish.evaluation.monitor import SIGNALS  # noqa: E402

ROWS = {
    "demonstrations": "demonstrations",
    "preferences": "comparisons",
    "feedback": "responses labelled good or bad",
    "prompts": "prompts and a reward",
}
WATCHES = {
    "length": "mean tokens of a completion, times the start's",
    "repetition": "mean share of a completion's trigrams that repeat earlier ones, less the start's",
    "distinct_2": "share of distinct bigrams of all completions, times the start's",
    "entropy": "mean −log π of a sampled token, times the start's",
    "disagreement": "with `--watch-rewards`: how much several reward models differ about the completions, times the "
    "start's",
    "gap": "with `--watch-labels`, methods with a reward: what the reward claims less what the labels agree with",
    "own_gap": "with `--watch-labels`, methods on comparisons: what their own labels claim less what these agree with",
}
"""What each signal of the monitor is."""


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


def watch() -> str:
    """A row per signal of the monitor: its metric, what it is, and where it warns."""
    lines = ["| metric | what it is | it warns |", "|---|---|---|"]
    lines += [f"| `eval_watch/{name}` | {WATCHES[name]} | {one.threshold} |" for name, one in SIGNALS.items()]
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """The pages with lists, and their text with the lists as they should be. Raises ValueError for missing comments."""
    found = {}
    for name, of, made in (
        ("README.md", "methods", readme()),
        ("docs/papers.md", "methods", papers()),
        ("docs/watch.md", "signals", watch()),
    ):
        first, last = f"<!-- {of} -->", f"<!-- /{of} -->"
        before, begin, rest = (ROOT / name).read_text(encoding="utf-8").partition(first)
        _, end, after = rest.partition(last)
        if not begin or not end:
            raise ValueError(f"{name} has no {first} … {last}: put them where the list belongs")
        found[ROOT / name] = f"{before}{first}\n{made}\n{last}{after}"
    return found
