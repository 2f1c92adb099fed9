"""What every test is run with: shapes that are checked, no network, and the same examples every time."""

import gc
import os

# Before anything reads them: no test waits for a network, and no test forks a pool of threads.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import shapes
import unsynced  # noqa: F401

shapes.install()

# The same examples on every machine and every day, and no stopwatch: a busy machine is not a bug.
hypothesis.settings.register_profile("burnish", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.register_profile(
    "long",
    deadline=None,
    max_examples=1000,
    database=None,
    phases=[hypothesis.Phase.generate],
    report_multiple_bugs=False,
)
hypothesis.settings.load_profile("burnish")


gc.set_threshold(20_000, 10, 10)  # the 700 of Python's own 3.11 are a twentieth of the time of many a test


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests are there to stay: looking for garbage among them is a third of the time of collecting them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder, which is returned, and a pip without an index."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "cache"
