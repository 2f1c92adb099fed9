"""`burnish launch`: several processes through torchrun."""

import logging
import os

import click

from burnish.cli.commands import DIVIDED
from burnish.cli.processes import INTERRUPTED
from burnish.run import UserError


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("processes", type=click.IntRange(min=1))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def launch(processes: int, command: tuple[str, ...]) -> int:
    """Run in several PROCESSES on this machine, as in `burnish launch 2 -- dpo --data pairs.jsonl --out runs/pairs`.

    The COMMAND is a method, evaluate, sample, rewardbench or pretrain. It calls `torchrun --standalone
    --nproc-per-node PROCESSES -m burnish COMMAND`. The result is the same as with one process, apart from rounding and
    dropout. Each process has an equal part of the processor's cores, unless --threads or OMP_NUM_THREADS say otherwise.
    """
    command = command[1:] if command[0] == "--" else command
    if not command:
        raise click.UsageError("Give a command and its options: burnish launch 2 -- dpo …")
    if command[0].replace("-", "_") not in DIVIDED:
        raise UserError(f"burnish {command[0]} runs in one process: start it without launch")
    return run(processes, command)


def run(processes: int, command: tuple[str, ...]) -> int:
    """The exit status of the processes. They say what failed, so torchrun's own report is left out."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    logging.disable(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    try:
        main(["--standalone", "--nproc-per-node", str(processes), "-m", "burnish", *command])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            raise UserError(
                f"process {rank} of {processes} was ended by {failure.signal_name()}: continue with --resume"
            ) from None
        return failure.exitcode
    except SignalException:
        return INTERRUPTED
    finally:
        logging.disable(logging.NOTSET)
    return 0
