"""Runs code that a user wrote: rewards, judges, environments, and modules named on the command line."""

import os
import site
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from burnish.run.atomic import UserError
from burnish.run.process import alive_and_unchanged, interrupted

LONGEST = 300
_HERE = str(Path(__file__).parents[1])
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages())
_OTHERS = (*_PACKAGES, sysconfig.get_path("stdlib"))


class UserCodeError(Exception):
    """What a user's own code raised, described on one line; `cause` is the exception itself."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(described(cause))
        self.cause = cause


@contextmanager
def user_code() -> Iterator[None]:
    """Raise whatever the block raises as UserCodeError; Ctrl-C and Burnish's own UserError pass unchanged.

    SystemExit is an error like any other here: a reward that calls `sys.exit(0)` must not end the run as a success; so
    is a KeyboardInterrupt that no Ctrl-C has caused.
    `os._exit` and its kin raise it too, and the process is afterwards as it was: see `alive_and_unchanged`.
    """
    with user_errors(), alive_and_unchanged():
        yield


@contextmanager
def user_errors() -> Iterator[None]:
    """`user_code` for a block inside `alive_and_unchanged`, which takes longer than a step of a small environment."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and interrupted():
            raise
        raise UserCodeError(error) from error


def first_line(error: BaseException) -> str:
    """The first line of an exception's message without its full stop; its type if there is no message."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


def described(error: BaseException) -> str:
    """The type and message of an exception, on one line; the type alone if the message cannot be had."""
    try:
        with user_code():  # an exception's own __str__ is the user's too
            text = " ".join(str(error).split())
    except UserCodeError:
        text = ""
    return f"{type(error).__name__}: {text}"[:LONGEST].rstrip(".") if text else type(error).__name__


def raised_at(error: BaseException) -> str | None:
    """Where an exception was raised, as `file, line n`: the innermost place in a user's own code, or else in an
    installed package; None where Burnish or Python has raised it."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [one for one in frames if not one[0].startswith(("<", _HERE + os.sep, *_OTHERS))]
    if not own and (not frames or not frames[-1][0].startswith(_PACKAGES) or frames[-1][0].startswith(_HERE)):
        return None
    file, line = (own or frames)[-1]
    with suppress(OSError):  # the working folder was removed
        file = file.removeprefix(os.getcwd() + os.sep)
    return f"{file}, line {line}"
