"""A small stand-in for Weights & Biases' library: it writes what it is given to `sent.jsonl` and can fail."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = """
import json, pathlib, sys

WHEN = None

def fail(where):
    if where == WHEN:
        print("a great deal of text")
        raise {"SystemExit": SystemExit, "OSError": OSError}.get(KIND, RuntimeError)("the server is gone")

def Settings(**options):
    return options

def Table(columns, data, allow_mixed_types):
    return {"columns": columns, "data": data}

class Run:
    id, project, entity, step = "x1", "burnish", "", 0
    def __init__(self, options):
        self.lines = pathlib.Path(options["dir"], "sent.jsonl")
        self.offline = options["id"] is None
        sent = [json.loads(line)["step"] for line in self.lines.read_text().splitlines()] if self.lines.exists() else []
        self.step = max(sent) + 1 if sent and options["resume"] else 0
        self.dir = options["dir"]
    def log(self, values, step):
        fail(step)
        with self.lines.open("a") as file:
            file.write(json.dumps({"step": step} | values) + "\\n")
    def finish(self, exit_code):
        fail("finish")
        pathlib.Path(self.dir, "finished").write_text(str(exit_code))

def init(**options):
    fail("init")
    if WHEN == "ask":
        input("Your password? ")
    print("a great deal of text")
    return Run(options)
"""


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in as the module `wandb`; it fails at `WHEN` with the `KIND` of error."""
    folder.mkdir()
    (folder / "wandb.py").write_text(SOURCE.replace("WHEN = None", 'WHEN, KIND = None, ""'))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", importlib.import_module("wandb"))
    return sys.modules["wandb"]
