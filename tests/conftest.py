"""Shapes in signatures are checked while tests run: the hook rewrites burnish as it is imported, and only then."""

import os

# Before anything reads them: no test waits for a network, and no test forks a pool of threads.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
from jaxtyping import install_import_hook

install_import_hook("burnish", "beartype.beartype")

# The same examples on every machine and every day, and no stopwatch: a busy machine is not a bug.
hypothesis.settings.register_profile("burnish", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("burnish")
