"""The card is read as its readers read it: by the hub's own parser, and by running the code that it shows."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from huggingface_hub import ModelCard

from burnish import train
from burnish.algorithms.dpo import DPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.config import Settings, build
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.evaluate.run import evaluate_run
from burnish.recipes.train.card import (
    add_evaluation,
    cell,
    code,
    fence_of,
    final,
    front_matter,
    on_hub,
    shown,
    shown_data,
)

SMALL: dict[str, Any] = {"steps": 2, "batch_size": 4, "learning_rate": 0.01, "quiet": True, "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secret-place")
    tiny.write_rows(folder / "pairs.jsonl", tiny.pair_rows(6))
    tiny.write_rows(folder / "held.jsonl", tiny.pair_rows(5, seed=1))
    tiny.save_model(folder / "tiny")
    return folder


def trained(folder: Path, algorithm: Any, name: str, **options: Any) -> Path:
    files = {"data": folder / "pairs.jsonl", "eval_data": folder / "held.jsonl", "model": folder / "tiny"}
    return train(algorithm, out=folder / name, **SMALL | files | options)


@pytest.fixture(scope="module")
def reward_run(folder: Path) -> Path:
    return trained(folder, RewardModel(), "reward")


@pytest.fixture(scope="module")
def dpo_run(folder: Path) -> Path:
    return trained(folder, DPO(beta=0.25), "dpo")


def card(run: Path) -> str:
    return (run / "model" / "README.md").read_text()


def code_of(run: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", card(run), re.DOTALL)
    return code


def run_code(run: Path) -> str:
    """What the card's Python prints, run beside it with nothing but its own names."""
    printed = io.StringIO()
    with contextlib.chdir(run / "model"), contextlib.redirect_stdout(printed):
        exec(code_of(run), {"__name__": "__main__"})
    return printed.getvalue().strip()


def run_alone(run: Path) -> str:
    """The same by a fresh interpreter, which has imported nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code_of(run)],
        cwd=run / "model",
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def score(run: Path) -> float:
    """Burnish's own score of the text in the card."""
    ids = [tiny.BOS, *(3 + tiny.WORDS.index(word) for word in ("the", "film", "is", "good")), tiny.EOS]
    with torch.no_grad():
        return load_scorer(run / "model").scores(tiny.demonstrations([(ids, [False] + [True] * 5)])).item()


def test_the_front_matter_is_what_the_hub_reads(reward_run: Path, dpo_run: Path) -> None:
    found = ModelCard.load(dpo_run / "model" / "README.md").data.to_dict()
    assert found == {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["burnish", "dpo"]}
    found = ModelCard.load(reward_run / "model" / "README.md").data.to_dict()
    assert found["pipeline_tag"] == "text-classification"
    assert found["tags"] == ["burnish", "reward", "reward-model"]


def test_names_of_the_hub_are_linked_and_a_licence_is_never_guessed() -> None:
    _, settings = build(DPO, {"model": "gpt2", "data": "owner/pairs:train", "eval_data": "owner/pairs:test"})
    found = front_matter("dpo", settings, scorer=False, adapter=True)
    assert "base_model: gpt2\n" in found
    assert "datasets:\n- owner/pairs\n" in found
    assert found.count("owner/pairs") == 1
    assert "library_name: peft" in found
    assert "license" not in found
    own = front_matter("dpo", Settings(), scorer=False, adapter=False)
    assert "base_model" not in own
    assert "datasets" not in own


