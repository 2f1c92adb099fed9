"""`burnish serve` at the command line: what it refuses before anything is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'MODEL'"),
        (["{model}", "--port", "70000"], "70000 is not in the range"),
        (["{model}", "--host", "0.0.0.0"], "burnish: --host 0.0.0.0 lets other machines in"),
        (["{model}", "--token-file", "{model}/none"], "cannot be read"),
        (["nowhere", "--port", "0"], "burnish: --model nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], said: str, files: Path, burnish: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BURNISH_SERVER_TOKEN", raising=False)
    status, out, err = burnish("serve", *(one.format(model=files / "model") for one in arguments))
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_chat_with_a_server_takes_no_options_of_a_model_here(files: Path, burnish: Run) -> None:
    status, _, err = burnish("chat", "--server", "http://127.0.0.1:9", "--precision", "bfloat16")
    assert (status, "--precision is for a model in this process: leave it out, or --server" in err) == (2, True)
    status, _, err = burnish("chat")
    assert (status, "Missing argument 'MODEL'" in err) == (2, True)
    status, _, err = burnish("chat", "--server", "http://127.0.0.1:9")
    assert (status, "the server at http://127.0.0.1:9 does not respond" in err) == (2, True)
