"""Values between a program and its tests arrive as plain values, or not at all."""

import math
import tempfile
from collections import Counter, namedtuple
from enum import IntEnum
from typing import Any

import pytest

from burnish.rewards.sandbox import wire
from burnish.rewards.sandbox.wire import WireError, decoded, encoded, receive, send

PLAIN: list[Any] = [None, True, 0, -(10**400), 1.5, float("inf"), 2 + 3j, "é\ud800", b"\xff", bytearray(b"x"), {}, ()]
PLAIN += [[1, (2, {3})], {1: "a", (1, 2): [None]}, frozenset({1})]


def stream(content: bytes = b"") -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return file


def there_and_back(value: Any) -> Any:
    with stream() as file:
        send(file, encoded(value, lambda other: {"handle": type(other).__name__}))
        file.seek(0)
        return decoded(receive(file), lambda tag, inner: (tag, inner))


def test_plain_values_arrive_as_they_are() -> None:
    for value in PLAIN:
        found = there_and_back(value)
        assert found == value
        assert type(found) is type(value)
    assert math.copysign(1, there_and_back(-0.0)) == -1


def test_subclasses_arrive_as_the_plain_type_with_its_own_value() -> None:
    class Liar(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    class Always(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter([1, 2, 3])

    point = namedtuple("point", "x y")
    given = [Liar(7), Always([9]), Counter("aab"), point(1, 2), IntEnum("E", "A")(1)]  # type: ignore[list-item]
    found = there_and_back(given)
    assert repr(found) == "[7, [9], {'a': 2, 'b': 1}, (1, 2), 1]"
    assert [type(one) for one in found] == [int, list, dict, tuple, int]


def test_other_values_stay_where_they_are() -> None:
    assert there_and_back([object(), len]) == [("handle", "object"), ("handle", "builtin_function_or_method")]


def test_messages_end_and_have_a_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    for sent in (b"", b"1", b"no\n"):
        with pytest.raises(WireError), stream(sent) as file:
            receive(file)
    monkeypatch.setattr(wire, "MOST", 10)
    with pytest.raises(WireError, match="too long"), stream() as file:
        send(file, "x" * 10)
    with pytest.raises(WireError), stream(b'"' + b"x" * 20 + b'"\n') as file:
        receive(file)
