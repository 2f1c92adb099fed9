"""The entry point: exit status 0, 2 with one sentence, or 130."""

import sys
import traceback

import click

from burnish.cli.commands import METHODS, Commands
from burnish.run import UserError, lacks_memory, never_fail_to_print, printable, refuse_few_threads

INTERRUPTED = 130
CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
    "token_normalize_func": lambda name: name.replace("_", "-"),  # --learning_rate is --learning-rate
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit status 2 and one sentence for a user's mistake, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    never_fail_to_print()
    try:
        refuse_few_threads()
        status = cli.main(arguments, prog_name="burnish", standalone_mode=False)
    except SystemExit as error:  # no command exits by itself: a class of the user's that it ran did
        if debug:
            traceback.print_exc()
        print(f"burnish: the code that it ran called exit({error.code!r}): raise an exception there", file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        if debug:
            traceback.print_exc()
        object.__setattr__(error, "message", printable(error.message))
        error.show()
        sys.exit(2)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"burnish: {printable(error)}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:  # RecursionError is a RuntimeError
        if debug:
            traceback.print_exc()
        print(f"burnish: {printable(refused(error, arguments))}", file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        message = str(error) or str(error.__cause__ or "")  # click wraps the interruption in its own Abort
        print(f"burnish: interrupted{': ' + printable(message) if message else ''}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


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
        return "raise --accumulate, lower --batch-size or --max-length, or train adapters with --lora-rank"
    return "lower --group or --hidden" if command == "classic" else "lower --max-length or --max-new-tokens"


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(package_name="burnish")
def cli() -> None:
    """Post-training for language models, from REINFORCE to DPO."""
