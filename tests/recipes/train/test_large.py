"""Runs whose models no process holds whole, also those that are not trained: the numbers of one process."""

import os
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import tiny_scorers
import torch
import transformers
from safetensors.torch import load_file

from burnish.algorithms.table import load
from burnish.config import build
from burnish.policies.interface import Models
from burnish.recipes.train.given import NOTHING
from burnish.recipes.train.run import run_training
from burnish.run import read_jsonl
from burnish.run.shards import is_divided
from burnish.training.checkpoint import newest

CASES: dict[str, dict[str, Any]] = {
    "sft, adapter": {"lora_rank": 2, "accumulate": 2},
    "dpo, streamed": {"streaming": True},  # a second model is the reference
    "ppo": {"rollout": 3, "reward": "scorer"},  # reference and reward model, and a process that has one row of three
    "ppo, one prompt": {"rollout": 1, "batch_size": 1, "reward": "scorer:2,scorer:0.5", "lora_rank": 2},
    "distil": {"rollout": 1, "batch_size": 1, "teacher": "other", "divergence": "js"},
}
"""With batches of 3 rows, or of 1, of which one of two processes has none."""
DATA = {"demonstrations": "texts", "preferences": "pairs", "feedback": "pairs", "prompts": "prompts"}
FROZEN = {"ppo": 1, "distil": 1}
"""How many models of a run are not trained, besides the reward's and one that is made later."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models in float64."""
    folder = tmp_path_factory.mktemp("files")
    for seed, name in enumerate(("model", "other")):
        tiny.make_model("gpt2", seed).double().save_pretrained(folder / name)
    scorer = tiny_scorers.make_classifier("gpt2").double()
    scorer.save_pretrained(folder / "scorer")
    for name in ("model", "other", "scorer"):
        tiny.make_tokenizer().save_pretrained(folder / name)
    tiny.write_rows(folder / "texts.jsonl", tiny.text_rows(5))
    tiny.write_rows(folder / "pairs.jsonl", tiny.pair_rows(5))
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(3))
    return folder


def train_all(files: str, out: str, shard: str) -> dict[str, list[bool]]:
    """Runs of two steps, and which parts of each were divided when they had been loaded."""
    os.environ["BURNISH_CACHE"] = str(Path(out) / "cache")
    divided: dict[str, list[bool]] = {}
    for case, own in CASES.items():
        method = case.split(",")[0]
        folder = Path(files)
        data = str(folder / f"{DATA[load(method).data]}.jsonl")
        options = {"model": str(folder / "model"), "data": data, "eval_data": data, "out": str(Path(out, case))}
        options |= {"steps": 2, "eval_every": 2, "save_every": 1, "batch_size": 3, "learning_rate": 0.01, "threads": 1}
        options |= {"quiet": True, "max_length": 40, "dtype": "auto", "shard": shard}
        options |= {"max_new_tokens": 4} if "rollout" in own else {}
        options |= {
            key: ",".join(str(folder / one) for one in value.split(",")) if key in ("reward", "teacher") else value
            for key, value in own.items()
        }

        def note(models: Models, case: str = case) -> None:
            parts = {name: part.model for name, part in models.parts.items() if hasattr(part.model, "model")}
            divided[case] = [all(map(is_divided, one.model.parameters())) for one in parts.values()]

        run_training(*build(load(method), options), NOTHING, note)
    return divided


@pytest.fixture(scope="module")
def runs(files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("runs")
    ended = ranks.together(2, folder / "ends", train_all, str(files), str(folder / "two"), "full")
    for one in ended:
        if isinstance(one, Exception):
            raise one
    (alone,) = ranks.together(1, folder / "ends", train_all, str(files), str(folder / "one"), "none")
    assert alone.keys() == CASES.keys()
    return {"one": folder / "one", "two": folder / "two", "divided": ended}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_one_process(runs: dict[str, Any], case: str) -> None:
    one, two = runs["one"] / case, runs["two"] / case
    rows = [read_jsonl(path / "metrics.jsonl") for path in (one, two)]
    assert len(rows[0]) == 2
    for expected, row in zip(*rows, strict=True):
        if abs(expected.get("rewards/margins", 1.0)) < 1e-12:  # whose signs are rounding
            del row["rewards/accuracies"], expected["rewards/accuracies"]
        assert row == pytest.approx(expected, rel=1e-9, abs=1e-9)
    before, after = (newest(path / "checkpoints", pytest.fail) for path in (one, two))
    assert before is not None
    assert after is not None
    assert after.shards is not None
    assert before.tensors.keys() == after.whole().keys()
    for name, tensor in after.whole().items():
        torch.testing.assert_close(tensor, before.tensors[name], rtol=1e-9, atol=1e-9, msg=name)
    assert {path.name for path in (one / "model").iterdir()} == {path.name for path in (two / "model").iterdir()}
    (weights,) = (one / "model").glob("*.safetensors")
    for name, tensor in load_file(weights).items():
        other = load_file(two / "model" / weights.name)[name]
        torch.testing.assert_close(other, tensor, rtol=1e-9, atol=1e-9, msg=name)


def test_no_process_has_held_a_whole_model(runs: dict[str, Any]) -> None:
    for found in runs["divided"]:
        for case, parts in found.items():
            assert parts.count(True) == (0 if "lora_rank" in CASES[case] else len(parts)), case
            assert len(parts) >= 1 + FROZEN.get(case, 0)


def test_transformers_loads_the_model(runs: dict[str, Any]) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(runs["two"] / "ppo/model")
    assert model.dtype == torch.float64


def test_checkpoints_are_written_while_the_run_goes_on(runs: dict[str, Any]) -> None:
    for case in ("sft, adapter", "dpo, streamed"):  # a rollout has several updates, and no checkpoint within
        steps = sorted(path.name for path in (runs["two"] / case / "checkpoints").iterdir())
        assert steps == ["step-000001", "step-000002"]
