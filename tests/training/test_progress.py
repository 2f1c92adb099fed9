"""Progress: about ten lines where nobody watches, nothing where quiet."""

import threading

import pytest

from burnish.run import terminal
from burnish.training.progress import Progress


def test_ten_lines_with_the_last_numbers_seen(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("SFT", 40, start=10) as progress:
        for step in range(11, 41):
            progress.step(
                {"step": step, "loss": step / 4, "grad_norm": 9.0} | ({"eval_loss": 1.5} if step == 20 else {})
            )
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines == [
        "SFT 12/40 loss 3",
        "SFT 16/40 loss 4",
        *[f"SFT {step}/40 loss {step / 4:g} eval loss 1.5 (step 20)" for step in range(20, 41, 4)],
    ]


def test_a_short_run_has_a_line_a_step(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("DPO", 3) as progress:
        for _ in range(3):
            progress.step({"rewards/accuracies": 0.5, "rewards/margins": 0.25})
    assert capfd.readouterr().err.splitlines() == [f"DPO {k}/3 accuracy 0.5 margin 0.25" for k in (1, 2, 3)]


def test_scores_and_kl_are_shown_until_the_next_rollout(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("PPO", 4) as progress:
        for k in range(4):
            told = {"objective/scores": k / 2, "objective/kl": 3.0 + k} if k % 2 == 0 else {}
            progress.step({"loss": 1.0, "policy/approxkl_avg": 9.0} | told)
    assert capfd.readouterr().err.splitlines() == [
        "PPO 1/4 loss 1 score 0 KL 3",
        "PPO 2/4 loss 1 score 0 KL 3",
        "PPO 3/4 loss 1 score 1 KL 5",
        "PPO 4/4 loss 1 score 1 KL 5",
    ]


def test_quiet_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("SFT", 3, quiet=True) as progress:
        for _ in range(3):
            progress.step({"loss": 1.0})
    assert capfd.readouterr() == ("", "")


def test_items_pass_and_are_counted() -> None:
    progress = Progress("reference", 3, quiet=True)
    assert [progress.passing(item) for item in "abc"] == ["a", "b", "c"]
    assert progress.done == 3


def test_a_title_is_text_and_neither_markup_nor_commands(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("[/red]\x1b[2Ja", 1) as progress:
        progress.step({"loss": 1.0})
    assert capfd.readouterr().err == "[/red]\\x1b[2Ja 1/1 loss 1\n"


def test_a_first_step_that_takes_long_is_announced(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "SLOW", 0.0)
    with Progress("DPO", 30, start=10) as progress:
        for timer in (one for one in threading.enumerate() if isinstance(one, threading.Timer)):
            timer.join()
        for _ in range(2):
            progress.step()
    assert capfd.readouterr().err.splitlines() == ["DPO 10/30", "DPO 12/30"]
