"""TensorBoard: `tensorboard --logdir RUN`. The samples are Markdown tables among its texts."""

from typing import Any

from burnish.run.trackers.interface import Place, Tracker

FOLDER = "tensorboard"


class TensorBoard:
    """A run as event files in its folder."""

    def __init__(self, place: Place) -> None:
        from torch.utils.tensorboard import SummaryWriter

        from burnish.run.plain_yaml import write_yaml

        folder = place.folder / FOLDER
        begun = place.noted is not None and any(folder.glob("events.*"))
        self.known, self.noted = place.step if begun else 0, {"folder": FOLDER}
        # What lies behind the step that the run goes on from is hidden, and written again.
        self._writer = SummaryWriter(str(folder), purge_step=place.step + 1 if begun else None)
        if not begun:
            config = write_yaml(place.config)
            self._writer.add_text("config", "".join(f"    {line}\n" for line in config.splitlines()), 0)
        self._writer.flush()

    def metrics(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a kill loses nothing

    def table(self, step: int, rows: list[dict[str, Any]]) -> None:
        self._writer.add_text("samples", markdown(rows), step)
        self._writer.flush()

    def close(self, failed: bool) -> None:
        self._writer.close()


def start(place: Place) -> Tracker:
    """Write events into the run's own folder."""
    return TensorBoard(place)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[cell(row.get(key, "")) for key in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, ["---"] * len(columns), *lines])


def cell(value: Any) -> str:
    """Text that neither ends a table's cell nor is read as markup."""
    text = str(value).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\`*_[]|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split("\n"))
