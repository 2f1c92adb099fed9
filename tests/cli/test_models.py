"""Commands about models that are there. What they compute is tested beside their recipes."""

from pathlib import Path
from typing import Any

import pytest

from burnish.run import read_jsonl


def test_sample_writes_the_best_of_n(
    files: Path, tmp_path: Path, burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reward that counts letters: the kept response is the longest, and its score no less than the mean of three."""
    (tmp_path / "lengths.py").write_text(
        "def score(prompts, responses, **columns):\n    return [len(r) for r in responses]\n"
    )
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "best.jsonl"
    knobs = [
        "--n",
        3,
        "--reward",
        "lengths:score",
        "--max-new-tokens",
        6,
        "--max-length",
        40,
        "--limit",
        5,
        "--threads",
        1,
    ]
    status, told, err = burnish("sample", files / "model", "--data", files / "prompts.jsonl", "--out", out, *knobs)
    assert (status, told) == (0, f"{out}\n"), err
    assert "upper bound" in err
    lines = read_jsonl(out)
    assert len(lines) == 5
    assert all(line["score"] == len(line["completion"].lstrip()) >= line["mean_score"] for line in lines)
    status, _, err = burnish("sample", files / "model", "--data", files / "prompts.jsonl", "--n", 3, "--keep", "best")
    assert status == 2
    assert "--reward" in err


def test_sample_prints_every_completion(files: Path, burnish: Any) -> None:
    """The options of vLLM's and transformers' users; of each of two prompts three samples."""
    data = ("--data", files / "prompts.jsonl", "--limit", 2, "--max-new-tokens", 6, "--threads", 1)
    knobs = ("--top_p", 0.9, "--top-k", 5, "--stop", "zz", "--stop", "qq", "--samples-per-prompt", 3)
    status, out, err = burnish("sample", files / "model", *data, *knobs)
    assert status == 0, err
    assert len(out.splitlines()) == 6
