"""Code of a user's can neither end the process nor change what later code depends on."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.run import alive_and_unchanged

TRY = """
import os, signal
from burnish.run import alive_and_unchanged
try:
    with alive_and_unchanged():
        {}
except SystemExit as error:
    print(error)
"""


@pytest.mark.parametrize(
    "ending",
    [
        "os._exit(0)",
        "os.abort()",
        "os.execl('/bin/true', 'true')",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(0, signal.SIGKILL)",
        "os.killpg(os.getpgid(0), signal.SIGKILL)",
        "signal.raise_signal(signal.SIGKILL)",
    ],
)
def test_what_would_end_the_process_is_an_error(ending: str) -> None:
    out = subprocess.run(
        [sys.executable, "-c", TRY.format(ending)], capture_output=True, text=True, start_new_session=True
    )
    name = "os.execv" if "exec" in ending else ending.partition("(")[0]
    assert (out.returncode, out.stdout) == (0, f"{name} would end the whole run\n")


def test_afterwards_everything_is_there_again() -> None:
    before = (os._exit, os.kill, os.execv, signal.raise_signal)
    with alive_and_unchanged():
        with alive_and_unchanged():
            pass
        assert os._exit is not before[0]
    assert (os._exit, os.kill, os.execv, signal.raise_signal) == before


def test_other_processes_may_be_ended() -> None:
    with alive_and_unchanged():
        os.kill(os.getpid(), 0)
        child = subprocess.Popen(["sleep", "60"])
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
        forked = multiprocessing.get_context("fork").Process(target=sys.exit, args=(3,))  # which ends by os._exit
        forked.start()
        forked.join()
        assert forked.exitcode == 3


def test_a_forked_process_does_not_go_on_as_the_run() -> None:
    script = TRY.format("pid = os.fork()") + "\nprint('the run', os.waitpid(pid, 0)[1] >> 8)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (out.returncode, out.stdout) == (0, "the run 1\n")
    assert out.stderr == "burnish: a process that was forked did not end itself: it ends here\n"


def state() -> tuple[Any, ...]:
    return os.getcwd(), sys.stdin, sys.stdout, sys.stderr, *map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))


@pytest.mark.parametrize(
    "change",
    [
        lambda: os.chdir("/"),
        lambda: setattr(sys, "stdin", None),
        lambda: setattr(sys, "stdout", None),
        lambda: setattr(sys, "stderr", None),
        lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    ],
)
def test_the_process_is_as_it_was_also_after_an_error(change: Callable[[], Any]) -> None:
    before = state()

    def fail() -> None:
        change()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), alive_and_unchanged():
        fail()
    assert state() == before


def test_a_working_folder_that_was_removed_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with alive_and_unchanged():
        (tmp_path / "here").rmdir()
    with alive_and_unchanged():
        os.chdir("/")
    assert os.getcwd() == "/"


def test_modules_are_found_again_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", before := ["a", "b"])
    with alive_and_unchanged():
        sys.path = ["mine", "b"]
    assert sys.path == ["mine", "b", "a"]
    assert before == ["a", "b"]


HARM = """
import os, sys
sys.path.insert(0, {source!r})
from burnish.run import alive_and_unchanged
for _ in range(2):
    with alive_and_unchanged():
        {harm}
    print("out é")
    print("err", file=sys.stderr)
sys.stdout.flush()
os.write(1, b"end\\n")
"""


@pytest.mark.parametrize(
    "harm",
    [
        "sys.stdout.close(); sys.stderr.close(); sys.stdin.close()",
        "sys.__stdout__.close(); sys.__stderr__.buffer.close()",
        "sys.stdout.buffer.close(); sys.stderr.detach()",
        "os.close(1); os.close(2); os.close(0)",
        "os.closerange(0, 3)",
        "os.close(1); open('/dev/null', 'w'); sys.stdout = sys.stderr = None",
        "os.dup2(os.open('/dev/null', os.O_WRONLY), 1)",
        "del sys.stdout, sys.stderr",
        "sys.stdout.reconfigure(encoding='ascii', errors='strict')",
    ],
)
def test_standard_streams_that_are_closed_or_replaced_are_there_again(harm: str) -> None:
    code = HARM.format(source=str(Path(alive_and_unchanged.__code__.co_filename).parents[2]), harm=harm)
    out = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert (out.returncode, out.stdout, out.stderr) == (0, "out é\nout é\nend\n", "err\nerr\n")
