import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from burnish import train
from burnish.algorithms.dpo import DPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.policies.language import smollm2
from burnish.recipes.assets import NAMES, location, resolve_model
from burnish.recipes.chat import chat
from burnish.recipes.compare import began_as, compare
from burnish.recipes.data_show import data_show
from burnish.recipes.sample import sample_model
from burnish.run import UserError, write_checksums
from burnish.run.checksums import SUMS


def test_the_builtin_model_is_a_folder_of_the_package() -> None:
    folder = Path(resolve_model("builtin"))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}


def test_a_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert resolve_model(tmp_path) == str(tmp_path)
    (tmp_path / "model" / "config.json").write_text("{}")
    assert resolve_model(tmp_path) == str(tmp_path / "model")


def test_a_finished_runs_model_must_be_as_the_run_wrote_it(tmp_path: Path) -> None:
    """Also by the folder itself; without its checksums it is taken as it is."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    write_checksums(tmp_path, {"model": tmp_path / "model"})
    assert resolve_model(tmp_path) == str(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{ }")
    for name in (tmp_path, tmp_path / "model"):
        with pytest.raises(UserError, match=r"model/config.json is damaged: .*; give --resume to the training command"):
            resolve_model(name)
    (tmp_path / SUMS).unlink()
    assert resolve_model(tmp_path) == str(tmp_path / "model")


def test_any_other_name_stands_for_itself() -> None:
    assert resolve_model("gpt2") == "gpt2"


def test_a_run_folder_stands_for_its_adapter_too(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "adapter_config.json").write_text("{}")
    assert resolve_model(tmp_path) == str(tmp_path / "model")


@pytest.fixture
def chat_model(offline: Path) -> Path:
    """A tiny model in the place of the chat model."""
    folder = offline / smollm2.FOLDER
    tiny.save_model(folder)
    checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    (folder / "checksums.json").write_text(json.dumps(checksums))
    return folder


def test_the_chat_model_is_fetched_when_it_is_loaded_not_when_it_is_located(offline: Path) -> None:
    assert location("smollm2") == str(offline / "smollm2-0.1.2")
    assert not offline.exists()
    with pytest.raises(UserError, match="--model smollm2"):
        resolve_model("smollm2")


def test_whatever_takes_a_model_takes_the_chat_model(chat_model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": "smollm2", "steps": 1, "batch_size": 2, "quiet": True, "threads": 1}
    pairs = tiny.write_rows(tmp_path / "pairs.jsonl", tiny.pair_rows(4))
    prompts = tiny.write_rows(tmp_path / "prompts.jsonl", [{"prompt": "a film"}, {"prompt": "the plot"}])
    sft = train(SFT(), data=tiny.text_rows(4), out=tmp_path / "sft", lora_rank=2, **options)
    train(DPO(), data=pairs, out=tmp_path / "dpo", **options)
    reward = train(RewardModel(), data=pairs, out=tmp_path / "reward", **options)
    online = {"rollout": 2, "max_new_tokens": 4, "reward": str(reward), "critic": "smollm2"}
    train(PPO(), data=prompts, out=tmp_path / "ppo", **options | online)
    assert len(sample_model("smollm2", data=str(prompts), n=1, max_new_tokens=4).lines) == 2
    compared = compare("smollm2", sft, data=str(prompts), max_new_tokens=4)
    assert compared.found["names"] == ["smollm2", "sft"]
    assert began_as("smollm2", sft) == 0
    assert began_as(sft, "smollm2") == 1
    assert "<s>" in data_show(str(pairs), model="smollm2")
    said: list[str] = []
    chat("smollm2", max_new_tokens=2, read=lambda _: "/exit", write=said.append)
    assert said[0].startswith("smollm2: ")
    card = (tmp_path / "dpo" / "model" / "README.md").read_text()
    assert "base_model: HuggingFaceTB/SmolLM2-135M-Instruct\n" in card
    assert "often wrong about facts" in card
    assert str(tmp_path) not in card


def test_a_named_model_has_precedence_over_a_folder_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text("{}")
        assert not location(name).startswith(name)
        assert location(f"./{name}") == f"{name}/model"
