"""The process of an answer's program: runs it, and then calls its functions for the tests, which run in another.

It never sees a test or what one expects, only the arguments of each call.
"""

import builtins
import json
import os
import sys
from typing import Any, BinaryIO

from .confine import confine, folders
from .wire import WireError, decoded, encoded, receive, send


def main() -> None:
    """Serve the program that comes first on the standard input; what it prints is lost."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    confine(folders(), int(sys.argv[1]), int(sys.argv[2]))
    serve(receive(requests), requests, replies)


def serve(program: str, requests: BinaryIO, replies: BinaryIO) -> None:
    """Run the program, say what it defines, and answer requests until there are no more."""
    names: dict[str, Any] = {"__name__": "answer", "__builtins__": builtins}
    problem = ""
    try:
        exec(compile(program, "answer", "exec"), names)
    except BaseException as error:
        problem = type(error).__name__
    handles: list[Any] = []

    def keep(value: Any) -> Any:
        handles.append(value)
        return {"handle": len(handles) - 1}

    def find(tag: str, place: Any) -> Any:
        return names[place] if tag == "name" else handles[place]

    send(replies, {"names": [name for name in names if not name.startswith("__")], "problem": problem})
    while True:
        try:
            request = receive(requests)
        except WireError:
            return
        try:
            send(replies, {"value": encoded(performed(request, find), keep)})
        except BaseException as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind]
            send(replies, {"raised": (kinds or ["Exception"])[0], "text": type(error).__name__})


def performed(request: dict[str, Any], find: Any) -> Any:
    """What the tests ask for: a call, an attribute, an item, all items, a length, or a text."""
    target = decoded(request["of"], find)
    match request["do"]:
        case "call":
            given = decoded(request["args"], find)
            return target(*given, **decoded(request["kwargs"], find))
        case "attribute":
            return getattr(target, request["name"])
        case "item":
            return target[decoded(request["key"], find)]
        case "items":
            return list(target)
        case "length":
            return len(target)
        case "text":
            return str(target)
        case "truth":
            return bool(target)
    raise ValueError("no such request")


def script() -> None:
    """Run the program in the first line of the standard input as the main module, with the rest as its input."""
    program = json.loads(whole_line(0))
    confine(folders(), int(sys.argv[1]), int(sys.argv[2]))
    sys.argv = ["answer.py"]
    exec(compile(program, "answer.py", "exec"), {"__name__": "__main__", "__builtins__": builtins})


def whole_line(number: int) -> bytes:
    """The next line of an open file, and nothing after it."""
    found = bytearray()
    while one := os.read(number, 1):
        if one == b"\n":
            break
        found += one
    return bytes(found)
