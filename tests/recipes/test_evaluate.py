"""Evaluating finished runs."""

import json
import math
from pathlib import Path

import pytest

from burnish import DPO, SFT, train
from burnish.config import Settings
from burnish.recipes.evaluate import evaluate_run
from burnish.run import UserError

SMALL = {"steps": 1, "batch_size": 2, "quiet": True, "threads": 1}
TEXTS = [{"text": "a warm and funny film"}, {"text": "a dull film"}]
PAIRS = [{"prompt": "", "chosen": "a warm and funny film", "rejected": "a dull film"}]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TEXTS))
    train(SFT(), data=folder / "texts.jsonl", out=folder / "sft", **SMALL)
    train(DPO(), data=folder / "pairs.jsonl", eval_data=folder / "pairs.jsonl", out=folder / "dpo", **SMALL)
    return folder


def test_sft_is_measured_by_perplexity(runs: Path) -> None:
    found = evaluate_run(runs / "sft", str(runs / "texts.jsonl"), None, Settings(quiet=True))
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert json.loads((runs / "sft" / "evaluation.json").read_text()) == found


def test_dpo_is_measured_on_its_own_eval_data(runs: Path) -> None:
    found = evaluate_run(runs / "dpo", None, 0, Settings(quiet=True))
    assert found["data"] == str(runs / "pairs.jsonl")
    assert found["accuracy"]["mean"] == found["rewards/accuracies"]
    assert found["loss"] == pytest.approx(math.log(2), abs=0.05)


def test_continuations_of_a_run_on_builtin_data(runs: Path, tmp_path: Path) -> None:
    out = train(SFT(), out=tmp_path / "run", **SMALL)
    found = evaluate_run(out, None, 3, Settings(quiet=True))
    assert found["prefixes"] == 3
    assert found["rows"] > 1_000
    lines = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert all(line["text"].startswith(line["prompt"]) for line in lines)
    assert found["gold"]["mean"] == pytest.approx(sum(line["gold"] for line in lines) / 3, abs=1e-3)


def test_what_cannot_be_evaluated_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no finished model"):
        evaluate_run(tmp_path, None, 0, Settings(quiet=True))
    with pytest.raises(UserError, match="--prefixes are of the built-in"):
        evaluate_run(runs / "dpo", None, 5, Settings(quiet=True))
    with pytest.raises(UserError, match="there are 1456 held-out prefixes"):
        evaluate_run(runs / "sft", "builtin", 2_000, Settings(quiet=True))
    with pytest.raises(UserError, match="say with --data"):
        evaluate_run(runs / "sft", None, 0, Settings(quiet=True))
