"""What a program is asked to do; what it serves is in test_judge.py."""

import os
from typing import Any

import pytest

from burnish.rewards.sandbox.answer import performed, whole_line


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({"do": "call", "args": {"tuple": [{"int": "0x2"}]}, "kwargs": {"dict": []}}, 4),
        ({"do": "attribute", "name": "x"}, 7),
        ({"do": "item", "key": "k"}, "k!"),
        ({"do": "items"}, [1, 2]),
        ({"do": "length"}, 5),
        ({"do": "text"}, "it"),
        ({"do": "truth"}, True),
    ],
)
def test_requests(request_: dict[str, Any], found: Any) -> None:
    class It:
        x = 7
        __call__ = lambda self, a: 2 * a  # noqa: E731
        __getitem__ = lambda self, key: f"{key}!"  # noqa: E731
        __iter__ = lambda self: iter([1, 2])  # noqa: E731
        __len__ = lambda self: 5  # noqa: E731
        __str__ = lambda self: "it"  # noqa: E731

    it = It()
    assert performed({"of": {"name": "it"}} | request_, lambda tag, place: it) == found


def test_another_request_is_refused() -> None:
    with pytest.raises(ValueError, match="no such request"):
        performed({"of": 1, "do": "delete"}, lambda tag, place: 0)


def test_only_one_line_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"program\nthe input")
    os.close(writing)
    assert whole_line(reading) == b"program"
    assert os.read(reading, 100) == b"the input"
    os.close(reading)
