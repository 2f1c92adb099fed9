"""What is found of a finished reward model."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

from burnish import train
from burnish.algorithms.reward_model import RewardModel
from burnish.config import Settings
from burnish.data import builtin
from burnish.recipes.evaluate import reward
from burnish.recipes.evaluate.reward import by_gap, calibration
from burnish.recipes.evaluate.run import evaluate_run
from burnish.run import UserError

SMALL: dict[str, Any] = {"steps": 2, "batch_size": 4, "learning_rate": 0.01, "quiet": True, "threads": 1}
MEANS = [{"chosen_mean": 0.5 * i, "rejected_mean": 1.0} for i in range(6)]
PAIRS = [row | means for row, means in zip(tiny.pair_rows(6), MEANS, strict=True)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    tiny.write_rows(folder / "pairs.jsonl", PAIRS)
    model = tiny.save_model(folder / "tiny")
    return train(
        RewardModel(centre_coefficient=0.1), model=model, data=folder / "pairs.jsonl", out=folder / "run", **SMALL
    )


def naive_scores(run: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    """[N, 2]: each text alone through transformers' own model, less the offset; no padding anywhere."""
    model = AutoModelForSequenceClassification.from_pretrained(run / "model")
    found = []
    for row in rows:
        for name in ("chosen", "rejected"):
            words = f"{row['prompt']} {row[name]}".split()
            ids = [tiny.BOS, *(3 + tiny.WORDS.index(word) for word in words), tiny.EOS]
            with torch.no_grad():
                hidden = model.base_model(torch.tensor([ids])).last_hidden_state[0, -1]
                found.append((model.score.weight[0] @ hidden).item() - model.config.score_offset)
    return np.array(found).reshape(-1, 2)


