"""Shapes in signatures are checked while tests run: the hook rewrites burnish as it is imported, and only then."""

import hypothesis
from jaxtyping import install_import_hook

install_import_hook("burnish", "beartype.beartype")

# The same examples on every machine and every day, and no stopwatch: a busy machine is not a bug.
hypothesis.settings.register_profile("burnish", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("burnish")
