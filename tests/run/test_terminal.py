"""What a terminal would obey is written out; the rest is untouched."""

import os
import subprocess
import sys
import threading

import pytest

from burnish.run import open_closed_streams, printable, said_if_slow, terminal

TITLE, CLEARED = "\x1b]0;mine\x07", "\x1b[2J"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a{TITLE}b", "a\\x1b]0;mine\\x07b"),
        (CLEARED, "\\x1b[2J"),
        ("\x9b2J\x7f\x00", "\\x9b2J\\x7f\\x00"),
        ("a\u202egnp.exe\u2066b\u2069", "a\\u202egnp.exe\\u2066b\\u2069"),
        ("over\rwritten, a\x08b", "over\\x0dwritten, a\\x08b"),
        ("two\r\nlines\n\tand é, 漢, 😀, العربية", "two\nlines\n\tand é, 漢, 😀, العربية"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_anything_can_be_shown() -> None:
    assert printable(ValueError(CLEARED)) == "\\x1b[2J"


def test_a_standard_output_that_lacks_a_character_gets_its_escape() -> None:
    code = "from burnish.run import never_fail_to_print; never_fail_to_print(); print('é 漢')"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=True
    )
    assert out.stdout == b"\\xe9 \\u6f22\n"


def test_standard_output_cannot_be_closed() -> None:
    code = "import sys; from burnish.run import never_fail_to_print; never_fail_to_print(); print('a', end='');"
    code += "sys.stdout.close(); sys.stderr.close(); print('b'); print('c', file=sys.stderr)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (out.stdout, out.stderr) == (b"ab\n", b"c\n")


def test_streams_that_were_closed_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    open_closed_streams()
    assert sys.stdin.read() == ""
    print("dropped", file=sys.stderr, flush=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        print("lost", flush=True)
    for stream in (sys.stdin, sys.stderr):
        stream.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sys.stdout.close()


def test_what_takes_long_is_said_and_what_does_not_is_not(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with said_if_slow("reading"):
        pass
    monkeypatch.setattr(terminal, "SLOW", 0.0)
    with said_if_slow("nothing", quiet=True), said_if_slow(f"loading {CLEARED}"):
        for timer in (one for one in threading.enumerate() if isinstance(one, threading.Timer)):
            timer.join()
    assert capfd.readouterr().err == "loading \\x1b[2J\n"