def test_what_is_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_hub("gpt2")
    assert on_hub("owner/name-1.5")
    assert not on_hub("builtin")
    assert not on_hub("smollm2")
    assert not on_hub("/somewhere/model")
    assert not on_hub("../model")
    assert not on_hub("a/b/c")
    assert not on_hub("pairs", owner=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert not on_hub("owner/name")
    assert shown("owner/name") == "name"
    assert shown("rewards:by_length") == "rewards:by_length"
    assert shown_data("owner/other:math:test") == "owner/other:math:test"
    assert shown_data("/home/somebody/rows.jsonl") == "rows.jsonl"
    assert shown_data("/home/somebody/folder:test") == "folder:test"
    mixture = "owner/name:test:0.5,/home/a/b.jsonl:0.25,owner/other:0.25"
    assert shown_data(mixture) == "name:test:0.5,b.jsonl:0.25,owner/other:0.25"
    front = front_matter("sft", Settings(data=mixture, eval_data="owner/third:test"), scorer=False, adapter=False)
    assert yaml.safe_load(front)["datasets"] == ["owner/other", "owner/third"]


def test_the_code_of_a_reward_model_gives_its_score(reward_run: Path) -> None:
    assert load_scorer(reward_run / "model").offset != 0
    assert float(run_code(reward_run)) == pytest.approx(score(reward_run), abs=1e-5)


def test_the_code_of_a_reward_model_ends_as_its_training_does(folder: Path) -> None:
    """The template's end, 6, is not EOS, and no EOS stands behind it; a tokenizer without BOS gets none."""
    tiny.save_model(folder / "chat")
    tiny.make_chat_tokenizer().save_pretrained(folder / "chat")
    asked = [{"role": "user", "content": "the film"}]
    pairs = [{"prompt": asked, **{key: [{"role": "assistant", "content": key[0]}] for key in ("chosen", "rejected")}}]
    tiny.write_rows(folder / "talks.jsonl", [pairs[0] | {"chosen": [{"role": "assistant", "content": "good"}]}] * 4)
    run = trained(folder, RewardModel(), "talk", model=folder / "chat", data=folder / "talks.jsonl", eval_data=None)
    scorer = load_scorer(run / "model")
    text = "the What is a good film? plot a A short one. plot"
    ids = scorer.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids[-1] == 6
    with torch.no_grad():
        expected = scorer.scores(tiny.demonstrations([(ids, [False] + [True] * (len(ids) - 1))])).item()
    assert float(run_code(run)) == pytest.approx(expected, abs=1e-5)


def test_the_code_of_a_policy_continues_its_text(dpo_run: Path) -> None:
    assert run_alone(dpo_run).startswith("the film is")


def test_the_code_of_an_adapter_loads_it(folder: Path) -> None:
    run = trained(folder, DPO(), "lora", lora_rank=2)
    assert "library_name: peft" in card(run)
    assert run_code(run).startswith("the film is")
    scorer = trained(folder, RewardModel(), "lora-reward", lora_rank=2)
    assert float(run_code(scorer)) == pytest.approx(score(scorer), abs=1e-5)


def test_counts_hash_results_and_settings(dpo_run: Path) -> None:
    text = card(dpo_run)
    environment = json.loads((dpo_run / "environment.json").read_text())
    assert "training: `pairs.jsonl`; 6 rows, 6 used" in text
    assert "evaluation: `held.jsonl`; 5 rows, 5 used" in text
    assert environment["data_sha256"] in text
    assert environment["eval_data_sha256"] in text
    last = json.loads((dpo_run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 2
    assert f"| eval_loss | {last['eval_loss']:.4g} |" in text
    assert "beta: 0.25\n" in text
    assert "Of step 2, the last" in text
    assert "largest" not in text
    assert text.split("\n# ")[1].split("\n")[0].endswith(", trained with dpo")


def test_nothing_of_the_machine_or_the_day(folder: Path, dpo_run: Path) -> None:
    """Another folder and other harmless options: the same card, to the byte."""
    assert "secret-place" not in card(dpo_run)
    other = trained(folder, DPO(beta=0.25), "elsewhere", save_every=1)
    assert card(other) == card(dpo_run)


def test_with_patience_the_results_are_those_of_the_kept_weights() -> None:
    records = [{"step": 1, "eval_loss": 3.0}, {"step": 2, "eval_loss": 1.0}, {"step": 3}, {"step": 4, "eval_loss": 1.0}]
    assert final(records, best=True)["step"] == 2
    assert final(records, best=False)["step"] == 4
    assert final([], best=True) == {}


def test_an_evaluation_adds_its_numbers_and_replaces_older_ones(reward_run: Path, folder: Path) -> None:
    before = card(reward_run)
    assert "None yet" in before
    edited = before.replace("## Known limits\n", "## Known limits\n\n- My own remark.\n")
    (reward_run / "model" / "README.md").write_text(edited)
    found = evaluate_run(reward_run, str(folder / "held.jsonl"), None, Settings(quiet=True))
    once = card(reward_run)
    share = found["accuracy"]
    assert f"| accuracy | {share['mean']:.4g} ({share['low']:.4g} to {share['high']:.4g}) |" in once
    assert "On `held.jsonl`" in once
    assert "None yet" not in once
    assert "My own remark." in once
    assert "secret-place" not in once
    add_evaluation(reward_run / "model", {"data": "builtin", "rows": 3})
    again = card(reward_run)
    assert "| rows | 3 |" in again
    assert "held-out part" in again
    assert "| accuracy | " + f"{share['mean']:.4g} (" not in again
    assert again.count("## Evaluation") == 1


def test_a_card_that_lost_the_place_gets_one(tmp_path: Path) -> None:
    add_evaluation(tmp_path, {"data": "builtin", "rows": 3})
    assert not (tmp_path / "README.md").exists()
    (tmp_path / "README.md").write_text("# Mine\n")
    add_evaluation(tmp_path, {"data": "builtin", "rows": 3})
    add_evaluation(tmp_path, {"data": "builtin", "rows": 4})
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Mine\n")
    assert text.count("## Evaluation") == 1
    assert "| rows | 4 |" in text


def test_the_built_in_model_is_said_to_be_small(tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "texts.jsonl", tiny.text_rows(4))
    run = train(SFT(), data=data, out=tmp_path / "run", **SMALL | {"steps": 1})
    assert "The built-in model is small" in card(run)
    assert "imitates its demonstrations" in card(run)


def test_bytes_that_are_not_text_stay_in_a_card(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"# caf\xe9\n")
    add_evaluation(tmp_path, {"data": "builtin", "rows": 3})
    assert (tmp_path / "README.md").read_bytes().startswith(b"# caf\xe9\n\n## Evaluation\n")


def test_markup_in_names_is_shown_and_not_obeyed() -> None:
    """Escaped as CommonMark says: a backslash before punctuation; a code span between longer runs of backticks."""
    assert cell("a <img src=x onerror=1> & **b** | `c` [d](e)\n# f") == (
        r"a \<img src=x onerror=1\> \& \*\*b\*\* \| \`c\` [d\](e) # f"
    )
    assert cell("gpt2_x-1 [0.1, 0.2]") == "gpt2_x-1 [0.1, 0.2]"
    assert code("gpt2") == "`gpt2`"
    assert code("a`b``c\n<b>") == "``` a`b``c <b> ```"
    assert fence_of("x") == "```"
    assert fence_of("x: '\n\n  ````\n'") == "`````"


def test_a_card_of_a_model_and_data_with_markup(folder: Path) -> None:
    (folder / "tiny").rename(folder / "<b>`x` tiny")
    (folder / "pairs.jsonl").rename(folder / "<i>`p`.jsonl")
    try:
        names = {"model": folder / "<b>`x` tiny", "data": folder / "<i>`p`.jsonl"}
        text = card(trained(folder, DPO(), "markup", **names))
    finally:
        (folder / "<b>`x` tiny").rename(folder / "tiny")
        (folder / "<i>`p`.jsonl").rename(folder / "pairs.jsonl")
    assert r"# \<b\>\`x\` tiny, trained with dpo" in text
    assert "from `` <b>`x` tiny ``." in text
    assert "- training: `` <i>`p`.jsonl ``;" in text
