"""`burnish serve`: the port, the token, and a clean end."""

import json
import os
import signal
import urllib.request
from pathlib import Path

import jobs
import pytest
import tiny

from burnish.policies.language.connection import KEY
from burnish.recipes.serve.run import serve, token_of
from burnish.recipes.web import opened
from burnish.run import UserError


def test_a_token_is_given_in_one_of_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    assert token_of(None, None) is None
    (tmp_path / "token").write_text("of-a-file\n")
    monkeypatch.setenv(KEY, "of-the-environment")
    assert token_of(None, None) == "of-the-environment"
    assert token_of("given", None) == "given"
    assert token_of(None, tmp_path / "token") == "of-a-file"
    with pytest.raises(UserError, match="leave one out"):
        token_of("given", tmp_path / "token")
    with pytest.raises(UserError, match="cannot be read"):
        token_of(None, tmp_path / "none")
    (tmp_path / "token").write_text("\n")
    for wrong in ("", "a b", "é", "a\nb"):
        with pytest.raises(UserError, match="must be printable ASCII") as caught:
            token_of(wrong, None)
        assert "a b" not in str(caught.value)
    with pytest.raises(UserError, match="must be printable ASCII"):
        token_of(None, tmp_path / "token")


def test_another_host_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(UserError, match=r"--host 0\.0\.0\.0 lets other machines in.* needs a token"):
        serve("nowhere", host="0.0.0.0")


def test_a_port_in_use_is_refused_before_the_model_is_loaded() -> None:
    with opened("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port} cannot be opened \(Address already in use\)"):
            serve("nowhere", port=port)
    with pytest.raises(UserError, match="cannot be opened"):
        opened("256.0.0.1", 0)


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    """With status 0; nothing is printed but where it is and that it stopped, and never the token."""
    model = tiny.save_model(tmp_path / "tiny")
    (tmp_path / "token").write_text("sesame")
    command = ["serve", str(model), "--port", "0", "--threads", "1", "--token-file", str(tmp_path / "token")]
    process = jobs.start(command, tmp_path / "log")
    said = jobs.first_line(process, tmp_path / "log")
    assert said.startswith("tiny is served at http://127.0.0.1:"), (tmp_path / "log").read_text()
    url = said.split()[4].rstrip(";")
    asked = urllib.request.Request(f"{url}/models", headers={"Authorization": "Bearer sesame"})
    with urllib.request.urlopen(asked, timeout=30) as reply:
        assert json.loads(reply.read())["data"][0]["id"] == "tiny"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert jobs.finish(process, 60) == 0
    assert (tmp_path / "log").read_text() == f"{said}\nstopped\n"
    assert "sesame" not in said
