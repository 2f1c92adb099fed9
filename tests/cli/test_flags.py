"""Flags that many commands have."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from cli.arguments import options


def test_debug_in_a_file_shows_tracebacks_too(files: Path, tmp_path: Path, burnish: Any) -> None:
    """Once, with the error that the sentence comes from."""
    file = tmp_path / "c.yaml"
    file.write_text("debug: true\nsteps: 0\n")
    status, _, err = burnish(*options(files, tmp_path / "run"), "--config", file)
    assert status == 2
    assert err.count("UserError: steps must be at least 1, not 0") == 1
    assert err.startswith("Traceback (most recent call last)")
    file.write_text("debug: false\nsteps: 0\n")
    assert "Traceback" not in burnish(*options(files, tmp_path / "run"), "--config", file)[2]
    file.write_text("debug: true\nepisodes: 0\n")
    status, _, err = burnish("classic", "--config", file)
    assert (status, err.count("UserError: episodes must be at least 1, not 0")) == (2, 1)
    assert err.startswith("Traceback (most recent call last)")


@pytest.mark.parametrize("command", [["demo"], ["evaluate", "runs/none"], ["pretrain", "--out", "nowhere"]], ids=str)
@pytest.mark.parametrize(("flag", "value"), [("--threads", -1), ("--threads", 0), ("--seed", -1)])
def test_common_flags_are_checked_by_every_command(command: list[str], flag: str, value: int, burnish: Any) -> None:
    status, out, err = burnish(*command, flag, value)
    assert (status, out) == (2, "")
    assert err.startswith(f"burnish: {flag[2:]} must ")
    assert err.count("\n") == 1


def test_data_given_twice_are_a_mixture(files: Path, tmp_path: Path, burnish: Any) -> None:
    """The configuration of the run names both, and repeats it to the same bits."""
    run, again, listed = tmp_path / "run", tmp_path / "again", tmp_path / "listed"
    texts, other = files / "texts.jsonl", tmp_path / "other.jsonl"
    tiny.write_rows(other, tiny.text_rows(9, seed=5))
    command = [*options(files, run), "--epochs", 1, "--eval-data", texts, "--eval-data", other]
    command[command.index("--data") + 1] = f"{texts}:0.25"
    status, _, err = burnish(*command, "--data", f"{other}:0.75")
    assert status == 0, err
    assert "mixture, interleaved: 12 rows per epoch, 3 of 8 from " in err
    assert "mixture, concatenated: 17 rows per epoch, 8 of 8 from " in err
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"] == f"{texts}:0.25,{other}:0.75"
    assert config["eval_data"] == f"{texts},{other}"
    assert burnish("sft", "--config", run / "config.yaml", "--out", again)[0] == 0
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config | {"data": config["data"].split(","), "out": str(listed)}))
    assert burnish("sft", "--config", tmp_path / "c.yaml")[0] == 0
    for one in (again, listed):
        assert (one / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
        assert (one / "model/model.safetensors").read_bytes() == (run / "model/model.safetensors").read_bytes()


def test_commands_that_measure_take_several_data_sets_too(files: Path, tmp_path: Path, burnish: Any) -> None:
    out, other = tmp_path / "out.jsonl", tmp_path / "other.jsonl"
    tiny.write_rows(other, [{"prompt": "dull plot"}])
    one = ["sample", files / "model", "--max-new-tokens", 2, "--max-length", 40]
    assert burnish(*one, "--data", files / "prompts.jsonl", "--data", other, "--out", out)[0] == 0
    assert [json.loads(line)["prompt"] for line in out.read_text().splitlines()][-1] == "dull plot"
    assert len(out.read_text().splitlines()) == 9
    assert burnish(*one, "--data", f"{files}/prompts.jsonl,{other}", "--limit", 3, "--out", out)[0] == 0
    assert len(out.read_text().splitlines()) == 3
    status, _, err = burnish(*one, "--data", f"{other}:1,{other}:2", "--out", out)
    assert status == 2
    assert "has weights, but weights only apply to training data" in err
    status, shown, _ = burnish("data", "show", f"{files}/prompts.jsonl:0.5,{files}/pairs.jsonl:0.5", "--rows", 1)
    assert status == 0
    assert f"{files}/prompts.jsonl: " in shown
    assert f"{files}/pairs.jsonl: " in shown


def test_rewardbench_does_not_take_the_last_of_two_data(files: Path, tmp_path: Path, burnish: Any) -> None:
    two = "--data", files / "prompts.jsonl", "--data", files / "missing.jsonl"
    status, _, err = burnish("rewardbench", "builtin", *two, "--out", tmp_path / "out")
    assert status == 2
    assert "prompts.jsonl," in err
