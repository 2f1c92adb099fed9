"""Writers that are killed, interrupted or out of disk space leave the old content or the new, never a mixture."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from faults import every_fault

from burnish.run import (
    UserError,
    clean_leftovers,
    make_folder,
    remove_folder_atomically,
    save_folder_atomically,
    write_atomically,
)


def in_child(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Run `work` in a child process, kill it with SIGKILL after so many seconds, and return its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, text: str) -> None:
    (folder / "sub").mkdir()
    (folder / "a").write_text(text)
    (folder / "sub" / "b").write_text(text)


def content(folder: Path) -> set[str]:
    return {(folder / "a").read_text(), (folder / "sub" / "b").read_text()}


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"
    write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["x.json"]


def test_a_reader_at_work_keeps_the_old_file(tmp_path: Path) -> None:
    """The new content is a separate file that takes over the name, so the old file is never partly overwritten."""
    path = tmp_path / "x"
    write_atomically(path, "old")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, "old")

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(UserError, match=r"x cannot be written \(File too large\)"):
            write_atomically(path, b"1" * 2000)

    assert in_child(work) == 0
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_a_missing_parent_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory"):
        write_atomically(tmp_path / "nowhere" / "x", "")


def test_a_folder_appears_only_when_its_block_ends(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "model"
    with save_folder_atomically(final) as new:
        fill(new, "1")
        assert new.parent == final.parent  # The same file system, so that renaming moves nothing.
        assert not final.exists()
        files = [(new / "a").stat().st_ino, (new / "sub").stat().st_ino]
    assert [(final / "a").stat().st_ino, (final / "sub").stat().st_ino] == files  # Renamed at once, not copied.
    assert content(final) == {"1"}
    assert names(final.parent) == ["model"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    final = tmp_path / "model"
    with save_folder_atomically(final) as new:
        fill(new, "1")
        (new / "only in the first").touch()
    with save_folder_atomically(final) as new:
        fill(new, "2")
    assert content(final) == {"2"}
    assert names(final) == ["a", "sub"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    final = tmp_path / "model"
    with save_folder_atomically(final) as new:
        fill(new, "1")

    def work() -> None:
        with save_folder_atomically(final) as new:
            fill(new, "2")
            raise error

    with pytest.raises(error):
        work()
    assert content(final) == {"1"}
    assert names(tmp_path) == ["model"]


def test_a_full_disk_leaves_the_old_folder_and_one_sentence(tmp_path: Path) -> None:
    final = tmp_path / "model"
    with save_folder_atomically(final) as new:
        fill(new, "1")

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(UserError, match="model cannot be written"), save_folder_atomically(final) as new:
            fill(new, "2" * 2000)

    assert in_child(work) == 0
    assert content(final) == {"1"}
    assert names(tmp_path) == ["model"]


def test_a_kill_between_the_two_renames_is_repaired(tmp_path: Path) -> None:
    """The moment is too short to hit by chance, so its leftovers are created by hand."""
    (tmp_path / ".burnish-old-model").mkdir()
    fill(tmp_path / ".burnish-old-model", "1")
    (tmp_path / ".burnish-new-model").mkdir()
    clean_leftovers(tmp_path)
    assert content(tmp_path / "model") == {"1"}
    assert names(tmp_path) == ["model"]


def test_a_kill_after_both_renames_is_repaired(tmp_path: Path) -> None:
    (tmp_path / ".burnish-old-model").mkdir()
    fill(tmp_path / ".burnish-old-model", "1")
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model", "2")
    clean_leftovers(tmp_path)
    assert content(tmp_path / "model") == {"2"}
    assert names(tmp_path) == ["model"]


def test_cleaning_touches_nothing_else(tmp_path: Path) -> None:
    for name in ("x", ".hidden", ".burnish-newer"):
        (tmp_path / name).touch()
    (tmp_path / ".burnish-new-x-123").touch()
    clean_leftovers(tmp_path)
    assert names(tmp_path) == [".burnish-newer", ".hidden", "x"]
    clean_leftovers(tmp_path / "absent")


def test_a_removed_folder_is_gone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    fill(tmp_path / "x", "1")
    remove_folder_atomically(tmp_path / "x")
    assert names(tmp_path) == []


def test_killed_writers_leave_a_whole_file_and_a_whole_folder(tmp_path: Path) -> None:
    """Twenty real processes that write without a pause, killed at random moments."""
    moments = random.Random(0)
    path, final = tmp_path / "x", tmp_path / "model"
    write_atomically(path, "0" * 100_000)
    with save_folder_atomically(final) as new:
        fill(new, "0" * 100_000)

    def work() -> None:
        for number in range(1, 1_000_000):
            text = str(number % 10) * 100_000
            write_atomically(path, text)
            with save_folder_atomically(final) as new:
                fill(new, text)

    unfinished = 0
    for _ in range(20):
        assert in_child(work, kill_after=moments.uniform(0.005, 0.05)) == -signal.SIGKILL
        unfinished += len(names(tmp_path)) > 2
        clean_leftovers(tmp_path)
        assert names(tmp_path) == ["model", "x"]
        (text,) = content(final)
        for whole in (text, path.read_text()):
            assert whole == whole[0] * 100_000
    assert unfinished  # Otherwise no kill interrupted a write, and the test proved nothing.


def test_an_error_at_any_operation_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, "old")

    def check(ended: bool) -> None:
        assert path.read_text() == "new" if ended else path.read_text() in ("old", "new")
        write_atomically(path, "old")
        assert names(tmp_path) == ["x"]

    assert every_fault(tmp_path, lambda: write_atomically(path, "new"), check) >= 5  # open, fsync, replace, open, fsync


def test_an_error_at_any_operation_leaves_the_old_folder_or_the_new_one(tmp_path: Path) -> None:
    final = tmp_path / "model"

    def save(text: str) -> None:
        with save_folder_atomically(final) as new:
            fill(new, text)

    def check(ended: bool) -> None:
        clean_leftovers(tmp_path)
        assert content(final) == {"2"} if ended else content(final) in ({"1"}, {"2"})
        save("1")
        assert names(tmp_path) == ["model"]

    save("1")
    assert every_fault(tmp_path, lambda: save("2"), check) >= 20


def test_a_full_disk_under_a_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    """tokenizers raises a bare Exception there."""
    with (
        pytest.raises(
            UserError, match=r"model cannot be written \(No space left on device \(os error 28\)\): make room"
        ),
        save_folder_atomically(tmp_path / "model"),
    ):
        tiny.make_tokenizer().backend_tokenizer.save("/dev/full")
    with pytest.raises(ValueError, match="is not the disk's"), save_folder_atomically(tmp_path / "model"):
        raise ValueError("(os error 5) is not the disk's")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/c cannot be made \(Not a directory\): choose another --out"):
        make_folder(tmp_path / "file" / "c")
