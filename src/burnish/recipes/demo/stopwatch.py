"""Wall time and memory of a pipeline's stages."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stopwatch:
    """Seconds of each stage, in the order in which they first began; a stage that comes again adds to its own."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside the block to the stage `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def facts(self) -> dict[str, Any]:
        """For a summary: seconds in all and of each stage, and the process's peak memory so far in megabytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {
            "seconds": round(time.perf_counter() - self.began, 1),
            "peak_memory_mb": round(peak / 2**20),
            "stages": [{"name": name, "seconds": round(s, 1)} for name, s in self.seconds.items()],
        }
