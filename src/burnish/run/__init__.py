"""The run folder: what a run leaves behind, written so that a kill at any moment loses nothing that was finished.

    config.yaml        resolved and re-runnable             environment.json   versions, seed, hashes of data and model
    metrics.jsonl      one line a step                      checkpoints/       see `burnish.training.checkpoint`
    timings.jsonl      wall-clock figures, kept apart       model/             loads in transformers
    samples.jsonl      texts                                report.html

A file or folder is written beside its place, synced and renamed: it is complete or absent. The three growing files
grow by whole lines; a checkpoint remembers their lengths and a resumed run cuts them back to it.
"""

from burnish.run.atomic import (
    UserError,
    clean_leftovers,
    remove_folder_atomically,
    save_folder_atomically,
    write_atomically,
)
from burnish.run.folder import RunFolder
from burnish.run.records import config_differences, read_jsonl, read_mapping

__all__ = [
    "RunFolder",
    "UserError",
    "clean_leftovers",
    "config_differences",
    "read_jsonl",
    "read_mapping",
    "remove_folder_atomically",
    "save_folder_atomically",
    "write_atomically",
]
