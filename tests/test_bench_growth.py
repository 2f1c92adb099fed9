"""The benchmark of growth: that it runs from end to end on tiny models, and that its shapes and exponents are right."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import growth
import growth_shown


def test_curves_are_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    growth.main(["--tiny", "--repeats", "1", "--curves", "model,pairs", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "growth.json").read_text())
    assert [[point["x"] for point in points] for points in found["curves"].values()] == [PARAMETERS, [16, 32]]
    for points in found["curves"].values():
        assert all(point["seconds"] > 0 and point["mib"] >= 0 for point in points)
    assert all((point["start"] > 0) == (name == "pairs") for name in found["curves"] for point in found["curves"][name])
    text = (tmp_path / "growth.md").read_text()
    assert capsys.readouterr().out.endswith(text)
    assert text.count("grows at the end as x to the power") == 2
    assert "preference pairs on disk" in (tmp_path / "growth.svg").read_text()
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_a_start_is_a_whole_command_up_to_its_first_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two starts the faster counts, and what a command does behind its first update does not. The stand-in dates its
    first update 1,000 and then 500 seconds ahead. The memory is all of the command's."""
    commands = tmp_path / "commands.txt"
    (tmp_path / "burnish.py").write_text(COMMAND.format(commands=commands))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    growth.main(["--curves", "start", "--pairs", "3,7", "--repeats", "2", "--out", str(tmp_path / "out")])
    points = json.loads((tmp_path / "out" / "growth.json").read_text())["curves"]["start"]
    assert [point["x"] for point in points] == [3, 7]
    for point in points:
        assert 500 <= point["seconds"] < 1000
        assert 60 < point["mib"] < 400
    ran = [json.loads(line) for line in commands.read_text().splitlines()]
    assert [one["rows"] for one in ran] == [3, 3, 7, 7]
    assert all(one["words"][0] == "dpo" and "--streaming" in one["words"] for one in ran)
    assert "burnish dpo to its first update; ms on the clock of a start" in capsys.readouterr().out


COMMAND = """
import json, os, sys, time
from pathlib import Path

words = sys.argv[1:]
given = dict(zip(words, words[1:]))
held = bytearray(60 * 2**20)
rows = len(Path(given["--data"]).read_text().splitlines())
made = Path(given["--out"]) / "metrics.jsonl"
made.parent.mkdir()
made.write_text("{{}}")
moment = time.time() + (500 if made.parent.name == "run-1" else 1000)
os.utime(made, (moment, moment))
with Path("{commands}").open("a") as file:
    file.write(json.dumps({{"words": words, "rows": rows}}) + "\\n")
"""
"""Stands in for Burnish."""


def test_numbers_of_pairs_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        growth.main(["--pairs", "many"])
    assert "--pairs: many is not a list of numbers such as 1000,1000000" in capsys.readouterr().err


def parameters(width: int) -> int:
    """GPT-2's: tokens and positions, four biased matrices a layer (3 + 1 + 4 + 4 squares), two norms, and the last."""
    layer = 12 * width**2 + (3 + 1 + 4 + 1) * width + 2 * 2 * width
    return (64 + 512) * width + layer + 2 * width


PARAMETERS = [parameters(16), parameters(32)]


def test_a_batch_has_the_shape_that_is_asked_for() -> None:
    batch = growth.batch_of(growth_shown.Shape(vocabulary=9, prompt=3, response=2, batch=4, completions=5))
    assert batch.tokens.shape == (4, 5, 5)
    assert (batch.tokens[:, :1, :3] == batch.tokens[:, :, :3]).all()
    assert batch.mask[0, 0].tolist() == [False] * 3 + [True] * 2
    assert (batch.lengths == 5).all()


def test_the_exponent_is_that_of_the_last_two_points() -> None:
    """From 10 to 40 the time grows eightfold, 4^1.5, and the memory not at all."""
    points = [growth_shown.Point(1, 100.0, 1.0), growth_shown.Point(10, 2.0, 7.0), growth_shown.Point(40, 16.0, 7.0)]
    assert growth_shown.exponent(points, "seconds") == pytest.approx(1.5)
    assert growth_shown.exponent(points, "mib") == 0


def test_unknown_curves_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        growth.main(["--curves", "batch,films"])
    assert "no such curve films; the curves are response, prompt" in capsys.readouterr().err
