"""Checksums that sha256sum itself accepts, and what is found damaged by them."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from burnish.run import UserError
from burnish.run.checksums import (
    METRICS,
    SUMS,
    check_metrics,
    damage,
    read_checksums,
    sha256,
    unfinished,
    write_checksums,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("model", "critic"):
        (tmp_path / name / "more").mkdir(parents=True)
        (tmp_path / name / "README.md").write_text("a card")
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "more" / "a file").write_bytes(b"abc" * 100_000)
        save_file({"x": torch.zeros(3)}, tmp_path / name / "model.safetensors")
    write_checksums(tmp_path, {name: tmp_path / name for name in ("model", "critic")})
    return tmp_path


def test_the_checksum_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_reads_them(run: Path) -> None:
    check = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(check, cwd=run, capture_output=True, check=False).returncode == 0
    (run / "critic" / "more" / "a file").write_text("abd")
    assert b"critic/more/a file: FAILED" in subprocess.run(check, cwd=run, capture_output=True, check=False).stdout


def test_a_file_that_changed_is_named_and_a_card_may(run: Path) -> None:
    names = {f"{folder}/{name}" for folder in ("model", "critic") for name in ("config.json", "model.safetensors")}
    assert read_checksums(run).keys() == names | {"model/more/a file", "critic/more/a file"}
    (run / "model" / "README.md").write_text("edited")
    (run / "model" / "notes.txt").write_text("mine")
    assert damage(run) is None
    (run / "critic" / "config.json").write_text("{} ")
    assert damage(run) == f"{run}/critic/config.json is damaged: its checksum is not the one in {run}/SHA256SUMS"
    assert damage(run, "model/") is None
    (run / "model" / "more" / "a file").unlink()
    assert damage(run, "model/") == f"{run}/model/more/a file is missing"


def test_metrics_that_are_cut_are_named(run: Path) -> None:
    check_metrics(run)  # there are none
    (run / METRICS).write_text("{}\n{}\n")
    write_checksums(run, {"model": run / "model"})
    check_metrics(run)
    (run / METRICS).write_text("{}\n")
    with pytest.raises(UserError, match=f"{run}/metrics.jsonl is damaged: .* restore it"):
        check_metrics(run)
    (run / SUMS).unlink()
    check_metrics(run)


def test_records_of_an_unfinished_run_are_compared_with_its_newest_checkpoint(tmp_path: Path) -> None:
    """Checkpoints 2 and 12 were made after one and two lines; the third came later, and may be cut."""
    lines = b'{"step": 1}\n{"step": 2}\n{"step": 3}\n'
    for step, length in ((2, 12), (12, 24)):
        state = {"offsets": {"metrics": length}, "digests": {"metrics": hashlib.sha256(lines[:length]).hexdigest()}}
        (tmp_path / f"checkpoints/step-{step:06d}").mkdir(parents=True)
        (tmp_path / f"checkpoints/step-{step:06d}/state.json").write_text(json.dumps(state))
    for whole in (lines, lines[:30], lines[:24], lines.replace(b"3", b"4")):
        (tmp_path / METRICS).write_bytes(whole)
        check_metrics(tmp_path)
    for damaged in (lines[:12], lines.replace(b"2", b"3"), b""):
        (tmp_path / METRICS).write_bytes(damaged)
        with pytest.raises(UserError, match=r"metrics.jsonl is damaged: .*step-000012/state.json; restore it"):
            check_metrics(tmp_path)
    (tmp_path / METRICS).unlink()
    with pytest.raises(UserError, match="is damaged"):
        check_metrics(tmp_path)
    for old in ("{}", "[1]", '{"offsets": {"metrics": 24}}', "not JSON"):  # of an older version, or damaged itself
        (tmp_path / "checkpoints/step-000012/state.json").write_text(old)
        check_metrics(tmp_path)


def test_a_fifo_is_not_waited_for(run: Path) -> None:
    (run / SUMS).unlink()
    os.mkfifo(run / SUMS)
    with pytest.raises(UserError, match="is a FIFO"):
        damage(run)


def test_without_checksums_weights_must_be_there_and_whole(run: Path) -> None:
    """As in a run of an older version."""
    (run / SUMS).unlink()
    assert damage(run) is None
    weights = run / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert str(damage(run)).startswith(f"{weights} is damaged (")
    weights.unlink()
    assert damage(run) == f"{run}/model has no weights"


def test_a_run_that_was_made_longer_has_no_checksums_yet(run: Path) -> None:
    assert not unfinished(run)
    (run / SUMS).write_text("")
    assert unfinished(run)
    (run / SUMS).unlink()
    assert not unfinished(run)
