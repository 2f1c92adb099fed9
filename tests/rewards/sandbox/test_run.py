"""Programs that attack, each in its own confined process."""

import os
from pathlib import Path

import pytest

from burnish.rewards.sandbox import run
from burnish.rewards.sandbox.run import Limits, refusal, run_script, run_tests

pytestmark = pytest.mark.skipif(bool(refusal()), reason="no sandbox here")

SHORT = Limits(seconds=1, wall_seconds=20, memory=256 * 2**20)
TEST = ["assert add(1, 2) == 3"]
ADD = "def add(a, b):\n    return a + b\n"


def test_a_right_program_passes_and_prints_where_nobody_reads() -> None:
    assert run_tests(ADD + "print('{\"passed\": 0}')", [*TEST, "assert add(1, 1) == 3"], None, SHORT).passed == 1


@pytest.mark.parametrize(
    "program",
    [
        "import os; os._exit(0)",
        "import builtins\nclass A(Exception):\n    __new__ = lambda c, *a: None\nbuiltins.AssertionError = A\n"
        "def add(a, b): return 0",
        "import os\ndef add(a, b):\n    for fd in range(64):\n        try: os.write(fd, b'{\"passed\": 1}\\n')\n"
        "        except OSError: pass\n    return 0",
        "def add(a, b): return len(bytearray(10**10))",
        "import os\nwhile True: os.fork()",
        "def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
        "def add(a, b): return [0] * 10**6 * 2",
        "import ctypes\nctypes.string_at(0)",
    ],
    ids=["exit", "assertion", "forged verdict", "memory", "fork", "nesting", "long answer", "crash"],
)
def test_an_attack_fails(program: str) -> None:
    assert run_tests(program, TEST, None, SHORT).passed == 0


def test_a_program_that_ignores_signals_is_ended_by_its_time() -> None:
    deaf = (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\n"
    )
    found = run_tests(deaf + "while True: pass", TEST, None, SHORT)
    assert (found.passed, found.total, found.why) == (0, 1, "the tests did not end")


def test_a_program_that_sleeps_is_ended() -> None:
    sleeping = Limits(seconds=1, wall_seconds=1, memory=256 * 2**20)
    assert run_tests("import time\ndef add(a, b): time.sleep(99)", TEST, None, sleeping).passed == 0


def test_the_environment_and_the_folder_are_not_passed_on() -> None:
    says = "import os\nprint(sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd())"
    assert run_script(says, "", SHORT) == "[] /\n"


def test_scripts_read_their_input_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_script("print(sum(map(int, input().split())))", "1 2 3\n", SHORT) == "6\n"
    assert run_script("if __name__ == '__main__': print('é')", "", SHORT) == "é\n"
    assert run_script("import sys; sys.exit(3)", "", SHORT) is None
    monkeypatch.setattr(run, "MOST_OUTPUT", 1000)
    assert run_script("while True: print('x' * 100)", "", SHORT) is None


def test_nothing_is_left_behind() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")

    def own() -> tuple[set[str], str]:
        return set(os.listdir("/proc/self/fd")), children.read_text() if children.exists() else ""

    before = own()
    run_tests(ADD, TEST, None, SHORT)
    run_script("print(1)", "", SHORT)
    assert own() == before


def test_a_sandbox_that_leaks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PROBE", "def reaches(): return ['files']")
    assert "could get out" in refusal.__wrapped__()
    monkeypatch.setattr(run, "missing", lambda: "it needs Linux")
    assert refusal.__wrapped__() == "it needs Linux"
