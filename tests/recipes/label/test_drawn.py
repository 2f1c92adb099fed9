"""Answers of tiny models, drawn once and kept."""

from pathlib import Path

import pytest
import tiny

from burnish.config import Settings
from burnish.recipes.compare import compare
from burnish.recipes.label.drawn import drawn, pairs_of_models
from burnish.run import UserError

BASE = Settings(seed=3, threads=1, quiet=True, device="cpu", max_length=40)
ROWS = [{"prompt": "a film", "tools": "[]"}, {"prompt": "the", "tools": None}]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [str(tiny.save_model(folder / name, seed=seed)) for name, seed in (("one", 1), ("two", 2))]


def test_two_models_answer_as_in_compare(models: list[str], tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    found = pairs_of_models(models, ROWS, labels, None, 8, 1.0, BASE)
    compared = compare(*models, ROWS, max_new_tokens=8, base=BASE).rows
    assert [(one.row, one.prompt, one.a, one.b) for one in found] == [
        (row["row"], row["prompt"], row["a"], row["b"]) for row in compared
    ]
    assert (tmp_path / "labels.pairs.json").exists()
    moved = [Path(one).rename(Path(one).with_suffix(".away")) for one in models]
    try:
        assert pairs_of_models(models, ROWS, labels, None, 8, 1.0, BASE) == found  # without the models
    finally:
        for old, new in zip(models, moved, strict=True):
            new.rename(old)
    with pytest.raises(UserError, match=r"labels\.pairs\.json has other answers, max_new_tokens \(was 8, now 9\)"):
        pairs_of_models(models, ROWS, labels, None, 9, 1.0, BASE)


def test_one_model_answers_twice(models: list[str]) -> None:
    """From two random streams: a second draw is the same, and the two answers are not."""
    found = drawn(models[:1], ROWS, None, 8, 1.0, BASE)
    assert found == drawn(models[:1], ROWS, None, 8, 1.0, BASE)
    assert all(one.a != one.b for one in found)
    assert drawn(models[:1], ROWS, 1, 8, 1.0, BASE) == found[:1]
