"""Trackers by name, and the sentence about a library that is not installed."""

import re
import sys
from pathlib import Path

import pytest

from burnish.run import UserError
from burnish.run.trackers import TRACKERS, check_installed, tracker_names


def test_names_are_read_once_each() -> None:
    assert tracker_names("wandb") == ("wandb",)
    assert tracker_names("trackio, mlflow,tensorboard,trackio") == ("trackio", "mlflow", "tensorboard")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wandbb", "track: no such tracker 'wandbb': did you mean 'wandb'?"),
        ("TensorBoard", "track: no such tracker 'TensorBoard': did you mean 'tensorboard'?"),
        ("mlflow,comet", "track: no such tracker 'comet': the trackers are tensorboard, wandb, trackio, mlflow"),
        ("wandb,", "track: no such tracker '': the trackers are tensorboard, wandb, trackio, mlflow"),
    ],
)
def test_an_unknown_name_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        tracker_names(text)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_library_that_is_not_installed_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, TRACKERS[name].package, None)
    with pytest.raises(UserError, match=re.escape(f"--track {name} needs the package {name}: pip install 'burnish[")):
        check_installed([name])


def test_a_folder_of_the_librarys_name_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights & Biases itself makes a folder `wandb` where it runs."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UserError, match="needs the package wandb"):
        check_installed(["wandb"])
