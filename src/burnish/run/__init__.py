"""The run folder: all files of a run, written so that a kill at any moment loses nothing that was finished.

    config.yaml        resolved and re-runnable             environment.json   versions, seed, hashes of data and model
    metrics.jsonl      one line per step                    checkpoints/       see `burnish.training.checkpoint`
    timings.jsonl      wall-clock times, kept separate      models.json        what each model was when the run began
    samples.jsonl      texts                                model/             loads in transformers
    SHA256SUMS         checksums of the finished model      report.html
    logs/              what each of several processes says

Files and folders are written under a temporary name, synced and renamed: they are complete or absent. The three
append-only files grow by whole lines; a checkpoint stores their lengths, and a resumed run truncates them to these.
"""

from burnish.run.addresses import without_keys
from burnish.run.atomic import (
    UserError,
    clean_leftovers,
    make_folder,
    remove_folder_atomically,
    save_folder_atomically,
    write_atomically,
)
from burnish.run.checksums import damage, sha256, write_checksums
from burnish.run.folder import RunFolder
from burnish.run.growing import growing_jsonl
from burnish.run.imported import find_here, imported
from burnish.run.memory import keep_freed_memory
from burnish.run.noise import BurnishWarning, hushed, silence_libraries, warn
from burnish.run.places import companion, results_folder, writable_file, writable_folder
from burnish.run.process import alive_and_unchanged
from burnish.run.records import config_differences, read_jsonl, read_mapping
from burnish.run.surroundings import lacks_memory, refuse_few_threads, refuse_special, threads_allowed
from burnish.run.terminal import never_fail_to_print, open_closed_streams, printable, said_if_slow
from burnish.run.user_code import UserCodeError, described, first_line, placed, raised_at, user_code, user_errors

__all__ = [
    "BurnishWarning",
    "RunFolder",
    "UserCodeError",
    "UserError",
    "alive_and_unchanged",
    "clean_leftovers",
    "companion",
    "config_differences",
    "damage",
    "described",
    "find_here",
    "first_line",
    "growing_jsonl",
    "hushed",
    "imported",
    "keep_freed_memory",
    "lacks_memory",
    "make_folder",
    "never_fail_to_print",
    "open_closed_streams",
    "placed",
    "printable",
    "raised_at",
    "read_jsonl",
    "read_mapping",
    "refuse_few_threads",
    "refuse_special",
    "remove_folder_atomically",
    "results_folder",
    "said_if_slow",
    "save_folder_atomically",
    "sha256",
    "silence_libraries",
    "threads_allowed",
    "user_code",
    "user_errors",
    "warn",
    "without_keys",
    "writable_file",
    "writable_folder",
    "write_atomically",
    "write_checksums",
]
