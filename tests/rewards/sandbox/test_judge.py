"""Tests against a program in another thread, over the same pipes as between processes."""

import os
import threading
from typing import Any

import pytest

from burnish.rewards.sandbox.answer import serve
from burnish.rewards.sandbox.judge import Program, raised, verdict
from burnish.rewards.sandbox.wire import receive


def judged(source: str, *tests: str, entry: str | None = None) -> dict[str, Any]:
    (requests, asking), (answering, replies) = os.pipe(), os.pipe()
    with os.fdopen(requests, "rb") as read, os.fdopen(replies, "wb") as write:
        thread = threading.Thread(target=lambda: serve(receive(read), read, write))
        thread.start()
        with os.fdopen(asking, "wb") as ask, os.fdopen(answering, "rb") as heard:
            found = verdict(Program(ask, heard), source, list(tests), entry)
        thread.join()
    return found


ADD = "def add(a, b):\n    return a + b\n"


def test_tests_pass_and_fail_one_by_one() -> None:
    found = judged(ADD, "assert add(1, 2) == 3", "assert add('a', 'b') == 'ba'", "assert add([1], [2]) == [1, 2]")
    assert found["passed"] == 2
    assert found["why"].startswith("AssertionError")
    assert judged("def (", "assert True") == {"passed": 0, "why": "the program raised SyntaxError"}
    assert judged("import sys; sys.exit(0)", "assert True") == {"passed": 0, "why": "the program raised SystemExit"}
    assert judged(ADD, "assert subtract(1, 2)")["why"] == "NameError: name 'subtract' is not defined"


def test_objects_stay_in_the_program() -> None:
    stack = """
class Stack:
    def __init__(self): self.items = []
    def push(self, one): self.items.append(one); return self
    def pop(self): return self.items.pop()
    def __len__(self): return len(self.items)
    def __str__(self): return "stack"
    def __getitem__(self, i): return self.items[i]
def size(of): return len(of)
def halves(): yield from (1, 2)
"""
    test = """
s = Stack()
s.push(3).push(4)
assert len(s) == 2 and s.pop() == 4 and s.items == [3] and s[0] == 3 and size(s) == 1 and str(s) == "stack"
assert list(halves()) == [1, 2]
s.pop()
assert not s
try:
    s.pop()
    assert False
except IndexError:
    pass
"""
    assert judged(stack, test) == {"passed": 1, "why": ""}


def test_the_function_check_is_given_the_entry_point() -> None:
    check = "def check(candidate):\n    assert candidate(2, 2) == 4"
    assert judged(ADD, check, entry="add")["passed"] == 1
    assert judged("def add(a, b): return 5", check, entry="add")["passed"] == 0


@pytest.mark.parametrize(
    "source",
    [
        "class E:\n    __eq__ = __bool__ = lambda *_: True\n    __ne__ = lambda *_: False\ndef add(a, b): return E()",
        "class E(int):\n    __eq__ = lambda *_: True\ndef add(a, b): return E(9)",
        "def len(x): return 3\ndef add(a, b): return []",
        "class math:\n    isclose = lambda *_: True\ndef add(a, b): return 9",
        "def add(a, b): raise SystemExit(0)",
        "def add(a, b): raise StopIteration",
    ],
)
def test_no_value_of_a_program_passes_a_test_that_it_fails(source: str) -> None:
    tests = ["assert add(1, 2) == 3", "assert not (add(1, 2) != 3)", "import math\nassert math.isclose(add(1, 2), 3)"]
    assert judged(source, *tests, "assert len(add(1, 2)) == 3")["passed"] == 0


def test_an_exception_keeps_its_built_in_type() -> None:
    assert type(raised("ValueError", "x")) is ValueError
    assert type(raised("UnicodeDecodeError", "x")) is RuntimeError  # needs more than a text
    assert type(raised("SystemExit", "x")) is type(raised("len", "x")) is RuntimeError
    mine = "class Mine(KeyError): pass\ndef f(): raise Mine('x')"
    assert judged(mine, "try:\n    f()\n    assert False\nexcept KeyError:\n    pass")["passed"] == 1


def test_what_a_test_cannot_give() -> None:
    assert "can give a program only plain values" in judged(ADD, "add(lambda: 1, 2)")["why"]
    assert judged(ADD, "add.x = 1")["passed"] == 0
