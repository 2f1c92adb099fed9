"""Shapes in signatures are checked while tests run: the hook rewrites burnish as it is imported, and only then.

Only modules that import jaxtyping have shapes. The checks of plain types in all others, which mypy makes too, would
take a quarter of the time of the tests; CHECK_TYPES=all turns them on.
"""

import os
import re

# Before anything reads them: no test waits for a network, and no test forks a pool of threads.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

SOURCE = Path(__file__).parents[1] / "src"


def modules_with_shapes() -> list[str]:
    found = []
    for file in (SOURCE / "burnish").rglob("*.py"):
        if file.name != "__init__.py" and re.search(r"^(from|import) jaxtyping\b", file.read_text("utf-8"), re.M):
            found.append(".".join(file.relative_to(SOURCE).with_suffix("").parts))
    return found


install_import_hook("burnish" if os.environ.get("CHECK_TYPES") == "all" else modules_with_shapes(), "beartype.beartype")

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


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder, which is returned, and a pip without an index."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "cache"
