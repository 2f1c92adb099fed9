"""`burnish label` and `burnish agreement` at the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["label"], "Missing option '--out'"),
        (["label", "--out", "{tmp}/l.jsonl"], "burnish: there is nothing to label"),
        (["label", "x.jsonl", "--out", "{tmp}/l.jsonl", "--raters", "anna,b c"], "the rater's name 'b c' may have"),
        (["label", "x.jsonl", "--out", "{tmp}/l.jsonl", "--port", "0"], "burnish: x.jsonl does not exist"),
        (["label", "x.jsonl", "--out", "{tmp}/l.jsonl", "--select", "best"], "'best' is not one of"),
        (["label", "x.jsonl", "--out", "{tmp}/l.jsonl", "--port", "0", "--reward", "a,b"], "--reward is for --select"),
        (
            ["label", "x.jsonl", "--out", "{tmp}/l.jsonl", "--port", "0", "--select", "disagreement", "--reward", "a"],
            "burnish: --select disagreement needs at least two reward models, and 1 is given",
        ),
        (["agreement", "{tmp}/none.jsonl"], "none.jsonl cannot be read"),
        (["compare", "a", "b", "--raters", "anna"], "burnish: --raters is for --judge people"),
        (["compare", "a", "b", "--judge", "people"], "burnish: --judge people needs --out"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str, tmp_path: Path, burnish: Run) -> None:
    status, out, err = burnish(*(one.format(tmp=tmp_path) for one in arguments))
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_agreement_is_printed_and_drawn(tmp_path: Path, burnish: Run) -> None:
    rows = [
        {"prompt": "p", "a": "x", "b": "y", "rater": rater, "verdict": verdict}
        for rater, verdict in (("anna", "a"), ("ben", "b"))
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, _ = burnish("agreement", tmp_path / "labels.jsonl", "--out", tmp_path / "out")
    assert status == 0
    assert "anna and ben agree on 0 % of 1 pair (0 to 79 %); κ is –." in out
    assert (tmp_path / "out" / "agreement.html").exists()
