"""Every command: one sentence and exit status 2 for a mistake, 130 for Ctrl-C."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny

from burnish.algorithms.table import LANGUAGE
from burnish.cli import cli, main
from cli.arguments import options

MISTAKES: dict[str, tuple[list[str], str]] = {
    "missing file": (["sft", "--data", "{files}/none.jsonl"], "none.jsonl does not exist"),
    "wrong columns": (["sft", "--data", "{files}/strange.jsonl"], "`answer`, `question`"),
    "pairs for sft": (["sft", "--data", "{files}/pairs.jsonl"], "burnish dpo"),
    "texts for dpo": (["dpo", "--data", "{files}/texts.jsonl"], "burnish sft"),
    "empty file": (["sft", "--data", "{files}/empty.jsonl"], "is empty"),
    "torn line": (["sft", "--data", "{files}/torn.jsonl"], "line 2"),
    "missing evaluation data": (["sft", "--eval-data", "{files}/none.jsonl"], "none.jsonl does not exist"),
    "bad model": (["sft", "--model", "{files}/nowhere"], "--model {files}/nowhere could not be loaded"),
    "out is a file": (["sft", "--out", "{files}/texts.jsonl"], "is a file"),
    "out is taken": (["sft", "--out", "{files}"], "--resume"),
    "unknown flag": (["sft", "--betta", "1"], "No such option"),
    "flag of another method": (["sft", "--beta", "1"], "No such option"),
    "no number": (["sft", "--steps", "many"], "--steps"),
    "no such schedule": (["sft", "--schedule", "steep"], "--schedule"),
    "negative steps": (["sft", "--steps", "-1"], "steps must be at least 1"),
    "negative rate": (["sft", "--learning-rate", "-1"], "learning_rate must be above 0"),
    "infinite rate": (["sft", "--learning-rate", "inf"], "learning_rate must be a finite number"),
    "negative beta": (["dpo", "--beta", "-1"], "beta must be above 0"),
    "no reward": (["ppo", "--quiet", "--reward", "helpful"], "--reward helpful is neither a folder nor a known reward"),
    "no such module": (["ppo", "--quiet", "--reward", "no_such_module:score"], "there is no module no_such_module"),
    "a policy as reward": (["ppo", "--quiet", "--reward", "{files}/model"], "is a model but not a reward model"),
    "negative price": (["ppo", "--beta", "-1"], "beta must be at least 0, not -1"),
    "longer than the context": (
        ["ppo", "--quiet", "--max-new-tokens", "48", "--max-length", "99"],
        "leaves no room for a prompt",
    ),
    "texts for a reward model": (["reward", "--data", "{files}/texts.jsonl"], "burnish sft"),
    "more pieces than rows": (["sft", "--accumulate", "5"], "accumulate must lie between 1 and batch_size"),
    "no such device": (["sft", "--device", "cuda:9"], "--device cuda:9"),
    "missing configuration": (["sft", "--config", "{files}/none.yaml"], "none.yaml cannot be read"),
    "no such command": (["sfd"], "No such command"),
    "no episodes": (["classic", "--episodes", "0"], "episodes must be at least 1"),
    "many runs": (["classic", "--runs", "many"], "--runs"),
    "no such environment": (["classic", "--env", "CartPool-v1"], "did you mean CartPole-v"),
    "no action to take": (["classic", "--env", "recipes.classic_worlds:Unled-v0"], "which is not supported"),
    "no such algorithm": (["classic", "--algorithms", "ppo,trop"], "'trop' for control: did you mean 'trpo'?"),
    "no algorithm": (["classic", "--algorithms", ","], "algorithms is empty"),
    "no layers": (["classic", "--hidden", "64;64"], "comma-separated, like 64,64, not '64;64'"),
    "hyperparameter as a flag": (["classic", "--clip", "0.1"], "No such option"),
    "missing file of an experiment": (["classic", "--config", "{files}/none.yaml"], "none.yaml cannot be read"),
    "experiment's folder is taken": (["classic", "--out", "{files}"], "--resume"),
}


def test_every_method_is_a_command(burnish: Any) -> None:
    status, out, _ = burnish("--help")
    assert status == 0
    for name, entry in LANGUAGE.items():
        assert name in out
        assert entry.summary[:40] in out
    assert burnish("online-dpo", "--help")[0] == 0


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(mistake: str, files: Path, tmp_path: Path, burnish: Any) -> None:
    (method, *more), message = MISTAKES[mistake]
    common = options(files, tmp_path / "run", method)[1:] if method in LANGUAGE else []
    arguments = [method, *common, *(text.format(files=files) for text in more)]
    status, out, err = burnish(*arguments)
    assert (status, out) == (2, "")
    assert message.format(files=files) in err
    assert "Traceback" not in err
    if "burnish: " in err:
        assert err.startswith("burnish: ")
        assert err.count("\n") == 1
    if method in LANGUAGE:
        assert "Traceback (most recent call last)" in burnish(*arguments, "--debug")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sft", "--steps", "9" * 5000],
        ["sft", "--steps", "9" * 1000],
        ["sft", "--steps", "x" * 1000],
        ["sft", "--schedule", "x" * 1000],
        ["evaluate", "run", "--prefixes", "-" + "9" * 1000],
        ["sft", f"--{'x' * 1000}"],
        ["x" * 1000],
        ["sft", "--out", "out", "--track", "x" * 1000],
        ["sft", "--out", "out", "--model", "x" * 1000],
        ["sft", "--out", "out", "--device", "x" * 1000],
        ["classic", "--out", "out", "--env", "x" * 1000],
        ["classic", "--out", "out", "--algorithms", "x" * 1000],
        ["evaluate", "x" * 1000],
    ],
    ids=lambda arguments: " ".join(arguments)[:29],
)
def test_a_long_value_is_not_repeated(arguments: list[str], burnish: Any) -> None:
    status, _, err = burnish(*arguments)
    assert status == 2
    assert "x" * 61 not in err
    assert "9" * 61 not in err
    assert "characters)" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "https://me:pa55@host/model?key=pa55"],
        ["sft", "--out", "out", "--track", "s3://id:pa55@bucket"],
        ["sft", "https://host/?token=pa55"],
        ["classic", "--out", "out", "--env", "https://pa55@host/x"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_key_in_an_address_is_not_repeated(arguments: list[str], burnish: Any) -> None:
    status, _, err = burnish(*arguments)
    assert status == 2
    assert "://" in err
    assert "pa55" not in err


def test_a_run_needs_a_place(files: Path, burnish: Any) -> None:
    status, _, err = burnish("sft", "--model", files / "model", "--data", files / "texts.jsonl")
    assert (status, err) == (2, "burnish: give --out, the run folder to write\n")


def test_a_loss_that_is_not_finite_is_told_with_step_and_rows(files: Path, tmp_path: Path, burnish: Any) -> None:
    """A rate of 1e9 sends the weights to infinity; the loss that shows it belongs to a later step."""
    arguments = options(files, tmp_path / "run")
    status, _, err = burnish(*arguments, "--learning-rate", "1e9", "--epochs", 9, "--quiet")
    assert status == 2
    assert err.startswith("burnish: step 2: the ")
    assert "texts.jsonl; " in err
    assert "step 1 is saved" in err
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


def test_quiet_prints_nothing_at_all(files: Path, tmp_path: Path, burnish: Any) -> None:
    assert burnish(*options(files, tmp_path / "run"), "--quiet") == (0, "", "")


def test_code_that_exits_is_no_success(
    files: Path, tmp_path: Path, burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaving(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("burnish.recipes.train.run.prepare_torch", leaving)
    status, out, err = burnish(*options(files, tmp_path / "run"))
    assert (status, out) == (2, "")
    assert err == "burnish: the code that it ran called exit(0): raise an exception there\n"


def test_no_answer_prompt_or_name_reaches_the_terminal_as_a_command(files: Path, tmp_path: Path, burnish: Any) -> None:
    """The title of the terminal is set by ESC ]0; … BEL; JSON files keep what was written."""
    title = "\x1b]0;mine\x07"
    tiny.write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"good{title}"}])
    limits = ("--max-new-tokens", 2, "--threads", 1)
    status, out, err = burnish("sample", files / "model", "--data", tmp_path / "prompts.jsonl", *limits)
    assert status == 0
    assert "good\\x1b]0;mine\\x07" in out
    found = burnish("compare", files / "model", files / "model", "--data", tmp_path / "prompts.jsonl", *limits)
    assert found[0] == 0
    missing = burnish("sft", "--data", tmp_path / f"{title}.jsonl", "--out", tmp_path / "run")
    assert missing[0] == 2
    assert "\\x1b]0;mine\\x07.jsonl does not exist" in missing[2]
    unknown = burnish(f"sft{title}")
    assert unknown[0] == 2
    assert not {"\x1b", "\x07"} & set(out + err + "".join(found[1:]) + missing[2] + unknown[2])


def test_control_c_before_the_loop_is_130_too(
    files: Path, tmp_path: Path, burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    monkeypatch.setattr("burnish.recipes.train.run.prepare_torch", interrupted)
    try:
        status, out, err = burnish(*options(files, tmp_path / "run"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status, out, err.strip()) == (130, "", "burnish: interrupted")


def test_a_full_standard_output_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "burnish", "--help"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    sentence = "standard output cannot be read or written (No space left on device): check the disk and its permissions"
    assert done.stderr == f"burnish: {sentence}\n"


def test_a_closed_standard_output_is_one_sentence() -> None:
    command = f'"{sys.executable}" -m burnish --help >&-'
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    sentence = "standard output cannot be read or written (Bad file descriptor): check the disk and its permissions"
    assert done.stderr == f"burnish: {sentence}\n"


def test_nobody_reads_the_output() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "burnish", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_error_of_the_disk_that_nothing_explained_is_one_sentence(
    tmp_path: Path, burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", str(tmp_path / "x"))

    monkeypatch.setattr("burnish.report.language.training.training_page", broken)
    status, _, err = burnish("report", tmp_path)
    assert status == 2
    assert (
        err
        == f"burnish: {tmp_path}/x cannot be read or written (Input/output error): check the disk and its permissions\n"
    )


@pytest.mark.parametrize(
    ("error", "arguments", "sentence"),
    [
        (MemoryError(), ["sft"], "not enough memory: give --gradient-checkpointing, with --resume if the run has a ch"),
        (MemoryError(), ["sft", "--gradient-checkpointing"], "not enough memory: raise --accumulate, lower --batch-si"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            ["sample"],
            "not enough memory (2.00 GiB asked",
        ),
        (MemoryError(), ["classic"], "not enough memory: lower --group or --hidden"),
        (
            RecursionError("maximum recursion depth exceeded"),
            ["dpo"],
            "the input is nested too deeply: make it flatter",
        ),
    ],
)
def test_what_the_machine_refuses_is_one_sentence(
    error: Exception, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith(f"burnish: {sentence}")
    assert said.count("\n") == 1


def test_an_error_of_the_code_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["sft"])


def test_two_models_to_chat_with_need_a_flag(burnish: Any) -> None:
    status, out, err = burnish("chat", "a", "b")
    assert (status, out) == (2, "")
    assert err.endswith("Error: Give one model, or two with --against: burnish chat A --against B\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sft", "--out", ""], "the value of --out is empty"),
        (["sft", "--out="], "the value of --out is empty"),
        (["dpo", "--data", "", "--out", "x"], "the value of --data is empty"),
        (["report", ""], "the argument after report is empty"),
        (["chat", ""], "the argument after chat is empty"),
        (["sft", "--resume", "", "--out", "x"], "the value of --resume is empty"),
    ],
)
def test_an_argument_without_a_character_is_one_sentence(arguments: list[str], said: str, burnish: Any) -> None:
    assert burnish(*arguments) == (2, "", f"burnish: {said}: give one, or leave it out\n")
