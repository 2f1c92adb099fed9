"""The process of an answer's tests: runs them against a program that is in another process, and writes the verdict.

Both processes are confined, and the program has no way to this one but the values that its functions return. So nothing
that it changes, such as `AssertionError` or its own `==`, changes a verdict.
"""

import builtins
import json
import os
import sys
from typing import Any, BinaryIO

from .confine import confine, folders
from .wire import WireError, decoded, encoded, receive, send


class Program:
    """The connection to a program: `ask` gives what it answers, or raises what it raised.

    `gone` is True once it did not answer.
    """

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self.requests, self.replies, self.gone = requests, replies, False

    def begin(self, source: str) -> dict[str, Any]:
        """Send the program; what it defines, and what it raised."""
        send(self.requests, source)
        return receive(self.replies)

    def ask(self, of: Any, do: str, **more: Any) -> Any:
        try:
            send(self.requests, {"of": of, "do": do} | more)
            reply = receive(self.replies)
            value = decoded(reply["value"], self.remote) if "raised" not in reply else None
        except BaseException as error:  # an answer that cannot be decoded is none
            self.gone = True
            raise WireError("the program is gone") from error
        if "raised" in reply:
            raise raised(str(reply["raised"]), str(reply.get("text")))
        return value

    def remote(self, tag: str, place: Any) -> "Remote":
        return Remote(self, {tag: place})


class Remote:
    """Something of the program's that is no plain value, as a function or an object. It equals nothing but itself."""

    __slots__ = ("_burnish_place", "_burnish_program")

    def __init__(self, program: Program, place: Any) -> None:
        self._burnish_program, self._burnish_place = program, place

    def _burnish_ask(self, do: str, **more: Any) -> Any:
        return self._burnish_program.ask(self._burnish_place, do, **more)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._burnish_ask("call", args=encoded(args, place_of), kwargs=encoded(kwargs, place_of))

    def __getattr__(self, name: str) -> Any:
        return self._burnish_ask("attribute", name=name)

    def __getitem__(self, key: Any) -> Any:
        return self._burnish_ask("item", key=encoded(key, place_of))

    def __iter__(self) -> Any:
        return iter(self._burnish_ask("items"))

    def __len__(self) -> int:
        return int(self._burnish_ask("length"))

    def __str__(self) -> str:
        return str(self._burnish_ask("text"))

    def __bool__(self) -> bool:
        return self._burnish_ask("truth") is True


def place_of(value: Any) -> Any:
    if type(value) is Remote:
        return value._burnish_place
    raise TypeError("a test can give a program only plain values and what it returned")


def raised(name: str, text: str) -> Exception:
    """The built-in exception of this name, so that a test can expect it."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # some need more than a text
            pass
    return RuntimeError(f"{name}: {text}")


def verdict(program: Program, source: str, tests: list[str], entry: str | None) -> dict[str, Any]:
    """How many tests pass. Each is Python with the program's names; its function `check`, if any, is given `entry`."""
    begun = program.begin(source)
    if begun["problem"]:
        return {"passed": 0, "why": f"the program raised {begun['problem']}"}
    taken = {*dir(builtins), *sys.stdlib_module_names}
    known = {name: Remote(program, {"name": name}) for name in begun["names"] if name not in taken}
    passed, why = 0, ""
    for test in tests:
        names: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins} | known
        try:
            exec(compile(test, "tests", "exec"), names)
            if entry is not None and callable(check := names.get("check")):
                check(Remote(program, {"name": entry}))
        except BaseException as error:
            why = f"{type(error).__name__}: {str(error)[:200]}"
        else:
            passed += not program.gone
    return {"passed": passed, "why": why}


def main() -> None:
    """Read program and tests from the standard input as JSON, and write the verdict."""
    seconds, memory, requests, replies = map(int, sys.argv[1:])
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    program = Program(os.fdopen(requests, "wb"), os.fdopen(replies, "rb"))
    confine(folders(), seconds, memory)
    job = json.load(sys.stdin)
    found = verdict(program, job["program"], job["tests"], job["entry"])
    os.write(out, json.dumps(found).encode())
