"""The commands of a chat, in whole sessions with a tiny model."""

import json
from pathlib import Path

import pytest
import tiny

from burnish.data import sources, tokenise
from burnish.policies.language.policy import load_policy
from burnish.recipes.conversation import COMMANDS

from .test_chat import answered, plain, talk, talker

__all__ = ["plain", "talker"]

ASKED = [tiny.BOS, 2, 7, 5, 1, 2]
"""user a film </s> assistant: words of roles are unknown."""


def test_undo_takes_back_a_question_and_its_answer(talker: Path) -> None:
    """What follows is as if it had not been said, but for the random stream of the turn."""
    lines = talk(["/undo", "the", "/undo", "a film"], talker).splitlines()
    assert lines[1] == "(there is nothing to take back)"
    assert lines[3] == "(taken back: the)"
    assert lines[4] == answered(talker, ASKED, turn=1)[1]


def test_system_sets_and_removes_the_message(talker: Path, plain: Path) -> None:
    lines = talk(
        ["/system very good", "a film", "/reset", "a film", "/reset", "/system", "a film"], talker
    ).splitlines()
    with_system = [tiny.BOS, 2, 11, 3, 1, *ASKED[1:]]
    assert lines[1] == "(the system message is set)"
    assert lines[2] == answered(talker, with_system)[1]
    assert lines[4] == answered(talker, with_system, turn=1)[1]  # it outlives a reset
    assert lines[6:] == ["(there is no system message)", answered(talker, ASKED, turn=2)[1]]
    assert "(/system needs a chat template, and the model has none)" in talk(["/system very good"], plain)


def test_a_conversation_is_saved_as_sft_reads_it(talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = [
        "/save talk.jsonl",
        "a film",
        "the",
        "/save",
        "/save talk.jsonl",
        "/undo",
        "/save talk.jsonl",
        "/save all.json",
    ]
    lines = talk(session, talker, system="very good").splitlines()
    assert lines[1] == "(there is nothing to save)"
    named = "(/save needs a file name that ends with .jsonl, as in /save talk.jsonl)"
    assert lines[4:] == [
        named,
        "(saved in talk.jsonl)",
        "(taken back: the)",
        "(saved in talk.jsonl)",
        "(saved in all.json)",
    ]
    (row,) = (json.loads(line) for line in (tmp_path / "talk.jsonl").read_text().splitlines())
    assert row == json.loads((tmp_path / "all.json").read_text())[0]
    spoken = [("system", "very good"), ("user", "a film"), ("assistant", lines[2])]
    assert [(one["role"], one["content"]) for one in row["messages"]] == spoken
    tokenizer = load_policy(talker).tokenizer
    for file in ("talk.jsonl", "all.json"):
        rows = tokenise.demonstrations(sources.load(tmp_path / file), tokenizer, 40, file)
        assert len(rows) == 1


def test_no_file_is_overwritten_and_what_cannot_be_written_is_said(talker: Path, tmp_path: Path) -> None:
    mine, folder = tmp_path / "mine.jsonl", tmp_path / "no" / "talk.jsonl"
    mine.write_text("precious")
    lines = talk(["a film", f"/save {mine}", f"/save {folder}", "a film"], talker).splitlines()
    assert lines[2] == f"({mine} exists: choose another name)"
    assert lines[3].startswith(f"({folder} cannot be written (No such file or directory)")
    assert len(lines) == 5
    assert mine.read_text() == "precious"


def test_both_conversations_are_saved_and_undone(talker: Path, plain: Path, tmp_path: Path) -> None:
    file = tmp_path / "both.jsonl"
    talk(["a film", "the", "/undo", f"/save {file}"], talker, plain)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["model"] for row in rows] == ["talker", "plain"]
    assert [len(row["messages"]) for row in rows] == [2, 2]


def test_help_lists_the_commands_and_others_are_answered_in_a_sentence(talker: Path) -> None:
    lines = talk(["/help", "/sistem be kind", "/undo twice", " /a film", "/quit", "the"], talker).splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(COMMANDS)]] == [name.split()[0] for name in COMMANDS]
    assert lines[1 + len(COMMANDS) :] == [
        "(/sistem is not a command: /help lists them)",
        "(/undo takes nothing behind it: write /undo alone)",
        answered(talker, [tiny.BOS, 2, 2, 5, 1, 2])[1],
    ]
