"""Evaluating finished runs."""

import json
import math
from pathlib import Path

import pytest

from burnish import DPO, SFT, RewardModel, train
from burnish.config import Settings
from burnish.data import builtin
from burnish.recipes.demo.measure import gold_judge
from burnish.recipes.evaluate.run import agreement, evaluate_run
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
    assert found["accuracy"]["low"] < found["accuracy"]["mean"] or found["accuracy"]["mean"] == 0
    assert found["loss"] == pytest.approx(math.log(2), abs=0.05)


def test_what_a_run_held_out_is_what_it_is_evaluated_on(runs: Path, tmp_path: Path) -> None:
    """The loss at the end of training and that of the evaluation are of the same rows; so are the texts' prompts."""
    pairs = [{"prompt": f"a {'very ' * i}", "chosen": "warm film", "rejected": "dull film"} for i in range(10)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    options = {"data": str(tmp_path / "pairs.jsonl"), "holdout": 0.2, "save_dtype": "float32", **SMALL}
    out = train(DPO(), out=tmp_path / "run", **options)
    found = evaluate_run(out, None, None, Settings(quiet=True))
    assert (found["data"], found["holdout"], found["rows"], found["texts"]) == (options["data"], 0.2, 2, 2)
    (last,) = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    assert found["loss"] == pytest.approx(last["eval_loss"], rel=1e-5)
    assert "On the rows held out of `pairs.jsonl`; ranges" in (out / "model" / "README.md").read_text()
    scorer = train(RewardModel(), out=tmp_path / "reward", **options)
    assert evaluate_run(scorer, None, None, Settings(quiet=True))["rows"] == 2
    environment = json.loads((out / "environment.json").read_text())
    other = train(DPO(), out=tmp_path / "other", **options | {"seed": 1})
    for key in ("data_sha256", "eval_data_sha256"):
        assert environment[key] != json.loads((other / "environment.json").read_text())[key]


def test_continuations_of_a_run_on_builtin_data(runs: Path, tmp_path: Path) -> None:
    out = train(SFT(), out=tmp_path / "run", **SMALL)
    found = evaluate_run(out, None, 3, Settings(quiet=True))
    assert found["prefixes"] == 3
    assert found["rows"] > 1_000
    lines = [json.loads(line) for line in (out / "evaluation_samples.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == builtin.prefixes("held_out", 3)["prompt"][:]
    for name in ("gold", "kl"):
        assert found[name]["mean"] == pytest.approx(sum(line[name] for line in lines) / 3, abs=1e-3)
    texts = [line["prompt"] + line["response"] for line in lines]
    assert gold_judge().score(texts) == pytest.approx([line["gold"] for line in lines], abs=1e-3)
    assert not (out / "samples.jsonl").exists()
    evaluate_run(out, str(runs / "texts.jsonl"), None, Settings(quiet=True))
    assert not (out / "evaluation_samples.jsonl").exists()  # they would not be those of these numbers


def test_the_interval_of_an_accuracy_by_hand() -> None:
    """2½ of 3: z² = 3.8415, p = 0.8333, n = 3, so the centre is (0.83333 + 0.64024)/2.28049 = 0.64616 and half the
    width 1.95996·√(0.046296 + 0.106708)/2.28049 = 0.33618. The share comes with the rounding of a division."""
    found = agreement(2.5 / 3 + 1e-9, 3)
    assert (found.low, found.high) == pytest.approx((0.30998, 0.98234), abs=1e-4)
    assert found.mean == 2.5 / 3
    assert agreement(1 + 1e-12, 4).high == 1


def test_what_cannot_be_evaluated_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no finished model"):
        evaluate_run(tmp_path, None, 0, Settings(quiet=True))
    with pytest.raises(UserError, match="--prefixes applies to the built-in"):
        evaluate_run(runs / "dpo", None, 5, Settings(quiet=True))
    with pytest.raises(UserError, match="there are 1456 held-out prefixes"):
        evaluate_run(runs / "sft", "builtin", 2_000, Settings(quiet=True))
    with pytest.raises(UserError, match="choose the evaluation data with --data"):
        evaluate_run(runs / "sft", None, 0, Settings(quiet=True))
    in_memory = train(SFT(), data=TEXTS, eval_data=TEXTS, out=tmp_path / "run", **SMALL)
    with pytest.raises(UserError, match="on data in memory, which no longer exist: choose the evaluation data"):
        evaluate_run(in_memory, None, None, Settings(quiet=True))


def test_a_run_with_adapters_is_held_against_what_it_began_as(runs: Path, tmp_path: Path) -> None:
    """A new adapter over a model, and that adapter trained further: at a rate of next to nothing KL is 0, and DPO's
    loss log 2; without LoRA the adapter is merged, and it is the same."""
    small = SMALL | {"data": runs / "pairs.jsonl", "learning_rate": 1e-12, "seed": 3}
    first = train(SFT(), out=tmp_path / "sft", lora_rank=2, **SMALL | {"data": runs / "texts.jsonl", "steps": 3})
    for name, options in (
        ("new", {"lora_rank": 2}),
        ("further", {"lora_rank": 2, "model": first}),
        ("merged", {"model": first}),
    ):
        found = evaluate_run(
            train(DPO(), out=tmp_path / name, **small | options), str(runs / "pairs.jsonl"), None, Settings(quiet=True)
        )
        assert found["loss"] == pytest.approx(math.log(2), abs=1e-5), name
        assert found["rewards/margins"] == pytest.approx(0.0, abs=1e-4), name
