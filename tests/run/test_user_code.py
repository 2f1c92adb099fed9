"""What a user's code raises becomes one kind of error; exits are errors too, Ctrl-C is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from burnish.run import UserCodeError, UserError, described, first_line, placed, raised_at, user_code


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no message")


class ExitingError(Exception):
    def __str__(self) -> str:
        sys.exit(0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("two\n  lines."), "ValueError: two lines"),
        (SystemExit(0), "SystemExit: 0"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(), "StopIteration"),
        (BaseException("base"), "BaseException: base"),
        (SilentError(), "SilentError"),
        (ExitingError(), "ExitingError"),
    ],
)
def test_whatever_is_raised_is_described_on_one_line(error: BaseException, sentence: str) -> None:
    with pytest.raises(UserCodeError) as caught, user_code():
        raise error
    assert str(caught.value) == sentence
    assert caught.value.cause is error is caught.value.__cause__


def test_our_own_sentences_pass() -> None:
    error = UserError("a sentence")
    with pytest.raises(UserError) as caught, user_code():
        raise error
    assert caught.value is error


def test_ctrl_c_passes_and_what_only_looks_like_it_is_an_error() -> None:
    """The signal comes from another process, as from a terminal; the code may raise the interruption later."""

    def pressed() -> None:
        try:
            subprocess.run(["kill", "-INT", str(os.getpid())])
            time.sleep(60)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("later") from None

    with pytest.raises(KeyboardInterrupt), user_code():
        pressed()
    for handler in (signal.getsignal(signal.SIGINT), lambda number, frame: None):
        before = signal.signal(signal.SIGINT, handler)
        with pytest.raises(UserCodeError, match=r"^KeyboardInterrupt: by itself$"), user_code():
            raise KeyboardInterrupt("by itself")
        assert signal.signal(signal.SIGINT, before) is handler


def test_an_exit_does_not_end_the_process() -> None:
    with pytest.raises(UserCodeError, match="SystemExit: all good"), user_code():
        sys.exit("all good")


def test_a_long_message_is_cut() -> None:
    assert described(ValueError("x" * 1000)) == "ValueError: " + "x" * 288


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("  a.\nb."), "a"),
        (ValueError("a: b..."), "a: b"),
        (ValueError(" \n"), "ValueError"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_first_line_of_a_message_or_else_the_type(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_a_place_is_in_the_users_own_code_however_deep_the_error_was(tmp_path: Path) -> None:
    """The file's second line calls json, which raises in the standard library; Burnish's own errors have no place."""
    file = tmp_path / "mine.py"
    file.write_text("import json\ndef broken(): return json.loads('{')\n")
    own: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), own)
    with pytest.raises(UserCodeError) as caught, user_code():
        own["broken"]()
    assert raised_at(caught.value.cause) == f"{file}, line 2"
    assert raised_at(ValueError("never raised")) is None


def test_a_place_is_found_behind_an_error_that_a_library_raised_from_it(tmp_path: Path) -> None:
    """As Gymnasium does with a TypeError of an environment that it makes. What only a package raised has no place in
    the user's code."""
    mine, theirs = tmp_path / "mine.py", Path(pytest.__file__).with_name("theirs.py")
    own: dict[str, Any] = {}
    exec(compile("\n\ndef broken(): raise TypeError('mine')\n", str(mine), "exec"), own)
    library = "def made(make):\n  try: make()\n  except TypeError as e: raise TypeError(f'{e}, made') from e\n"
    exec(compile(library, str(theirs), "exec"), own)
    exec("def called(block, make):\n  with block(): made(make)\n", own)  # not from this file, which is a user's too
    with pytest.raises(UserCodeError) as caught:
        own["called"](user_code, own["broken"])
    named = f"TypeError: mine, made ({mine}, line 3)"
    assert placed(caught.value) == named
    caught.value.cause.__cause__ = None
    assert str(raised_at(caught.value.cause)).endswith("theirs.py, line 3")
    assert raised_at(caught.value.cause, packages=False) is None
    assert placed(caught.value) == "TypeError: mine, made"
