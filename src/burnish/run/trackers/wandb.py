"""Weights & Biases. Its environment variables apply: WANDB_MODE=offline, WANDB_PROJECT, WANDB_ENTITY, WANDB_NAME."""

import os
import shutil
from pathlib import Path
from typing import Any

from burnish.run.trackers.interface import Place, Tracker

TIMEOUT = 60
"""Seconds to wait for the server at the start."""


class Wandb:
    """A run in Weights & Biases.

    The command line, the terminal's output and the code are not sent: they may contain secrets.
    """

    def __init__(self, place: Place) -> None:
        import wandb

        self._table = wandb.Table
        noted = place.noted or {}
        self._run = wandb.init(
            project=noted.get("project") or os.environ.get("WANDB_PROJECT", "burnish"),
            entity=noted.get("entity") or None,
            id=noted.get("id"),
            resume="allow" if noted else None,
            name=os.environ.get("WANDB_NAME", place.name),
            config=place.config,
            dir=os.environ.get("WANDB_DIR", str(place.folder)),
            settings=wandb.Settings(
                reinit="create_new",  # a run that the user began in this process is theirs
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                init_timeout=TIMEOUT,
            ),
        )
        self.noted = {"id": self._run.id, "project": self._run.project, "entity": self._run.entity}
        if self._run.offline:
            self.known = place.written if noted and not renewed(Path(self._run.dir).parent, self._run.id) else 0
        else:
            self.known = max(0, self._run.step - 1) if noted else 0

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def table(self, step: int, rows: list[dict[str, Any]]) -> None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        data = [[plain(row.get(key)) for key in columns] for row in rows]
        self._run.log({"samples": self._table(columns=columns, data=data, allow_mixed_types=True)}, step=step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def start(place: Place) -> Tracker:
    """Start a run, or continue the one that `place.noted` names."""
    return Wandb(place)


def renewed(folder: Path, run: str) -> bool:
    """Whether an offline run that is continued begins anew in `folder`: the files of its earlier processes, which may
    lack what was logged last, are removed. Not where they were already synchronised."""
    earlier = [one for one in folder.parent.glob(f"offline-run-*-{run}") if one != folder]
    if any(file for one in earlier for file in one.glob("*.synced")):
        return False
    for one in earlier:
        shutil.rmtree(one)
    return True


def plain(value: Any) -> Any:
    """A value that a table's cell can hold: conversations and other structures as text."""
    return value if value is None or isinstance(value, str | int | float) else str(value)
