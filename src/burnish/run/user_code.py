"""Runs code that a user wrote: rewards, judges, environments, and modules named on the command line."""

import os
import site
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
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


def raised_at(error: BaseException, packages: bool = True) -> str | None:
    """Where an exception, or the one that it was raised from, was raised, as `file, line n`: the innermost place in a
    user's own code, or else, with `packages`, in an installed one; None where Burnish or Python has raised it."""
    frames = _places(error)
    own = _own(frames) or _own(_places(error.__cause__))
    if not own and (
        not packages or not frames or not frames[-1][0].startswith(_PACKAGES) or frames[-1][0].startswith(_HERE)
    ):
        return None
    file, line = (own or frames)[-1]
    with suppress(OSError):  # the working folder was removed
        file = file.removeprefix(os.getcwd() + os.sep)
    return f"{file}, line {line}"


def placed(error: UserCodeError) -> str:
    """What a user's code raised, and the file and line of it where that is known."""
    place = raised_at(error.cause, packages=False)
    return f"{error} ({place})" if place else str(error)


def _places(error: BaseException | None) -> list[tuple[str, int]]:
    """The files and lines that an exception has passed, from the outermost on."""
    if error is None:
        return []
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]


def _own(places: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those in a user's own code."""
    return [one for one in places if not one[0].startswith(("<", _HERE + os.sep, *_OTHERS))]
