"""Cells: the parts that a study is computed in, each with a file of what was found."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from burnish.run import UserError, make_folder, read_mapping, remove_folder_atomically, write_atomically

CELLS, WORK = "cells", "work"
Found = dict[str, Any]
SHARED: dict[str, Any] = {
    "device": "cpu",
    "threads": 1,
    "quiet": True,
    "schedule": "constant",
    "save_dtype": "float32",
}
"""What all trainings of a study have in common."""


class Cell(Protocol):
    """What says which part of a study a cell is: a frozen dataclass."""

    @property
    def name(self) -> str:
        """The path of its file in the folder of cells, without its suffix."""
        ...

    @property
    def label(self) -> str:
        """Its name for readers."""
        ...


C = TypeVar("C", bound=Cell)
T = TypeVar("T", bound=Cell, contravariant=True)


class Job(Protocol[T]):
    """What computes the cells of a study. Other processes get copies of it."""

    def compute(self, cell: T, out: Path, work: Path) -> Found:
        """Compute a cell of the study in the folder `out`; `work` is an empty folder that is removed afterwards."""
        ...

    def is_whole(self, cell: T, found: Found) -> bool:
        """Whether a file has what this cell's file must have."""
        ...

    def line(self, cell: T, found: Found) -> str:
        """What is printed of a cell that is computed."""
        ...


def known(cell: C, job: Job[C], out: Path) -> Found | None:
    """What was found of a cell; None before it is computed. Raises UserError where its file is damaged."""
    file = out / CELLS / f"{cell.name}.json"
    if not file.is_file():
        return None
    found = read_mapping(file)
    if not job.is_whole(cell, found):
        raise UserError(f"{file} is damaged: remove it, and --resume computes it again")
    return found


def kept(cell: C, job: Job[C], out: Path) -> Found:
    """Compute a cell and write its file. Its work folder is removed: the file has what the study needs."""
    work = out / WORK / cell.name.replace("/", "-")
    if work.exists():
        remove_folder_atomically(work)  # of a killed process
    make_folder(work)
    found = job.compute(cell, out, work)
    file = out / CELLS / f"{cell.name}.json"
    make_folder(file.parent)
    write_atomically(file, json.dumps(asdict(cast(Any, cell)) | found, allow_nan=False) + "\n")
    remove_folder_atomically(work)
    return found
