"""What a resumed run notices: another model, reward model or critic, by what of it is another."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from tiny_scorers import make_scorer

from burnish.algorithms.table import load
from burnish.config import build
from burnish.policies.language.precision import resolved
from burnish.recipes.train import environment
from burnish.recipes.train.run import run_training
from burnish.run import UserError

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs of two updates without a model, as a kill leaves them, and their resumption."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    tiny.save_model(tmp_path / "model", "llama")
    for number, name in enumerate(("judge", "second", "critic")):
        make_scorer("llama", seed=number, double=False).save(tmp_path / name)
    tiny.write_rows(tmp_path / "texts.jsonl", tiny.text_rows(8))
    tiny.write_rows(tmp_path / "prompts.jsonl", tiny.prompt_rows(8))

    def go(method: str = "sft", **options: Any) -> Path:
        own = {"steps": 2, "batch_size": 4, "threads": 1, "max_length": 40, "save_every": 1, "quiet": True}
        data = str(tmp_path / ("prompts.jsonl" if load(method).experience else "texts.jsonl"))
        own |= {"model": str(tmp_path / "model"), "data": data, "out": str(tmp_path / "run")}
        if method == "ppo":
            own |= {"rollout": 4, "max_new_tokens": 3, "update_epochs": 1, "reward": str(tmp_path / "judge")}
        run = run_training(*build(load(method), own | options))
        shutil.rmtree(run / "model")
        return run

    return go


def edit(path: Path, change: Edit) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def epsilon(content: dict[str, Any]) -> None:
    content["rms_norm_eps"] = 0.01


def test_another_model_is_refused_by_what_is_another(started: Callable[..., Path], tmp_path: Path) -> None:
    started()
    original = (tmp_path / "model" / "config.json").read_text()
    edit(tmp_path / "model" / "config.json", epsilon)
    said = r"run was begun with other models, the config of the policy, rms_norm_eps \(was 1e-06, now 0.01\): restore"
    with pytest.raises(UserError, match=said):
        started(resume=True)
    (tmp_path / "model" / "config.json").write_text(original)
    edit(tmp_path / "model" / "config.json", lambda c: c.update(transformers_version="4.0.0", _name_or_path="x"))
    started(resume=True)
    tiny.save_model(tmp_path / "model", "llama", seed=1)
    with pytest.raises(UserError, match="begun with other models, the weights of the policy: restore them"):
        started(resume=True)


def test_reward_models_and_critics_are_compared_too(started: Callable[..., Path], tmp_path: Path) -> None:
    options = {"reward": f"{tmp_path / 'judge'},{tmp_path / 'second'}", "critic": str(tmp_path / "critic")}
    started("ppo", **options)
    started("ppo", **options, resume=True)
    for name, said in {"second": r"the reward model \S*second", "critic": "the critic"}.items():
        original = (tmp_path / name / "config.json").read_text()
        edit(tmp_path / name / "config.json", epsilon)
        with pytest.raises(UserError, match=rf"begun with other models, the config of {said}, rms_norm_eps"):
            started("ppo", **options, resume=True)
        (tmp_path / name / "config.json").write_text(original)
    make_scorer("llama", seed=7, double=False).save(tmp_path / "judge")
    with pytest.raises(UserError, match=r"begun with other models, the weights of the reward model \S*judge: restore"):
        started("ppo", **options, resume=True)


def test_with_another_version_a_difference_is_a_warning(
    started: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = started()
    edit(run / "environment.json", lambda c: c["packages"].update(tokenizers="0.1"))
    edit(tmp_path / "model" / "config.json", epsilon)
    started(resume=True, quiet=False)
    assert "warning: with other versions of transformers, tokenizers, peft, the config of the policy, rms_norm_eps" in (
        capsys.readouterr().err
    )


def test_a_run_of_an_older_version_resumes(started: Callable[..., Path], tmp_path: Path) -> None:
    """It noted no models, and its configuration lacks the options that came later; what is written stays refused."""
    for method in ("sft", "ppo"):
        run = started(method, out=str(tmp_path / method))
        (run / environment.MODELS).unlink()
        config = yaml.safe_load((run / "config.yaml").read_text())
        for key in ("keep_special_tokens", "dtype", "load_in_4bit", "mask_formatting", "train_thoughts", "revision"):
            config.pop(key, None)
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        started(method, out=str(run), resume=True)
        with pytest.raises(UserError, match=r"another config, dtype \(was 'float32', now 'bfloat16'\)"):
            started(method, out=str(run), resume=True, dtype="bfloat16")


def test_a_precision_chosen_by_the_device_is_noted_and_another_is_said(
    started: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = started(precision="auto")
    here = resolved("auto", "cpu")
    there = "float32" if here == "bfloat16" else "bfloat16"
    assert json.loads((run / "environment.json").read_text())["precision"] == here
    assert yaml.safe_load((run / "config.yaml").read_text())["precision"] == "auto"
    started(precision="auto", resume=True, quiet=False)
    assert "different environment" not in capsys.readouterr().err
    edit(run / "environment.json", lambda content: content.update(precision=there))
    shutil.rmtree(run / "model", ignore_errors=True)
    started(precision="auto", resume=True, quiet=False)
    said = f"resumed in a different environment, so not to the same bits: precision (was '{there}', now '{here}')"
    assert said in capsys.readouterr().err


def test_phrases_name_part_and_model() -> None:
    then = {"policy": {"config": {"a": 1, "b": {"c": 2}}, "tokenizer_sha256": "x"}}
    now = {"policy": {"config": {"a": 2, "b": {"c": 3}}, "tokenizer_sha256": "y"}, "critic": {"weights_sha256": "z"}}
    assert environment.model_differences(then, then) == []
    assert environment.model_differences(then, now) == [
        "the config of the policy, a (was 1, now 2) and b.c (was 2, now 3)",
        "the tokenizer of the policy",
        "the weights of the critic",
    ]


def test_other_texts_beside_the_reward_are_refused(started: Callable[..., Path], tmp_path: Path) -> None:
    texts = tmp_path / "beside.jsonl"
    tiny.write_rows(texts, tiny.text_rows(6))
    run = started("ppo", ptx_data=str(texts))
    noted = json.loads((run / "environment.json").read_text())["ptx_data_sha256"]
    assert started("ppo", ptx_data=str(texts), resume=True) == run
    tiny.write_rows(texts, tiny.text_rows(5))
    with pytest.raises(UserError, match=rf"was begun with other inputs, ptx_data_sha256 \(was '{noted}'"):
        started("ppo", ptx_data=str(texts), resume=True)
