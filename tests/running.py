"""An app that answers at a socket, in a thread."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def running(app: Any, listening: socket.socket, **options: Any) -> Iterator[None]:
    """Inside, uvicorn answers requests at the socket; what is not answered when the block ends is given up."""
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.002)
        yield
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
