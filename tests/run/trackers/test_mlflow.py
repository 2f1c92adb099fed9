"""MLflow's own client finds every step once, the configuration, and the samples as tables."""

from pathlib import Path
from typing import Any

import pytest

from burnish.run import read_mapping

from .helpers import CONFIG, follow, follow_twice

pytest.importorskip("mlflow")

from burnish.run.trackers.mlflow import DEFAULTS, name


@pytest.mark.slow
@pytest.mark.parametrize("how", [follow, follow_twice])
def test_steps_config_and_tables_are_there_once(how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in DEFAULTS.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")
    run = read_mapping(how(tmp_path / "run", "mlflow") / "trackers.json")["mlflow"]["run_id"]

    from mlflow import MlflowClient

    client = MlflowClient()
    found = client.get_run(run)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params == {key: str(value) for key, value in CONFIG.items()}
    history = client.get_metric_history(run, "loss")
    assert [metric.step for metric in history] == [*range(1, 9)]
    assert [metric.value for metric in history] == [1 / step for step in range(1, 9)]
    assert set(found.data.metrics) == {"loss", "loss.policy"}
    assert [one.path for one in client.list_artifacts(run, "samples")] == [
        *("samples/step-000004.json", "samples/step-000008.json")
    ]
    table = client.load_table(client.get_run(run).info.experiment_id, "samples/step-000008.json", [run])
    assert table["response"].tolist() == ["good 0", "good 1"]


def test_names_are_those_that_mlflow_accepts() -> None:
    assert name("loss/policy_avg") == "loss.policy_avg"
    assert name("rewards/len(x)") == "rewards.len.x."
