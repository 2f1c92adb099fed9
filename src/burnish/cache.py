"""The cache folder, and files of Python packages that pip downloads into it."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The folder for downloaded files: the environment variable BURNISH_CACHE, or the user's cache folder."""
    chosen = os.environ.get("BURNISH_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("burnish")


def download(requirement: str, path: Path, *options: str) -> str:
    """Download one file of a package with pip, without its dependencies; return "" or what went wrong.

    `path` is the file that pip is to leave: its folder and the name that the package index gives it. `options` are
    further options of `pip download`.
    """
    quick = ["--disable-pip-version-check", "--no-input", "--quiet", "--retries", "2", "--timeout", "20"]
    command = [sys.executable, "-m", "pip", "download", *quick, "--no-deps", *options, requirement]
    done = subprocess.run([*command, "--dest", str(path.parent)], capture_output=True, text=True, check=False)
    if path.exists():
        return ""  # of a source archive pip also builds the metadata; whether that worked does not matter
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return errors[-1].removeprefix("ERROR: ").rstrip(".") if errors else "pip left no file"
