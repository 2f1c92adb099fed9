"""One of several processes: the main one prints, and the first that fails says why."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from burnish.cli.commands import METHODS
from burnish.run import UserError
from burnish.run.world import joined, several

INTERRUPTED = 130
"""The exit status after Ctrl-C, as of a command that SIGINT ends."""


@contextmanager
def one_voice(arguments: list[str]) -> Iterator[list[str]]:
    """Join the processes that a launcher started, if it did, and yield the arguments of this one.

    A process that is not the main one prints nothing. Where several fail, the first one's error is printed alone.
    Raises UserError for a command that does not train.
    """
    if not several():
        yield arguments
        return
    world = joined()
    try:
        if not any(one.replace("-", "_") in METHODS for one in arguments[:1]):
            named = " ".join(["burnish", *arguments[:1]])
            raise UserError(f"{named} runs in one process: start it without torchrun")
        if world.is_main:
            yield arguments
        else:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            yield [*arguments, "--quiet"]
    except BaseException:
        if not world.fails_first():
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        raise
