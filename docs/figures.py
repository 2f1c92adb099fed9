"""The experiments of the course: run a page's command, and keep its figure and its numbers beside the pages."""

import json
import math
import re
import resource
import shlex
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from excerpts import ROOT

FOUND = ("labels", "returns", "figure")
"""What the figure of an experiment's folder may be called; the first that is there is the page's."""

DECIMALS = re.compile(r"(\.\d)\d+")
SVG_PATH = re.compile(r' d="[^"]*"')


class Course(Protocol):
    """What is run, and where it is kept: a course of `build.py`."""

    @property
    def folder(self) -> Path: ...
    @property
    def made(self) -> dict[str, Any]: ...
    def experiments(self) -> dict[str, str]: ...


def number_of(name: str) -> float:
    """A step's number; other pages come after all steps."""
    number = re.match(r"\d+(?=-)", name)
    return int(number[0]) if number else math.inf


def make(course: Course, only: list[str]) -> None:
    """Run the pages' commands, each as it stands there; keep the figure, the time that it took, and the numbers."""
    for name, command in course.experiments().items():
        if only and f"{number_of(name)}" not in only:
            continue
        words = shlex.split(command)
        out = ROOT / words[words.index("--out") + 1]
        subprocess.run(["rm", "-rf", str(out)], check=True)
        print(command, flush=True)
        began, spent = time.monotonic(), of_children()
        program = ROOT / ".venv" / "bin" / words[0].removeprefix(".venv/bin/")
        subprocess.run([program, *words[1:]], cwd=ROOT, check=True)
        keep(course, name, command, out, time.monotonic() - began, of_children() - spent)


def of_children() -> float:
    """The CPU seconds of the processes that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def keep(course: Course, name: str, command: str, out: Path, seconds: float, cpu: float) -> None:
    """The figure of an experiment's folder, the means of its summary and its texts become those of a page."""
    svg = next(out / f"{stem}.svg" for stem in FOUND if (out / f"{stem}.svg").is_file())
    figures = course.folder / "figures"
    figures.mkdir(exist_ok=True)
    (figures / f"{name}.svg").write_text(lightened(svg.read_text(encoding="utf-8")), encoding="utf-8")
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    took = {"seconds": round(seconds, 1), "cpu": round(cpu, 1)}
    course.made[name] = {"command": command, "numbers": numbers_of(found)} | took
    if texts := found.get("texts"):
        course.made[name]["texts"] = texts
    made = json.dumps(course.made, indent=2, sort_keys=True, ensure_ascii=False)
    (figures / "made.json").write_text(made + "\n", encoding="utf-8")


def numbers_of(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The means of a summary, by algorithm or variant."""
    kept = {}
    for name, own in (found.get("algorithms") or found["variants"]).items():
        means = {key: value["mean"] for key, value in own.items() if isinstance(value, dict) and "mean" in value}
        plain = {key: value for key, value in own.items() if isinstance(value, int | float)}
        kept[name] = {key: round(value, 3) for key, value in (means | plain).items() if value is not None}
    return kept


def lightened(svg: str) -> str:
    """A drawing whose curves are in tenths of pixels, which no eye sees and which takes a third less room."""
    return SVG_PATH.sub(lambda path: DECIMALS.sub(r"\1", path[0]), svg)
