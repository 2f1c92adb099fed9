"""Checks in a process of its own, which ends where one takes too long and is then started anew."""

import json
import os
import select
import subprocess
import sys
from functools import cache
from typing import Any

from burnish.rewards.sandbox.run import calling
from burnish.run import UserError

WALL = 20
"""How many seconds of waiting stand for one of CPU time: only a process that sleeps reaches this limit."""


class Timed:
    """A process that does one kind of check; `score` is None where a check takes too long or ends the process."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._process: subprocess.Popen[bytes] | None = None

    def score(self, request: dict[str, Any], seconds: float = 1.0) -> float | None:
        """The check's score of a request, within so many seconds of CPU time."""
        line = json.dumps(request | {"seconds": seconds}).encode() + b"\n"
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except BrokenPipeError:
            self.stop()
            return None
        ready = select.select([process.stdout], [], [], 30 + WALL * seconds)[0]
        reply = process.stdout.readline() if ready else b""
        if not reply.endswith(b"\n"):
            self.stop()
            return None
        return float(json.loads(reply)["score"])

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, map(os.path.abspath, filter(None, sys.path))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-X", "utf8", *calling("worker", "main"), self.kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline() or '"it ended"')
        if said != "ready":
            self.stop()
            raise UserError(f"the process that checks {self.kind} does not start ({said}): mend the installation")
        return self._process


@cache
def timed(kind: str) -> Timed:
    """The one process of this kind of check."""
    return Timed(kind)
