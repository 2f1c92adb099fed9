"""`burnish agreement` on a file of labels, with its page."""

import json
from pathlib import Path

import labelling
import pytest
from labelling import reply

from burnish.recipes.agreement import agreement, print_agreement
from burnish.run import UserError


def labels(path: Path) -> Path:
    """Anna says a, b, tie …, and Ben always a."""
    one = labelling.session(path, count=4, raters=("anna", "ben"))
    for rater in ("anna", "ben"):
        view = one.view(rater)
        while not view["finished"]:
            number = int(view["prompt"][0]["text"].split()[1])
            a = "left" if view["left"][0]["text"].startswith("A") else "right"
            other = {"left": "right", "right": "left"}[a]
            verdict = [a, other, "tie", a][number] if rater == "anna" else a
            view = one.answer(reply(view, verdict, len(one.file.records), note="because" if verdict == "tie" else ""))
    one.file.close()
    return path


def test_numbers_page_and_disputes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = agreement(labels(tmp_path / "labels.jsonl"), tmp_path / "out")
    assert (found["answers"], found["pairs"], found["disputed"]) == (8, 4, 2)
    assert found["between"][0]["raw"]["mean"] == 0.5
    assert sorted(row["row"] for row in found["rows"]) == [1, 2]
    tied = next(row for row in found["rows"] if row["row"] == 2)
    assert [(vote["rater"], vote["verdict"], vote["note"]) for vote in tied["votes"]] == [
        ("anna", "tie", "because"),
        ("ben", "a", ""),
    ]
    assert json.loads((tmp_path / "out" / "agreement.json").read_text()) == found
    page = (tmp_path / "out" / "agreement.html").read_text()
    assert labelling.EVIL not in page
    assert "&lt;script&gt;document.title" in page
    print_agreement(found)
    out = capsys.readouterr().out
    assert "anna and ben agree on 50 % of 4 pairs" in out
    assert "2 raters compared 4 pairs, with 8 votes." in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("", "has no labels: give a file that burnish label wrote"),
        ('{"prompt": "x"}\n', "row 0: has no `a`"),
        ('{"prompt": "x", "a": "y", "b": "z", "rater": "me", "verdict": "left"}\n', "column `verdict` is 'left'"),
    ],
)
def test_what_is_no_labels_file(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "labels.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        agreement(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
