"""Places for results: what cannot be written is refused at once, in one sentence, and nothing there is touched."""

import errno
import os
import re
import tempfile
from pathlib import Path

import pytest

from burnish.run import RunFolder, UserError, companion, results_folder, writable_file, writable_folder


def places(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Places that no folder can be made at, and what is said of each."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "away")
    long = tmp_path / ("x" * 300)
    return {
        "below a file": (tmp_path / "file" / "x", "file/x cannot be written (Not a directory)"),
        "a dangling link": (tmp_path / "link", f"link is a link to {tmp_path}/gone/away, which does not exist"),
        "below a dangling link": (tmp_path / "link" / "x", f"{tmp_path}/link"),
        "a name that is too long": (long, "cannot be written (File name too long)"),
        "a path that is too long": (tmp_path.joinpath(*["y" * 200] * 25), "cannot be written (File name too long)"),
        "NUL": (tmp_path / "a\0b", "cannot be written (embedded null byte)"),
        "no file system of files": (Path("/proc/x"), " cannot be written (No such file or directory)"),
    }


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []
    assert writable_folder(str(tmp_path / "a")) == tmp_path / "a"


def test_a_file_has_its_folder_made_and_is_not_made_itself(tmp_path: Path) -> None:
    assert writable_file(tmp_path / "a" / "b.json") == tmp_path / "a" / "b.json"
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "old").write_text("kept")
    assert writable_file(tmp_path / "old").read_text() == "kept"


def test_impossible_places_are_one_sentence(tmp_path: Path) -> None:
    for name, (place, sentence) in places(tmp_path).items():
        for use in (writable_folder, writable_file, RunFolder.open):
            with pytest.raises(UserError) as refused:
                use(place)
            assert sentence in str(refused.value), name
    with pytest.raises(UserError, match="file is a file: choose another --out"):
        writable_folder(tmp_path / "file")


def test_a_file_is_neither_a_folder_nor_a_device(tmp_path: Path) -> None:
    """To replace a device by a file, as an atomic write would, breaks the machine where root does it."""
    with pytest.raises(UserError, match=f"--out {tmp_path} is a folder: name a file in it"):
        writable_file(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="fifo is a device, a FIFO or a socket: name a file"):
        writable_file(tmp_path / "fifo")
    with pytest.raises(UserError, match="--out /dev/null is a device"):
        writable_file("/dev/null")


def test_a_read_only_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    for use in (writable_folder, lambda path: writable_file(path / "x.json")):
        with pytest.raises(UserError, match=re.escape(f"{tmp_path} cannot be written (Read-only file system)")):
            use(tmp_path)


def write_half(out: Path, error: BaseException) -> None:
    with results_folder(out, ("one", "two")):
        (out / "two").write_text("half of the results")
        raise error


@pytest.mark.parametrize("error", [UserError("full"), KeyboardInterrupt()])
def test_what_fails_leaves_no_results_and_no_folder(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        write_half(tmp_path / "a" / "b", error)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "one").write_text("earlier")
    with pytest.raises(UserError, match="full"):
        write_half(tmp_path / "kept", UserError("full"))
    assert [file.read_text() for file in (tmp_path / "kept").iterdir()] == ["earlier"]


def test_results_stay_where_nothing_fails_and_no_folder_is_needed_without_results(tmp_path: Path) -> None:
    with results_folder(tmp_path / "a", ("one",)):
        (tmp_path / "a" / "one").write_text("all")
    assert (tmp_path / "a" / "one").read_text() == "all"
    with results_folder(None, ("one",)):
        pass


def test_a_file_beside_a_jsonl_file_is_named_after_it(tmp_path: Path) -> None:
    assert companion(tmp_path / "labels.jsonl", ".calls.jsonl") == tmp_path / "labels.calls.jsonl"
    assert companion(str(tmp_path / "a.b"), ".order.json") == tmp_path / "a.b.order.json"
