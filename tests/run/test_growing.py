"""A file that grows under another name."""

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.run import UserError, growing_jsonl


def test_records_can_be_read_while_they_are_written_and_the_file_is_complete_or_absent(tmp_path: Path) -> None:
    out, part = tmp_path / "x.jsonl", tmp_path / "x.jsonl.part"
    with growing_jsonl(out) as write:
        write({"text": "é"})
        assert json.loads(part.read_text("utf-8")) == {"text": "é"}
        assert not out.exists()
        write({"text": "b"})
    assert out.read_text("utf-8") == '{"text": "é"}\n{"text": "b"}\n'
    assert not part.exists()


def ended_by(error: BaseException, path: Path, *records: dict[str, Any]) -> None:
    """Write the records, and raise the error."""
    with growing_jsonl(path) as write:
        for record in records:
            write(record)
        raise error


def test_what_was_ready_is_kept_under_the_other_name(tmp_path: Path) -> None:
    out, part = tmp_path / "x.jsonl", tmp_path / "x.jsonl.part"
    with pytest.raises(KeyboardInterrupt, match="the first 1 rows are in "):
        ended_by(KeyboardInterrupt(), out, {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    with pytest.raises(UserError, match=r"^no score; the 1 rows before it are in .*x\.jsonl\.part$"):
        ended_by(UserError("no score"), out, {"a": 2})
    assert json.loads(part.read_text()) == {"a": 2}
    with pytest.raises(UserError, match=r"^no score$"):
        ended_by(UserError("no score"), out)
    assert not part.exists()


def test_what_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"), growing_jsonl(tmp_path / "no" / "x.jsonl"):
        pass
    with growing_jsonl(None) as write:
        write({"a": 1})
    assert not list(tmp_path.iterdir())
