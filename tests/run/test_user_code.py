"""What a user's code raises becomes one kind of error; exits are errors too, Ctrl-C is not."""

import sys

import pytest

from burnish.run import UserCodeError, UserError, described, first_line, user_code


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


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("a sentence")])
def test_ctrl_c_and_our_own_sentences_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, user_code():
        raise error
    assert caught.value is error


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
