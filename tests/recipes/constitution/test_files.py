"""Where results go, and a model in this process."""

import json
from pathlib import Path

import pytest
import tiny

from burnish.config import Settings
from burnish.policies.language.fingerprint import fingerprint, hash_of
from burnish.recipes.constitution.files import begun, identity_of, loaded, write
from burnish.run import UserError


def test_a_file_that_is_there_needs_its_calls(tmp_path: Path) -> None:
    assert begun(tmp_path / "new" / "l.jsonl", "labels") == tmp_path / "new" / "l.jsonl"
    (tmp_path / "l.jsonl").touch()
    with pytest.raises(UserError, match=r"l\.jsonl exists, without the calls that labels are made from"):
        begun(tmp_path / "l.jsonl", "labels")
    (tmp_path / "l.calls.jsonl").touch()
    assert begun(tmp_path / "l.jsonl", "labels") == tmp_path / "l.jsonl"


def test_rows_and_summary_are_written_also_what_is_no_unicode(tmp_path: Path) -> None:
    write([{"text": "ü"}, {"text": "\ud800"}], {"rows": 2}, tmp_path / "l.jsonl")
    first, second = (tmp_path / "l.jsonl").read_text().splitlines()
    assert (first, second) == ('{"text": "ü"}', '{"text": "\\ud800"}')
    assert json.loads((tmp_path / "l.summary.json").read_text()) == {"rows": 2}
    write([], {"problems": {"HTTP 400: ü \ud800": 2}}, tmp_path / "l.jsonl")
    assert json.loads((tmp_path / "l.summary.json").read_text()) == {"problems": {"HTTP 400: ü \ud800": 2}}


def test_a_model_has_its_checksum_in_its_name(tmp_path: Path) -> None:
    folder = tiny.save_model(tmp_path / "model", "llama")
    policy, name, checksum = loaded(folder, Settings(quiet=True, threads=1, device="cpu"))
    assert checksum == hash_of(fingerprint(policy))
    assert name == f"{folder} ({checksum[:12]})"
    assert identity_of(policy, checksum) == checksum
    half, _, same = loaded(folder, Settings(quiet=True, threads=1, device="cpu", precision="bfloat16"))
    assert (same, identity_of(half, same)) == (checksum, f"{checksum}, bfloat16")
    with pytest.raises(UserError, match="no such folder"):
        loaded(tmp_path / "none", Settings(quiet=True, threads=1, device="cpu"))