def test_the_reward_model_stays_in_the_16_bits_of_its_files(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def noted(scorer: Any, *given: Any) -> dict[str, Any]:
        seen.append(scorer)
        return {}

    monkeypatch.setattr(reward, "scorer_findings", noted)
    model = AutoModelForSequenceClassification.from_pretrained(run / "model").bfloat16()
    model.save_pretrained(tmp_path / "model")
    tiny.make_tokenizer().save_pretrained(tmp_path / "model")
    reward.reward_model_findings(tmp_path, RewardModel(), Settings(), None, "cpu")
    assert seen[0].model.transformer.wte.weight.dtype == torch.bfloat16
    assert not seen[0].parameters()


def test_every_number_is_that_of_the_scores(run: Path) -> None:
    found = evaluate_run(run, str(run.parent / "pairs.jsonl"), None, Settings(quiet=True))
    scores = naive_scores(run, PAIRS)
    margins = scores[:, 0] - scores[:, 1]
    lengths = [len(row[name].split()) + 1 for row in PAIRS for name in ("chosen", "rejected")]
    centring = 0.1 * np.mean(scores.sum(1) ** 2)
    assert found["rows"] == 6
    assert found["accuracy"]["mean"] == pytest.approx(np.mean(margins > 0))
    assert found["loss"] == pytest.approx(np.mean(np.log1p(np.exp(-margins))) + centring, abs=1e-5)
    assert (found["margin"], found["mean_reward"]) == pytest.approx((margins.mean(), scores.mean()), abs=1e-5)
    assert found["score"]["chosen"]["mean"] == pytest.approx(scores[:, 0].mean(), abs=1e-5)
    assert found["score"]["rejected"]["mean"] == pytest.approx(scores[:, 1].mean(), abs=1e-5)
    expected = np.corrcoef(scores.ravel(), lengths)[0, 1]
    assert found["length_correlation"]["mean"] == pytest.approx(expected, abs=1e-4)
    (bin_,) = found["calibration"]["bins"]
    assert (bin_["count"], bin_["mean"]) == (6, pytest.approx(np.mean(1 / (1 + np.exp(-np.abs(margins)))), abs=1e-5))
    (near,) = found["accuracy_by_gap"]
    assert (near["low"], near["high"], near["mean"]) == pytest.approx((0.0, 1.5, 4.5 / 6))
    assert found["score"].keys() == {"chosen", "rejected"}
    assert not {"ceiling", "ceiling_by_gap"} & set(found)


def test_on_builtin_data_beside_the_human_ceiling(tmp_path: Path) -> None:
    model = tiny.save_model(tmp_path / "tiny")
    run = train(RewardModel(), model=model, out=tmp_path / "run", max_length=48, **SMALL)
    found = evaluate_run(run, None, None, Settings(quiet=True))
    ceiling = builtin.human_ceiling("held_out")
    assert (found["data"], found["rows"]) == ("builtin", len(builtin.comparisons("held_out")))
    assert (found["ceiling"]["mean"], found["ceiling"]["n"]) == (ceiling.agreement, ceiling.pairs)
    assert [one["count"] for one in found["calibration"]["bins"]] == [65] * 10
    assert sum(one["count"] for one in found["accuracy_by_gap"]) == found["rows"]
    gaps = [abs(row["chosen_mean"] - row["rejected_mean"]) for row in builtin.comparisons("held_out")]
    assert found["accuracy_by_gap"][0]["low"] == min(gaps)
    assert found["accuracy_by_gap"][-1]["high"] == max(gaps)
    raters = found["ceiling_by_gap"]
    assert [one["low"] for one in raters] == [one["low"] for one in found["accuracy_by_gap"]]
    assert sum(one["count"] for one in raters) == ceiling.pairs
    agreed = sum(one["count"] * one["agreement"]["mean"] for one in raters)
    assert agreed == pytest.approx(ceiling.agreement * ceiling.pairs)
    centred = found["score"]["demonstrations"]
    assert abs(centred["mean"]) < 4 * (centred["high"] - centred["low"]) / 2


def test_means_belong_to_the_rows_that_were_used() -> None:
    """Row 1 was dropped, and row 3 has no mean: gaps 1, 2 and 5 of rows 0, 2 and 4 stand beside their margins."""
    columns = {"chosen_mean": [1, 9, 2, None, 0], "rejected_mean": [0, 0, 4, 1, 5]}
    data = Dataset.from_dict(columns)
    (only,) = by_gap(np.array([1.0, -1.0, 7.0, 1.0]), data, [0, 2, 3, 4])
    assert (only.count, only.low, only.high, only.mean) == (3, 1, 5, pytest.approx(8 / 3))
    assert only.agreement.mean == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "columns",
    [
        {"chosen_mean": [1.0]},
        {"chosen_mean": ["1"], "rejected_mean": ["2"]},
        {"chosen_mean": [True], "rejected_mean": [False]},
        {"chosen_mean": [math.nan], "rejected_mean": [1.0]},
    ],
)
def test_no_means_no_gaps(columns: dict[str, list[Any]]) -> None:
    assert by_gap(np.array([1.0]), Dataset.from_dict(columns), [0]) == ()


def test_the_calibration_error_that_chance_alone_gives() -> None:
    """One pair predicted with ¾: agreed with (¾ of the time) it errs by ¼, else by ¾, so by 0.375 on average. A tie
    errs by nothing, and a hundred times as many pairs by less."""
    one, many = calibration(np.array([-math.log(3)])), calibration(np.full(100, math.log(3)))
    assert one["chance"] == pytest.approx(0.375, abs=0.06)
    assert one["error"] == pytest.approx(0.75)
    assert many["chance"] < 0.1
    assert many["error"] == pytest.approx(0.25)
    assert calibration(np.zeros(3)) | {"bins": []} == {"error": 0.0, "chance": 0.0, "bins": []}


def test_prefixes_are_nothing_to_a_reward_model(run: Path) -> None:
    with pytest.raises(UserError, match="needs a language model"):
        evaluate_run(run, str(run.parent / "pairs.jsonl"), 5, Settings(quiet=True))
