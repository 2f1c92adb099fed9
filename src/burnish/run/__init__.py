"""The run folder: all files of a run, written so that a kill at any moment loses nothing that was finished.

    config.yaml        resolved and re-runnable             environment.json   versions, seed, hashes of data and model
    metrics.jsonl      one line per step                    checkpoints/       see `burnish.training.checkpoint`
    timings.jsonl      wall-clock times, kept separate      model/             loads in transformers
    samples.jsonl      texts                                report.html

Files and folders are written under a temporary name, synced and renamed: they are complete or absent. The three
append-only files grow by whole lines; a checkpoint stores their lengths, and a resumed run truncates them to these.
"""

from burnish.run.atomic import (
    UserError,
    clean_leftovers,
    remove_folder_atomically,
    save_folder_atomically,
    write_atomically,
)
from burnish.run.folder import RunFolder
from burnish.run.places import writable_file, writable_folder
from burnish.run.records import config_differences, read_jsonl, read_mapping
from burnish.run.surroundings import lacks_memory, refuse_few_threads, refuse_special, threads_allowed
from burnish.run.terminal import never_fail_to_print, printable
from burnish.run.user_code import UserCodeError, described, first_line, user_code

__all__ = [
    "RunFolder",
    "UserCodeError",
    "UserError",
    "clean_leftovers",
    "config_differences",
    "described",
    "first_line",
    "lacks_memory",
    "never_fail_to_print",
    "printable",
    "read_jsonl",
    "read_mapping",
    "refuse_few_threads",
    "refuse_special",
    "remove_folder_atomically",
    "save_folder_atomically",
    "threads_allowed",
    "user_code",
    "writable_file",
    "writable_folder",
    "write_atomically",
]
