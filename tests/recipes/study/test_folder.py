"""The folder of an invented study: what is refused when it is opened again, and its summary."""

import json
import warnings
from pathlib import Path

import pytest

from burnish.recipes.study.folder import opened, reasons, write_summary
from burnish.run import BurnishWarning, UserError, read_mapping

CONFIG = {"grid": {"dpo": {"beta": 0.1}}, "seeds": 2}


def begun(out: Path) -> Path:
    with opened(out, CONFIG, ("seeds",), False, True, {"data_sha256": "a"}) as run:
        (run.path / "cells").mkdir()
    return out


def test_a_folder_has_its_plan_and_what_it_was_computed_with(tmp_path: Path) -> None:
    out = begun(tmp_path / "out")
    assert read_mapping(out / "config.yaml") == CONFIG
    noted = json.loads((out / "environment.json").read_text())
    assert set(noted) == {"python", "packages", "data_sha256"}
    assert set(noted["packages"]) == {"burnish", "torch", "transformers", "numpy"}
    assert (out / "work").is_dir()


def test_only_what_is_free_may_change(tmp_path: Path) -> None:
    out = begun(tmp_path / "out")
    with opened(out, CONFIG | {"seeds": 3}, ("seeds",), True, True, {"data_sha256": "a"}):
        pass
    assert read_mapping(out / "config.yaml") == CONFIG | {"seeds": 3}
    changed = CONFIG | {"grid": {"dpo": {"beta": 1.0}}}
    with pytest.raises(UserError, match=r"begun with another config.*grid"), opened(out, changed, (), True, True):
        pass
    with (
        pytest.raises(UserError, match=r"other inputs, data_sha256 .was 'a', now 'b'"),
        opened(out, CONFIG | {"seeds": 4}, ("seeds",), True, True, {"data_sha256": "b"}),
    ):
        pass
    assert read_mapping(out / "config.yaml") == CONFIG | {"seeds": 3}
    with pytest.raises(UserError, match="exists and is not empty: use --resume"), opened(out, CONFIG, (), False, True):
        pass


def test_other_versions_are_said(tmp_path: Path) -> None:
    out = begun(tmp_path / "out")
    noted = json.loads((out / "environment.json").read_text())
    noted["packages"]["torch"] = "0.1"
    (out / "environment.json").write_text(json.dumps(noted))
    with (
        pytest.warns(BurnishWarning, match=r"begun with other versions, packages\.torch \(was '0\.1', now .*of both"),
        opened(out, CONFIG, (), True, False, {"data_sha256": "a"}),
    ):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(out, CONFIG, (), True, True, {"data_sha256": "a"}):  # quiet
            pass


def test_a_summary_has_no_number_that_json_lacks(tmp_path: Path) -> None:
    write_summary(tmp_path, {"mean": 0.5})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"mean": 0.5}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_summary(tmp_path, {"mean": float("nan")})


def test_failures_are_one_phrase() -> None:
    assert reasons({"a": "no", "b": "none"}) == "a: no; b: none"
