"""trackio's own store has every step once, and the samples as tables."""

from pathlib import Path
from typing import Any

import pytest

from burnish.run import read_mapping

from .helpers import follow, follow_twice

pytest.importorskip("trackio")


@pytest.mark.parametrize("how", [follow, follow_twice])
def test_steps_and_tables_are_there_once(how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trackio.sqlite_storage as store

    monkeypatch.setattr(store, "TRACKIO_DIR", tmp_path / "trackio")
    noted = read_mapping(how(tmp_path / "run", "trackio") / "trackers.json")["trackio"]
    assert noted["name"].startswith("run-")
    found = store.SQLiteStorage.get_logs(noted["project"], noted["name"])
    assert [line["step"] for line in found if "loss" in line] == [*range(1, 9)]
    assert [line["loss"] for line in found if "loss" in line] == pytest.approx([1 / step for step in range(1, 9)])
    tables = {line["step"]: line["samples"]["_value"] for line in found if "samples" in line}
    assert [*tables] == [4, 8]
    assert tables[8][1] == {"step": 4, "row": 1, "response": "good 1"}
