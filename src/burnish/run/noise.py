"""What a command prints besides its own lines: Burnish's warnings in plain words, and nothing of the libraries.

Libraries log and warn for the people who write programs with them. Whoever wants to see that sets their own variables,
such as TRANSFORMERS_VERBOSITY=info, or Python's PYTHONWARNINGS=default.
"""

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from burnish.run.terminal import printable

LIBRARIES = (
    *("accelerate", "bitsandbytes", "datasets", "fsspec", "huggingface_hub", "jinja2", "multiprocess", "numpy"),
    *("pandas", "peft", "pyarrow", "safetensors", "scipy", "tokenizers", "torch", "transformers"),
)
ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "true",  # its default; set, it does not warn where a process is forked
}
"""The libraries' own switches, which they read when they are imported."""

BARS = "HF_HUB_DISABLE_PROGRESS_BARS"
NEEDED = r"CUDA|.*NVIDIA|.*\bdriver\b"
"""Beginnings of PyTorch's warnings that say why a GPU is not used."""


class BurnishWarning(UserWarning):
    """Something that a user should know, and that is no error."""


def warn(message: str) -> None:
    """Warn a user, once for each message."""
    warnings.warn(message, BurnishWarning, stacklevel=3)


def silence_libraries(quiet: bool = False) -> None:
    """Let a command print Burnish's warnings as one line each, those of a user's own code too, and no library's.

    To be called before the libraries are imported. The bars of downloads stay on a terminal, unless `quiet`, which
    drops all warnings. What Python's own options say of warnings is left as it is.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if quiet or not sys.stderr.isatty():
        os.environ.setdefault(BARS, "1")
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
    if sys.warnoptions:
        return
    for library in (*LIBRARIES, "burnish"):  # a library may blame its caller
        warnings.filterwarnings("ignore", module=rf"{re.escape(library)}(\.|$)")
    warnings.filterwarnings("default", message=NEEDED)
    warnings.filterwarnings("default", category=BurnishWarning)
    if quiet:
        warnings.simplefilter("ignore")
    warnings.showwarning = show


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """Drop all warnings and the bars of downloads in the block, if `quiet`: from a file or in Python, where
    `silence_libraries` did not see it."""
    if not quiet:
        yield
        return
    hub = sys.modules.get("huggingface_hub.utils")
    bars = hub is not None and not hub.are_progress_bars_disabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hub and bars:
            hub.disable_progress_bars()
        try:
            yield
        finally:
            if hub and bars:
                hub.enable_progress_bars()


def show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: Any = None,
) -> None:
    """Print a warning as one line, without the place in the code that it comes from."""
    print(f"warning: {printable(' '.join(str(message).split()))}", file=file or sys.stderr)
