"""Where results go, and a model in this process."""

import json
from pathlib import Path

import pytest
import tiny

from burnish.config import Settings
from burnish.policies.language.fingerprint import fingerprint, hash_of
from burnish.recipes.constitution.calls import FEEDBACK, SUPERVISED
from burnish.recipes.constitution.files import begun, check_rows, identity_of, loaded, write
from burnish.run import UserError


@pytest.mark.parametrize("name", ["l.jsonl", "l.summary.json", "l.chains.jsonl"])
def test_a_file_that_is_there_needs_its_calls(tmp_path: Path, name: str) -> None:
    """The chains are written by one part alone."""
    assert begun(tmp_path / "new" / "l.jsonl", SUPERVISED) == tmp_path / "new" / "l.jsonl"
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"{name} exists, without the calls that it would be made from: choose"):
        begun(tmp_path / "l.jsonl", SUPERVISED)
    if name == "l.chains.jsonl":
        begun(tmp_path / "l.jsonl", FEEDBACK)
    (tmp_path / "l.calls.jsonl").touch()
    assert begun(tmp_path / "l.jsonl", SUPERVISED) == tmp_path / "l.jsonl"


def test_what_the_other_part_wrote_is_refused(tmp_path: Path) -> None:
    """Also where no call was made."""
    (tmp_path / "l.calls.jsonl").touch()
    (tmp_path / "l.summary.json").write_text('{"part": "feedback"}')
    assert begun(tmp_path / "l.jsonl", FEEDBACK) == tmp_path / "l.jsonl"
    with pytest.raises(UserError, match=r"l\.jsonl is of --part feedback: choose another --out, or give that part"):
        begun(tmp_path / "l.jsonl", SUPERVISED)
    for text in ("[]", "{", "{}", '{"part": ["?"]}'):
        (tmp_path / "l.summary.json").write_text(text)
        assert begun(tmp_path / "l.jsonl", SUPERVISED) == tmp_path / "l.jsonl"


@pytest.mark.parametrize("name", ["l.jsonl", "l.summary.json", "l.chains.jsonl", "l.calls.jsonl"])
def test_what_is_read_is_not_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "l.calls.jsonl").touch()
    with pytest.raises(UserError, match=rf"{name} is read by this command, which would write it: choose another --out"):
        begun(tmp_path / "l.jsonl", SUPERVISED, [{"prompt": "p"}], None, f"{tmp_path}/a.jsonl,{tmp_path}/x/../{name}")


def test_rows_that_are_there_are_not_replaced_by_none(tmp_path: Path) -> None:
    out, used_up = tmp_path / "l.jsonl", {"not_asked": 3}
    check_rows([], used_up, out)
    out.touch()
    check_rows([], used_up, out)
    out.write_text("{}\n")
    check_rows([{}], used_up, out)
    with pytest.raises(
        UserError, match=r"no row to write, and .*l\.jsonl stays as it is \(the budget is used up: raise"
    ):
        check_rows([], used_up, out)
    unread = {"not_asked": 0, "first_unread": {"source": "f", "row": 1, "problem": "no end"}}
    with pytest.raises(UserError, match=r"stays as it is \(the first is f, row 1: no end; or choose another --out\)"):
        check_rows([], unread, out)


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
