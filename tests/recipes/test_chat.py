"""Talking with tiny models: what they are given, what they answer, and when."""

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from data.tokenizers_on_the_spot import CHATML, make
from rich.console import Console

from burnish.cli import main
from burnish.config import Settings
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.chat import HELP, chat, heard, line_of_input, loaded, tell, tell_beside
from burnish.recipes.conversation import Speaker
from burnish.run import UserError

BASE = Settings(seed=3, threads=1, quiet=True, device="cpu")
TEMPLATE = (
    "{{ bos_token + ' ' }}{% for m in messages %}{{ m.role }} {{ m.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return tiny.save_model(tmp_path / "plain", seed=1)


@pytest.fixture
def talker(tmp_path: Path) -> Path:
    """A model with a chat template; the words of roles are unknown to it."""
    folder = tiny.save_model(tmp_path / "talker", seed=2)
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def talk(lines: list[str], *models: Path, **options: Any) -> str:
    """What is written when these lines are read."""
    waiting, out = iter(lines), io.StringIO()

    def read(_: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    chat(*models, max_new_tokens=6, base=BASE, read=read, write=out.write, **options)
    return out.getvalue()


def answered(model: Path, ids: list[int], turn: int = 0) -> tuple[list[int], str]:
    policy = load_policy(model)
    tokens = sample(policy, [ids], seed=3, max_new_tokens=6, streams=[turn]).tokens[0]
    return tokens, policy.tokenizer.decode(tokens, skip_special_tokens=True)


def test_plain_text_is_gone_on_with(plain: Path) -> None:
    """a = 7, film = 5, the = 8: the second turn is given all that was said before."""
    said = talk(["a film", "the"], plain)
    greeting, note, *rest = said.splitlines()
    assert greeting == f"plain: {HELP}"
    assert "has no chat template" in note
    first, text = answered(plain, [tiny.BOS, 7, 5])
    kept = [token for token in first if token > tiny.UNK]
    _, more = answered(plain, [tiny.BOS, 7, 5, *kept, 8], turn=1)
    assert [" ".join(line.split()) for line in rest] == [text, more]


def test_a_template_is_used_with_the_whole_conversation(talker: Path) -> None:
    """user and assistant are unknown (2): user a film </s> assistant → 2 7 5 1 2."""
    said = talk(["a film", "the"], talker)
    lines = said.splitlines()
    assert lines[0] == f"talker: {HELP}"
    assert len(lines) == 3
    first, text = answered(talker, [tiny.BOS, 2, 7, 5, 1, 2])
    kept = [token for token in first if token > tiny.UNK]
    _, more = answered(talker, [tiny.BOS, 2, 7, 5, 1, 2, *kept, 1, 2, 8, 1, 2], turn=1)
    assert lines[1:] == [text, more]


def test_a_system_message_comes_first_and_after_a_reset_again(talker: Path, plain: Path) -> None:
    lines = talk(["a film", "/reset", "a film"], talker, system="very good").splitlines()
    prompt = [tiny.BOS, 2, 11, 3, 1, 2, 7, 5, 1, 2]
    assert lines[1] == answered(talker, prompt)[1]
    assert lines[2] == "(a new conversation)"
    assert lines[3] == answered(talker, prompt, turn=1)[1]
    with pytest.raises(UserError, match="--system needs a chat template"):
        talk(["a film"], plain, system="very good")


def test_both_models_answer_labelled_and_remember_their_own(plain: Path, talker: Path) -> None:
    lines = [line for line in talk(["a film", "the"], talker, plain).splitlines() if line]
    assert lines[0] == f"talker and plain: {HELP}"
    assert lines[1].startswith("(plain has no chat template")
    assert [line.split(" > ")[0] for line in lines[2:]] == ["talker", "plain", "talker", "plain"]
    alone = [talk(["a film", "the"], one).splitlines()[-2:] for one in (talker, plain)]
    answers = [" ".join(line.split(" > ", 1)[1].split()) for line in lines[2:]]
    assert answers == [" ".join(alone[i % 2][i // 2].split()) for i in range(4)]


HALVES = (slice(0, 30), slice(30, 60))


def screen(width: int = 60) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, record=True, color_system=None)


def test_on_a_terminal_both_answer_side_by_side(plain: Path, talker: Path) -> None:
    console, lines, out = screen(), iter(["good film"]), io.StringIO()

    def read(_: str) -> str:
        if (line := next(lines, None)) is None:
            raise EOFError
        return line

    chat(plain, talker, max_new_tokens=6, base=BASE, read=read, write=out.write, console=console)
    shown = console.export_text()
    frame = shown[shown.rindex("plain") :]
    assert frame.split("\n")[0].split() == ["plain", "talker"]
    left, right = (" ".join(line[side].strip() for line in frame.split("\n")[1:]).strip() for side in HALVES)
    alone = [talk(["good film"], model).split("\n\n")[-1] for model in (plain, talker)]
    assert left
    assert right
    assert left in " ".join(alone[0].split())
    assert right in " ".join(alone[1].split())
    assert "plain >" not in out.getvalue()


def test_columns_grow_in_turn_and_ctrl_c_stops_what_still_comes() -> None:
    """The second has ended when the first is stopped: it keeps its text."""

    def long() -> Iterator[str]:
        yield "good"
        yield " film"
        yield " [b]"
        raise KeyboardInterrupt

    console = screen()
    tell_beside(["a", "b"], [long(), iter(["bad"])], console)
    shown = " ".join(console.export_text().split())
    assert "a b good bad a b good film bad a b good film [b] bad a b good film [b] (stopped) bad" in shown


def test_commands_and_the_end(plain: Path) -> None:
    said = talk(["", "   ", "/what", "/exit", "a film"], plain)
    assert said.splitlines()[2:] == ["(/what is not a command: /help lists them)"]
    assert talk([], plain).splitlines()[2:] == []


def test_an_answer_comes_piece_by_piece_and_ends_where_it_is_stopped(plain: Path) -> None:
    (speaker,) = loaded([plain], 6, BASE)
    speaker.hear("a film")
    _, whole = answered(plain, [tiny.BOS, 7, 5])
    pieces = list(speaker.answer(3, 0, 1.0, None))
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces).strip() == whole
    written: list[str] = []
    speaker.forget()
    speaker.hear("a film")

    def write(text: str) -> None:
        written.append(text)
        if len(written) == 1:
            raise KeyboardInterrupt

    tell(speaker, False, write, speaker.answer(3, 0, 1.0, None))
    assert written[1:] == [" (stopped)", "\n"]
    assert speaker.messages[-1] == {"role": "assistant", "content": written[0]}
    assert speaker.text == "a film" + written[0]


def test_half_a_character_waits_for_its_other_half(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny.make_policy()
    policy.tokenizer = make(template=CHATML)  # of bytes, of which some are no character by themselves

    def drawn(*_: Any, **__: Any) -> Iterator[int]:
        yield from "né!".encode()

    monkeypatch.setattr("burnish.recipes.conversation.stream_tokens", drawn)
    monkeypatch.setattr(Speaker, "prompt", lambda self: [0])
    speaker = Speaker("bytes", 6, policy)
    assert list(speaker.answer(0, 0, 1.0, None)) == ["n", "é", "!", ""]


def test_a_long_conversation_loses_its_beginning(plain: Path) -> None:
    """A context of 48 leaves 42 ids for a prompt: BOS and the last 41 words."""
    (speaker,) = loaded([plain], 6, BASE)
    speaker.hear(" ".join(["good"] * 30 + ["bad"] * 30))
    assert speaker.prompt() == [tiny.BOS] + [3] * 11 + [4] * 30


def test_mistakes_are_sentences(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        chat(tmp_path / "nowhere", base=BASE)
    with pytest.raises(UserError, match="no such folder"):
        chat(plain, tmp_path / "nowhere", base=BASE)
    with pytest.raises(UserError, match="leaves no room for your message in plain's context of 48 tokens"):
        chat(plain, max_new_tokens=48, base=BASE)
    with pytest.raises(UserError, match="top_p must lie above 0"):
        chat(plain, top_p=0.0, base=BASE)
    assert loaded([plain], None, BASE)[0].max_new_tokens == 24


def test_the_command_reads_a_pipe(
    plain: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["chat", str(plain), "--max-new-tokens", "6", "--seed", "3", "--threads", "1", "--device", "cpu"]
    reader, writer = os.pipe()
    os.write(writer, b"a film\n/exit\nthe\n")
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as given:
        monkeypatch.setattr(sys, "stdin", given)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    assert ended.value.code == 0
    lines = capfd.readouterr().out.splitlines()[2:]
    assert [" ".join(line.split()) for line in lines] == [answered(plain, [tiny.BOS, 7, 5])[1]]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (b"\xff\xfe\x00\x01 binary", "standard input is not UTF-8 text"),
        (b"a film\0\n", "standard input contains NUL characters"),
        (b"x" * 1_000_001, "a line of standard input has more than 1,000,000 characters"),
    ],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_input_that_is_no_text_is_a_sentence(
    given: bytes, sentence: str, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8", errors=errors))
    with pytest.raises(UserError, match=sentence):
        heard(line_of_input)


def test_lines_of_a_file_are_heard_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("ä film\n\nlast".encode()), encoding="utf-8"))
    assert [heard(line_of_input) for _ in range(4)] == ["ä film", "", "last", None]
