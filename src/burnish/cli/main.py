"""The entry point: exit status 0, 2 with one sentence, 130, or 141."""

import io
import os
import re
import sys
import traceback
from itertools import pairwise

import click

from burnish.cli.commands import METHODS, Commands
from burnish.cli.processes import INTERRUPTED, one_voice
from burnish.options import LONGEST, shortened
from burnish.run import (
    UserError,
    first_line,
    lacks_memory,
    never_fail_to_print,
    open_closed_streams,
    printable,
    refuse_few_threads,
    silence_libraries,
    without_keys,
)

MAY_BE_EMPTY = ("--system",)
"""Options whose value is a text, which may have no character."""
BROKEN_PIPE = 141
LONG = re.compile(rf"[^\s']{{{LONGEST + 1},}}")
"""A value in an error message that is too long to be repeated."""
LONGER_THAN_NAMES = re.compile(r"[^\s'/]{256,}")
"""The same where the value may be the path of a file: no name in one is longer than 255 bytes."""
CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
    "token_normalize_func": lambda name: name.replace("_", "-"),  # --learning_rate is --learning-rate
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit status 2 and one sentence for a user's mistake or an error of the disk, 130 for Ctrl-C, 141
    if whoever reads the output has stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    open_closed_streams()
    never_fail_to_print()
    silence_libraries("--quiet" in arguments)
    output = sys.stdout
    try:
        refuse_few_threads()
        refuse_empty(arguments)
        with one_voice(arguments) as said:
            status = cli.main(said, prog_name="burnish", standalone_mode=False)
        sys.stdout.flush()  # here, and not at the end of the process, where an error could not be reported
    except SystemExit as error:  # no command exits by itself: a class of the user's that it ran did
        if debug:
            traceback.print_exc()
        if sys.stdout is not output:  # or click did, which replaces it when nobody reads it any more
            sys.exit(BROKEN_PIPE)
        print(f"burnish: the code that it ran called exit({error.code!r}): raise an exception there", file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, click.NoSuchOption):
            from burnish.cli.flags import translated

            error = translated(error)
        object.__setattr__(error, "message", printable(LONG.sub(abridged, without_keys(error.message))))
        error.show()
        sys.exit(2)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"burnish: {sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if debug:
            traceback.print_exc()
        drop_output()
        if isinstance(error, BrokenPipeError):
            sys.exit(BROKEN_PIPE)
        print(f"burnish: {sentence(of_the_disk(error))}", file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        message = str(error) or str(error.__cause__ or "")  # click wraps the interruption in its own Abort
        print(f"burnish: interrupted{': ' + printable(message) if message else ''}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (MemoryError, RuntimeError, ImportError) as error:  # after Abort, a RuntimeError as RecursionError is
        if debug:
            traceback.print_exc()
        print(f"burnish: {sentence(refused(error, arguments))}", file=sys.stderr)
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)


def refuse_empty(arguments: list[str]) -> None:
    """Raise UserError for an argument without a character: a path of none is the current folder to Python, and a
    variable of the shell that is not set looks like this."""
    for before, argument in pairwise(arguments):
        option = before if before.startswith("--") else ""
        if argument.startswith("--") and argument.endswith("="):
            option, argument = argument[:-1], ""
        if not argument and option not in MAY_BE_EMPTY:
            what = f"the value of {option}" if option else f"the argument after {before}"
            raise UserError(f"{what} is empty: give one, or leave it out")


def abridged(word: re.Match[str]) -> str:
    """A value that was found too long, shortened."""
    return shortened(word[0])


def sentence(text: object) -> str:
    """An error message as it is printed."""
    return printable(LONGER_THAN_NAMES.sub(abridged, without_keys(str(text))))


def of_the_disk(error: OSError) -> str:
    """A sentence for an error of a file, or of standard output, that nothing nearer to it has explained."""
    what = error.filename if isinstance(error.filename, str | os.PathLike) else "standard output"
    reason = error.strerror or first_line(error)
    return f"{what} cannot be read or written ({reason}): check the disk and its permissions"


def drop_output() -> None:
    """Let the rest of standard output go nowhere: Python would try again to write it when the process ends."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refused(error: Exception, arguments: list[str]) -> str:
    """What the machine refused, as a sentence; any other error is raised again."""
    if lacking := lacks_memory(error):
        return f"{lacking}: {advice(arguments)}"
    if isinstance(error, RecursionError):
        return "the input is nested too deeply: make it flatter; --debug shows where"
    raise error


def advice(arguments: list[str]) -> str:
    """What makes a command need less memory."""
    command = arguments[0].replace("-", "_") if arguments else ""
    if command in METHODS:
        first = "give --gradient-checkpointing, with --resume if the run has a checkpoint, "
        first = "" if "--gradient-checkpointing" in arguments else first
        return f"{first}raise --accumulate, lower --batch-size or --max-length, or train adapters with --lora-rank"
    return "lower --group or --hidden" if command == "classic" else "lower --max-length or --max-new-tokens"


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(package_name="burnish")
def cli() -> None:
    """Post-training for language models, from REINFORCE to DPO."""
