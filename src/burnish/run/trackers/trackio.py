"""trackio, Hugging Face's local-first tracker: `trackio show`. TRACKIO_PROJECT and trackio's own variables apply."""

import os
import secrets
from typing import Any

from burnish.run.trackers.interface import Place, Tracker


class Trackio:
    """A run in trackio. Its name has a random end, since trackio finds the run of a resumed one by its name."""

    def __init__(self, place: Place) -> None:
        import trackio
        from trackio.context_vars import current_run

        self._table = trackio.Table
        self.noted = place.noted or {
            "project": os.environ.get("TRACKIO_PROJECT", "burnish"),
            "name": f"{place.name}-{secrets.token_hex(3)}",
        }
        before = current_run.get()
        current_run.set(None)  # `init` ends the run that is current: the user's, or another that is followed
        self._run = trackio.init(
            project=self.noted["project"],
            name=self.noted["name"],
            config=place.config,
            resume="allow",
            embed=False,
        )
        current_run.set(before)
        self.known = self._run._initial_last_step or 0

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def table(self, step: int, rows: list[dict[str, Any]]) -> None:
        import pandas as pd

        frame = pd.DataFrame(rows)
        self._run.log({"samples": self._table(dataframe=frame.where(frame.notna(), None))}, step=step)

    def close(self, failed: bool) -> None:
        self._run.finish()


def start(place: Place) -> Tracker:
    """Start a run, or continue the one that `place.noted` names."""
    return Trackio(place)
