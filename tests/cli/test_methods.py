"""Every option of a method is a flag, and its runs repeat."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from kinds import KINDS

from burnish.algorithms.table import LANGUAGE, load
from burnish.config import option_types
from cli.arguments import options


@pytest.mark.parametrize("method", LANGUAGE)
def test_every_option_is_a_flag_with_help(method: str, burnish: Any) -> None:
    status, out, _ = burnish(method, "--help")
    assert status == 0
    words = " ".join(out.split())
    every = [
        field for cls in option_types(load(method)) for field in dataclasses.fields(cls) if field.name != "experience"
    ]
    assert words.count(" --") >= len(every)
    assert "--experience" not in words
    for field in every:
        flag = f"--{field.name.rstrip('_').replace('_', '-')}"
        assert f"{flag} " in words or f"{flag} / " in words or f"{flag}," in words, flag
        told = field.metadata["help"].replace("the method's own", f"{load(method).learning_rate}")
        assert " ".join(told.split())[:30] in words, flag
    assert "--config" in words


@pytest.mark.parametrize("method", KINDS)
def test_a_run_prints_its_folder_and_repeats_from_its_configuration(
    method: str, files: Path, tmp_path: Path, burnish: Any
) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    status, out, err = burnish(*options(files, run, method))
    assert (status, out) == (0, f"{run}\n"), err
    status, out, err = burnish(method, "--config", run / "config.yaml", "--out", again)
    assert (status, out) == (0, f"{again}\n"), err
    for name in ("model/model.safetensors", "metrics.jsonl", "samples.jsonl", "critic/model.safetensors"):
        own = {"samples.jsonl": bool(load(method).experience), "critic/model.safetensors": method == "ppo"}
        assert (run / name).exists() == own.get(name, True)
        assert not (run / name).exists() or (run / name).read_bytes() == (again / name).read_bytes()


def test_a_flag_goes_before_the_file(files: Path, tmp_path: Path, burnish: Any) -> None:
    """A flag for steps takes the place of the file's epochs as well, which a resolved configuration always has."""
    file = tmp_path / "c.yaml"
    file.write_text("seed: 3\nschedule: cosine\nepochs: 1.0\nwarmup: 1e-1\n")
    run = tmp_path / "run"
    flags = ["--config", file, "--seed", 4, "--steps", 1, "--no-resume"]
    assert burnish(*options(files, run), *flags)[0] == 0
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["seed"], config["schedule"], config["warmup"]) == (4, "cosine", 0.1)
    assert (config["steps"], config["epochs"]) == (1, None)
    status, _, err = burnish(*options(files, tmp_path / "other"), "--steps", 1, "--epochs", 2)
    assert (status, err) == (2, "burnish: steps and epochs both set the length of the run: give one of them\n")


def test_a_mistake_in_a_file_is_refused_with_a_suggestion(files: Path, tmp_path: Path, burnish: Any) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("algorithm: dpo\nbetta: 0.1\n")
    status, _, err = burnish(*options(files, tmp_path / "run", "dpo"), "--config", file)
    assert (status, err) == (2, "burnish: unknown key 'betta' for dpo: did you mean 'beta'?\n")
    status, _, err = burnish(*options(files, tmp_path / "run"), "--config", file)
    assert (status, err) == (2, "burnish: the configuration is for 'dpo', not for 'sft'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--model", "m"], "No such option '--model': give it without a name: burnish sample MODEL"),
        (["report", "--run", "m"], "No such option '--run': give it without a name: burnish report RUNS..."),
        (["sample", "m", "--prompt", "Hello"], "No such option '--prompt': it is '--data' here"),
        (["sft", "--lr", "1e-3"], "No such option '--lr': it is '--learning-rate' here"),
        (["sft", "--max_steps", "3"], "No such option '--max-steps': it is '--steps' here"),
        (["dpo", "--num-train-epochs=2"], "No such option '--num-train-epochs': it is '--epochs' here"),
        (["ppo", "--lr_scheduler_type=cosine"], "No such option '--lr-scheduler-type': it is '--schedule' here"),
        (["dpo", "--loss_type", "ipo"], "No such option '--loss-type': each loss is a method of its own here, such as"),
        (
            ["grpo", "--max_completion_length", "9"],
            "No such option '--max-completion-length': it is '--max-new-tokens'",
        ),
        (["ppo", "--lam", "0.9"], "No such option '--lam': it is '--lambda' here"),
        (
            ["sft", "--per_device_train_batch_size", "4"],
            "No such option '--per-device-train-batch-size': it is '--batch-size' here (all rows of an update, however "
            "they are divided)",
        ),
        (
            ["sft", "--gradient-accumulation-steps", "4"],
            "No such option '--gradient-accumulation-steps': it is '--accumulate' here (micro-batches that batch_size "
            "is divided into, not multiplied by)",
        ),
        (
            ["sample", "runs/a", "--response-length", "4"],
            "No such option '--response-length': it is '--max-new-tokens'",
        ),
        (["sft", "--kl-coef", "1"], "No such option '--kl-coef'."),  # SFT has no price of the KL
        (["classic", "--output-dir", "a"], "No such option '--output-dir': it is '--out' here"),
    ],
)
def test_names_of_other_libraries_are_answered_with_those_here(
    arguments: list[str], message: str, burnish: Any
) -> None:
    status, _, err = burnish(*arguments)
    assert status == 2
    assert f"Error: {message}" in err
