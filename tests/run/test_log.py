"""What a process says, in its own file."""

import io
import re
import sys
from pathlib import Path

import pytest

from burnish.run import UserError
from burnish.run.log import LOGS, Log, logged
from burnish.run.world import ALONE, LostError, World

TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ")


def lines(path: Path) -> list[str]:
    written = path.read_text().splitlines()
    assert all(TIME.match(line) for line in written)
    return [TIME.sub("", line) for line in written]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / LOGS).mkdir()
    return tmp_path


def test_lines_are_written_whole_and_passed_on(tmp_path: Path) -> None:
    beside = io.StringIO()
    log = Log(tmp_path / "log.txt", beside)
    print("one", "line", file=log)
    print("begun, ", end="", file=log)
    assert lines(tmp_path / "log.txt") == ["one line"]
    print("ended\n\nlast", file=log)
    print("\x1b[2K a bar", file=log)
    assert lines(tmp_path / "log.txt")[:3] == ["one line", "begun, ended", "last"]
    assert "\x1b" not in (tmp_path / "log.txt").read_text()
    assert beside.getvalue() == "one line\nbegun, ended\n\nlast\n\x1b[2K a bar\n"


def test_the_main_process_goes_on_to_print(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged(folder, World(0, 2)):
        print("said", file=sys.stderr)
        print("a result")
    assert capsys.readouterr() == ("a result\n", "said\n")
    first, *others = lines(folder / LOGS / "rank-000.txt")
    assert re.fullmatch(r"process 0 of 2 begins: number \d+ on \S+", first)
    assert others == ["said", "ended"]


def test_the_others_write_alone_and_go_on_below(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with logged(folder, World(1, 2)):
            print("said", file=sys.stderr)
            print("printed")
    assert capsys.readouterr() == ("", "")
    first, *others = lines(folder / LOGS / "rank-001.txt")
    assert others == ["said", "printed", "ended", first, "said", "printed", "ended"]


def test_what_ended_it_is_in_the_file(folder: Path) -> None:
    with pytest.raises(UserError), logged(folder, World(1, 3)):
        raise UserError("the sentence")
    found = lines(folder / LOGS / "rank-001.txt")
    assert found[1].startswith("Traceback")
    assert found[-1].endswith("UserError: the sentence")
    with pytest.raises(LostError), logged(folder, World(2, 3)):
        raise LostError("process 1 of 3 has ended")
    assert lines(folder / LOGS / "rank-002.txt")[1:] == ["process 1 of 3 has ended"]


def test_one_process_has_no_file_and_a_folder_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    with logged(tmp_path, ALONE):
        print("said", file=sys.stderr)
    with logged(tmp_path, World(1, 2)):
        print("said", file=sys.stderr)
    assert list(tmp_path.iterdir()) == []
