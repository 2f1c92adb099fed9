"""MLflow. MLFLOW_TRACKING_URI says where (a folder as file:mlruns), MLFLOW_EXPERIMENT_NAME in which experiment."""

import os
import re
import time
from typing import Any

from burnish.run.trackers.interface import Place, Tracker

AT_ONCE = 100
"""Parameters, or metrics, in one request."""

DEFAULTS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # else a tracking URI of files, which the user asked for, is refused
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow's own 7 take minutes for a server that is not there
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Variables of MLflow that are set where the user has not set them."""


class MLflow:
    """A run in MLflow, through its client: nothing global is changed, and no tags about user and source are added."""

    def __init__(self, place: Place) -> None:
        for variable, value in DEFAULTS.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self.known = 0
        if place.noted is None:
            self._id = self._client.create_run(self._experiment(), run_name=place.name).info.run_id
            self._config(place.config)
        else:
            self._id = place.noted["run_id"]
            self._client.update_run(self._id, status="RUNNING")
            for key in self._client.get_run(self._id).data.metrics:
                steps = [metric.step for metric in self._client.get_metric_history(self._id, key)]
                self.known = max([self.known, *steps])
        self.noted = {"run_id": self._id}

    def _experiment(self) -> str:
        called = os.environ.get("MLFLOW_EXPERIMENT_NAME", "burnish")
        found = self._client.get_experiment_by_name(called)
        return self._client.create_experiment(called) if found is None else found.experiment_id

    def _config(self, config: dict[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)[:6000]) for key, value in config.items()]
        for first in range(0, len(params), AT_ONCE):
            self._client.log_batch(self._id, params=params[first : first + AT_ONCE])

    def metrics(self, step: int, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(name(key), value, now, step) for key, value in values.items()]
        self._client.log_batch(self._id, metrics=found)

    def table(self, step: int, rows: list[dict[str, Any]]) -> None:
        columns = dict.fromkeys(key for row in rows for key in row)
        table = {key: [row.get(key) for row in rows] for key in columns}
        self._client.log_table(self._id, table, f"samples/step-{step:06d}.json")

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")


def name(key: str) -> str:
    """A metric's name in MLflow, which lacks some characters and cannot have both `loss` and `loss/policy` in files."""
    return re.sub(r"[^\w\-. ]", ".", key)


def start(place: Place) -> Tracker:
    """Start a run, or continue the one that `place.noted` names."""
    return MLflow(place)
