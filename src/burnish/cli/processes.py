"""One of several processes: the main one prints, and the first that fails says why."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from burnish.cli.commands import DIVIDED
from burnish.run import UserError
from burnish.run.world import joined, several

INTERRUPTED = 130
"""The exit status after Ctrl-C, as of a command that SIGINT ends."""


@contextmanager
def one_voice(arguments: list[str]) -> Iterator[list[str]]:
    """Join the processes that a launcher started, if it did, and yield the arguments of this one.

    A process that is not the main one prints nothing but, where it fails first, its error: where several fail, that is
    the only one printed. Raises UserError for a command that several processes cannot share.
    """
    if not several():
        yield arguments
        return
    world, errors = joined(), sys.stderr
    try:
        if not any(one.replace("-", "_") in DIVIDED for one in arguments[:1]):
            named = " ".join(["burnish", *arguments[:1]])
            raise UserError(f"{named} runs in one process: start it without torchrun")
        if not world.is_main:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        yield arguments
    except BaseException:
        sys.stderr = errors if world.fails_first() else open(os.devnull, "w")  # noqa: SIM115
        raise
