"""Python code in a model's folder: no command runs it or asks, unless `--trust-remote-code` is given."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from own_code import change, own_tokenizer, save_own_code

from burnish.policies.language.adapters import Lora
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer

SHORT = ["--max-new-tokens", "4"]
CASES: dict[str, list[str]] = {
    "sft": ["sft", "--model", "{own}", "--data", "{files}/texts.jsonl", "--out", "{out}"],
    "dpo": ["dpo", "--model", "{own}", "--data", "{files}/pairs.jsonl", "--out", "{out}"],
    "reward": ["reward", "--model", "{own}", "--data", "{files}/pairs.jsonl", "--out", "{out}"],
    "an adapter": ["sft", "--model", "{adapter}", "--data", "{files}/texts.jsonl", "--out", "{out}"],
    "a reward": ["sample", "{files}/model", "--data", "{files}/prompts.jsonl", "--n", "2", "--reward", "{own}"],
    "ppo's reward": ["ppo", "--reward", "{own}"],
    "ppo's critic": ["ppo", "--reward", "lexicon", "--critic", "{own}"],
    "sample": ["sample", "{own}", "--data", "{files}/prompts.jsonl"],
    "compare": ["compare", "{files}/model", "{own}", "--data", "{files}/prompts.jsonl"],
    "a judge": [
        "compare",
        "{files}/model",
        "{files}/model",
        "--data",
        "{files}/prompts.jsonl",
        "--judge",
        "{own}",
        *SHORT,
    ],
    "chat": ["chat", "{own}"],
    "chat against": ["chat", "{files}/model", "--against", "{own}"],
    "rewardbench": ["rewardbench", "{own}", "--data", "{bench}", "--reference", "{files}/model"],
    "data show": ["data", "show", "{files}/texts.jsonl", "--model", "{own}"],
    "merge": ["merge", "{adapter}", "--out", "{out}"],
    "evaluate": ["evaluate", "{run}", "--data", "{files}/texts.jsonl"],
}
PPO = ["--model", "{files}/model", "--data", "{files}/prompts.jsonl", "--out", "{out}", *SHORT]


class Terminal(io.StringIO):
    """Standard input that says yes to every question, and notes that there was one."""

    asked = False

    def readline(self, size: int = -1, /) -> str:
        Terminal.asked = True
        return "y\n"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def places(tmp_path: Path, files: Path) -> dict[str, Path]:
    """A model with code of its own, an adapter of it, a finished run of it, and a benchmark."""
    own = tiny.save_model(tmp_path / "own", "llama")
    load_policy(own, lora=Lora(2)).save(tmp_path / "adapter")
    bench = [{"prompt": "good", "chosen": "film", "rejected": "plot", "subset": "x"}]
    run = {"algorithm": "sft", "model": str(files / "model"), "data": "x.jsonl"}
    for folder in (own, tmp_path / "run" / "model"):
        save_own_code(folder, tmp_path / "ran")
    (tmp_path / "run" / "config.yaml").write_text(json.dumps(run))
    tiny.write_rows(tmp_path / "bench.jsonl", bench)
    return {"files": files, "own": own, "adapter": tmp_path / "adapter", "run": tmp_path / "run"} | {
        "bench": tmp_path / "bench.jsonl",
        "out": tmp_path / "out",
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("of", ["model", "tokenizer"])
def test_no_command_runs_or_asks(
    name: str, of: str, places: dict[str, Path], burnish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if of == "tokenizer":
        for folder in (places["own"], places["run"] / "model"):
            save_own_code(folder, places["own"].parent / "ran", "llama", tokenizer=True)
        own_tokenizer(places["adapter"])
    if name in ("a reward", "ppo's reward", "a judge"):
        change(places["own"] / "config.json", architectures=["LlamaForSequenceClassification"])
    Terminal.asked = False
    monkeypatch.setattr(sys, "stdin", Terminal())
    command = CASES[name] + (PPO if name.startswith("ppo") else [])
    status, _, err = burnish(*(part.format(**places) for part in command))
    assert status == 2, err
    said = [line for line in err.splitlines() if line.startswith("burnish: ")]
    assert len(said) == 1
    assert "--trust-remote-code" in said[0]
    assert any(str(places[one]) in said[0] for one in ("own", "adapter", "run"))
    assert "Traceback" not in err
    assert not (places["own"].parent / "ran").exists()
    assert not Terminal.asked


@pytest.mark.parametrize("name", ["sft", "sample", "data show", "evaluate"])
def test_with_the_flag_the_code_is_run(
    name: str, places: dict[str, Path], burnish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(places["own"].parent / "modules"))
    _, _, err = burnish(*(part.format(**places) for part in CASES[name]), "--trust-remote-code", "--debug")
    assert "--trust-remote-code" not in err
    assert (places["own"].parent / "ran").exists()
    if name == "sft":
        assert "trust_remote_code" not in (places["out"] / "config.yaml").read_text()
        assert (places["out"] / "model" / "code.py").exists()
        status, _, err = burnish("evaluate", places["out"], "--data", places["files"] / "texts.jsonl")
        assert status == 2
        assert "--trust-remote-code" in err


def test_a_class_of_transformers_is_used_in_place_of_the_code(
    places: dict[str, Path], burnish: Callable[..., Any]
) -> None:
    """`auto_map` of a family that transformers knows: its own class reads the folder."""
    save_own_code(places["own"], places["own"].parent / "ran", "llama")
    status, _, err = burnish("sample", places["own"], "--data", places["files"] / "prompts.jsonl", "--limit", 1, *SHORT)
    assert status == 0, err
    assert not (places["own"].parent / "ran").exists()


def test_no_file_allows_it(places: dict[str, Path], burnish: Callable[..., Any]) -> None:
    config = places["own"].parent / "mine.yaml"
    for written in ("trust_remote_code: true", "trust-remote-code: true", "trust_remote_code: false"):
        config.write_text(f"model: {places['own']}\n{written}\n")
        status, _, err = burnish("sft", "--config", config, "--out", places["out"])
        assert (status, "give the flag --trust-remote-code" in err) == (2, True)
    with (places["run"] / "config.yaml").open("a") as file:
        file.write("\n")
    change(places["run"] / "config.yaml", trust_remote_code=True)
    status, _, err = burnish("evaluate", places["run"], "--data", places["files"] / "texts.jsonl")
    assert (status, "give the flag --trust-remote-code" in err) == (2, True)
    assert not (places["own"].parent / "ran").exists()


def test_a_reward_model_of_the_command_line_is_trusted_too(
    places: dict[str, Path], burnish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(places["own"].parent / "modules"))
    load_scorer(tiny.save_model(places["own"].parent / "plain", "llama")).save(places["own"])
    save = save_own_code(places["own"].parent / "code", places["own"].parent / "ran")
    (places["own"] / "code.py").write_text((save / "code.py").read_text())
    classes = json.loads((save / "config.json").read_text())["auto_map"]
    change(places["own"] / "config.json", model_type="own", auto_map=classes)
    command = [part.format(**places) for part in CASES["a reward"]]
    status, _, err = burnish(*command, "--trust-remote-code", "--limit", 1)
    assert (places["own"].parent / "ran").exists(), (status, err)
