"""No test waits for the disk: tests kill processes, never the machine, and processes see at once what one has written.

The waiting would be a third of the time of many a run. What is asked of the disk is still recorded, and made to fail,
by faults.py, and a descriptor that is not open is still an error.
"""

import os


def fsync(descriptor: int) -> None:
    os.fstat(descriptor)


os.fsync = fsync
