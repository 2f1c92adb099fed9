"""Commands of whole studies: their flags, and what they refuse before anything is computed."""

from pathlib import Path
from typing import Any

import pytest

COMMON = {
    "demo": "--seed --resume --precision --device --threads",
    "write": "--seed --threads",
    "pretrain": "--seed --threads",
    "judge": "",
    "study checked": "",
    "study frontier": "",
    "study overoptimise": "",
    "study selection": "",
    "study shares": "",
    "study onoff": "",
}
OWN = {
    "demo": "--out --runs --quick --overwrite",
    "write": "--out --texts",
    "pretrain": "--out --text --epochs",
    "judge": "--out",
    "study checked": "--out --quick --tasks --seeds --jobs --resume",
    "study frontier": "--out --quick --full --seeds --jobs --resume",
    "study overoptimise": "--out --quick --seeds --jobs --resume",
    "study selection": "--out --quick --seeds --jobs --resume",
    "study shares": "--out --quick --seeds --judge --jobs --resume",
    "study onoff": "--out --quick --runs --jobs --resume",
}


@pytest.mark.parametrize("command", OWN)
def test_a_study_has_its_flags(command: str, burnish: Any) -> None:
    status, out, _ = burnish(*command.split(), "--help")
    assert status == 0
    for flag in [*OWN[command].split(), *COMMON[command].split(), "--quiet", "--debug"]:
        assert f"{flag} " in out or f"{flag}\n" in out, flag


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--runs", "0"], "--runs"),
        (["demo", "--out", "{taken}"], "{taken} "),
        (["pretrain"], "Missing option '--out'"),
        (["pretrain", "--out", "{taken}/out", "--text", "{taken}"], "{taken} has no shard-00000.jsonl"),
        (["pretrain", "--out", "{taken}/out", "--epochs", "0"], "--epochs"),
        (["judge", "--seed", "1"], "No such option"),
        (["study", "checkd"], "No such command 'checkd'"),
        (["study", "checked", "--jobs", "0"], "--jobs"),
        (["study", "checked", "--seeds", "0"], "--seeds"),
        (["study", "checked", "--tasks", "sort,revers"], "no task 'revers'; did you mean reverse?"),
        (["study", "frontier", "--quick", "--full"], "--quick and --full exclude each other"),
        (["study", "frontier", "--seeds", "0"], "--seeds"),
        (["study", "frontier", "--out", "{taken}"], "{taken} exists and is not empty"),
        (["study", "overoptimise", "--seeds", "0"], "--seeds"),
        (["study", "overoptimise", "--out", "{taken}"], "{taken} exists and is not empty"),
        (["study", "selection", "--seeds", "0"], "--seeds"),
        (["study", "selection", "--out", "{taken}"], "{taken} exists and is not empty"),
        (["study", "shares", "--seeds", "0"], "--seeds"),
        (["study", "shares", "--judge", "http://127.0.0.1:1"], "--judge of this study is a language model"),
        (["study", "onoff", "--runs", "0"], "--runs"),
        (["study", "onoff", "--out", "{taken}"], "{taken} exists and is not empty"),
        (["study", "checked", "--out", "{taken}"], "{taken} exists and is not empty"),
        (["study", "checked", "--resume", "--out", "{taken}"], "{taken} does not contain a run"),
    ],
)
def test_a_study_refuses_what_makes_no_sense(arguments: list[str], said: str, tmp_path: Path, burnish: Any) -> None:
    (tmp_path / "text").write_text("mine")
    status, out, err = burnish(*(argument.format(taken=tmp_path) for argument in arguments))
    assert (status, out) == (2, "")
    assert said.format(taken=tmp_path) in err
    assert "Traceback" not in err
    assert (tmp_path / "text").read_text() == "mine"
