"""How values travel between a program and its tests: plain values as JSON with tags, anything else as a number.

What arrives is always of Python's own plain types, so that no class of a program, whose `==` may say anything, is ever
compared. Other values stay where they are and are named by a handle.
"""

import json
from collections.abc import Callable
from typing import Any, BinaryIO

MOST = 10_000_000
"""The longest message in bytes."""


class WireError(BaseException):
    """The other side is gone, or said what is not a message. No test that expects an exception catches it."""


def encoded(value: Any, keep: Callable[[Any], Any]) -> Any:
    """A value as JSON can hold it; `keep` makes a tagged value of one that is not plain."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return {"int": hex(int.__index__(value))}
    if isinstance(value, float):
        return {"float": float.hex(float(value))}
    if isinstance(value, complex):
        return {"complex": [float.hex(value.real), float.hex(value.imag)]}
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__ if type(value) in (bytes, bytearray) else "bytes": bytes(value).hex()}
    kinds: tuple[tuple[Any, str], ...] = ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "frozenset"))
    for kind, name in kinds:
        if isinstance(value, kind):
            return {name: [encoded(one, keep) for one in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[encoded(k, keep), encoded(v, keep)] for k, v in dict.items(value)]}
    return keep(value)


def decoded(value: Any, find: Callable[[str, Any], Any]) -> Any:
    """The value of `encoded`; `find` gives what a tag of its own names."""
    if not isinstance(value, dict):
        return value
    ((tag, inner),) = value.items()
    simple: dict[str, Callable[[Any], Any]] = {
        "int": lambda text: int(text, 16),
        "float": float.fromhex,
        "complex": lambda parts: complex(*map(float.fromhex, parts)),
        "bytes": bytes.fromhex,
        "bytearray": bytearray.fromhex,
    }
    several: dict[str, Callable[[Any], Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
    if tag in simple:
        return simple[tag](inner)
    if tag in several:
        return several[tag](decoded(one, find) for one in inner)
    if tag == "dict":
        return {decoded(k, find): decoded(v, find) for k, v in inner}
    return find(tag, inner)


def send(stream: BinaryIO, message: Any) -> None:
    line = json.dumps(message).encode() + b"\n"
    if len(line) > MOST:
        raise WireError("a message is too long")
    stream.write(line)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message. Raises WireError where there is none, or one that is too long."""
    line = stream.readline(MOST + 1)
    if not line.endswith(b"\n"):
        raise WireError("the other side is gone")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError("that is no message") from error
