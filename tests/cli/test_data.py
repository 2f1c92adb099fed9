"""`burnish data show` as a command. What it prints is tested beside its recipe."""

from pathlib import Path
from typing import Any


def test_data_show_prints_rows_and_counts_and_refuses_what_is_not_there(files: Path, burnish: Any) -> None:
    told = ["--model", files / "model", "--rows", 1, "--max-length", 40]
    status, out, err = burnish("data", "show", files / "pairs.jsonl", "--for", "dpo", *told)
    assert (status, err) == (0, "")
    assert "8 of 8 rows" in out
    status, out, err = burnish("data", "show", files / "none.jsonl", *told)
    assert (status, out) == (2, "")
    assert err.startswith("burnish: ")
    assert "none.jsonl does not exist" in err


def test_data_show_says_how_many_rows_are_held_out(files: Path, burnish: Any) -> None:
    """A quarter of 8; a mixture says it of each part."""
    told = ["--for", "dpo", "--model", files / "model", "--rows", 0, "--max-length", 40]
    status, out, _ = burnish("data", "show", files / "pairs.jsonl", *told, "--holdout", 0.25, "--seed", 1)
    assert status == 0
    assert "6 of 6 rows used" in out
    assert "\n2 rows held out\n" in out
    both = f"{files / 'pairs.jsonl'},{files / 'pairs.jsonl'}"
    assert burnish("data", "show", both, *told, "--holdout", 0.25)[1].count("2 rows held out") == 2
    status, _, err = burnish("data", "show", files / "pairs.jsonl", *told, "--seed", 1)
    assert (status, err) == (2, "burnish: --seed only applies to --holdout here: leave it out\n")
    status, _, err = burnish("data", "show", "builtin", "--holdout", 0.25)
    assert status == 2
    assert "holdout is for data of your own" in err


def test_a_warning_is_one_plain_line(files: Path, tmp_path: Path, burnish: Any) -> None:
    data = tmp_path / "feed.jsonl"
    data.write_text('{"prompt": "a", "completion": " film", "label": true}\n' * 2)
    status, _, err = burnish("data", "show", data, "--for", "kto", "--model", files / "model", "--max-length", 40)
    assert status == 0
    sentence = "every response is labelled desirable; KTO learns from the contrast of both."
    assert err == f"warning: {data}: {sentence}\n"
