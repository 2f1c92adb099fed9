"""What of warnings and logs is printed, in a process of its own: the switches are global."""

import subprocess
import sys
import textwrap

import pytest

SETUP = """
import logging, sys, types, warnings
from burnish.run.noise import BurnishWarning, silence_libraries, warn
silence_libraries({quiet})

def inside(module, said, category=UserWarning):
    exec(compile("warnings.warn(said, category)", "x.py", "exec"), {{**globals(), "__name__": module, "said": said,
         "category": category}})
"""


def printed(code: str, *options: str, quiet: bool = False) -> str:
    whole = SETUP.format(quiet=quiet) + textwrap.dedent(code)
    found = subprocess.run([sys.executable, *options, "-c", whole], capture_output=True, text=True, check=True)
    return found.stderr


CODE = """
inside("transformers.models.gpt2", "torch_dtype is deprecated", FutureWarning)
inside("torch.optim", "call it later")
inside("burnish.training", "something of a library that blames its caller")
logging.getLogger("transformers.generation").warning("Setting pad_token_id")
logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 8s")
inside("torch.cuda", "CUDA initialization: the driver is too old")
inside("mine.reward", "the user's own,\\n on two lines")
def read():
    warn("a.jsonl: one label\\x1b[2J")
for _ in range(2):
    read()
"""


def test_burnish_and_the_users_code_are_heard_in_one_line_each() -> None:
    assert printed(CODE).splitlines() == [
        "warning: CUDA initialization: the driver is too old",
        "warning: the user's own, on two lines",
        "warning: a.jsonl: one label\\x1b[2J",
    ]
    assert printed(CODE, quiet=True) == ""


def test_a_block_can_be_hushed_and_warnings_are_heard_after_it() -> None:
    code = """
    from burnish.run import hushed
    for quiet in (False, True):
        with hushed(quiet):
            warn(f"said with {quiet}")
    warn("said last")
    """
    assert printed(code).splitlines() == ["warning: said with False", "warning: said last"]


def test_who_asks_python_for_warnings_gets_them() -> None:
    assert "UserWarning: call it later" in printed(CODE, "-W", "default")


@pytest.mark.parametrize(("given", "kept"), [("info", "info"), (None, "error")])
def test_a_library_keeps_what_a_user_has_set(given: str | None, kept: str) -> None:
    setting = "" if given is None else f'import os; os.environ["TRANSFORMERS_VERBOSITY"] = "{given}"'
    code = f'{setting}\n{SETUP.format(quiet=False)}\nimport os; print(os.environ["TRANSFORMERS_VERBOSITY"])'
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == kept
