"""Objects that a Python program gives to a run: the same bits as from files, noted by name and hash, and resumed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset

import burnish
from burnish.cli import main
from burnish.policies.language.policy import load_policy
from burnish.recipes.train.given import check_given, model_and_name
from burnish.run import UserError, read_jsonl, read_mapping

WEIGHTS = "model/model.safetensors"
COMMON: dict[str, Any] = {
    "steps": 8,
    "batch_size": 4,
    "learning_rate": 0.01,
    "max_length": 40,
    "threads": 1,
    "quiet": True,
    "save_every": 4,
}
ONLINE: dict[str, Any] = COMMON | {"rollout": 8, "max_new_tokens": 5}


@pytest.fixture(autouse=True)
def cache(offline: Path) -> None:
    """No table of another test is read."""


def per_word(cost: float) -> Callable[..., list[float]]:
    return lambda prompts, responses, **columns: [cost * len(response.split()) for response in responses]


def model() -> dict[str, Any]:
    return {"model": tiny.make_model("llama", seed=1), "tokenizer": tiny.make_tokenizer()}


def stop_at(step: int) -> Callable[[int, dict[str, float]], None]:
    """A callback that fails."""

    def on_step(now: int, metrics: dict[str, float]) -> None:
        if now == step:
            raise RuntimeError("stopped")

    return on_step


@pytest.mark.parametrize("lora", [None, 2])
def test_a_model_object_trains_like_its_folder_and_stays_as_it_is(tmp_path: Path, lora: int | None) -> None:
    tiny.save_model(tmp_path / "model", "llama", seed=1)
    rows, given = tiny.text_rows(14), model()
    before = {name: tensor.clone() for name, tensor in given["model"].state_dict().items()}
    options = COMMON | {"lora_rank": lora}
    named = burnish.train(burnish.SFT(), data=rows, model=tmp_path / "model", out=tmp_path / "a", **options)
    found = burnish.train(burnish.SFT(), data=iter(rows), out=tmp_path / "b", **given, **options)
    weights = WEIGHTS if lora is None else "model/adapter_model.safetensors"
    for name in ("metrics.jsonl", weights):
        assert (named / name).read_bytes() == (found / name).read_bytes()
    assert all(torch.equal(tensor, before[name]) for name, tensor in given["model"].state_dict().items())
    config = read_mapping(found / "config.yaml")
    assert (config["model"], config["data"]) == ("(in memory) LlamaForCausalLM", "(in memory)")
    hashes = [read_mapping(run / "environment.json")["model_sha256"] for run in (named, found)]
    assert hashes[0] == hashes[1]
    assert (found / "base").exists() == (lora is not None)


def test_the_base_of_an_adapter_goes_with_its_run(tmp_path: Path) -> None:
    run = burnish.train(burnish.SFT(), data=tiny.text_rows(8), out=tmp_path / "a", lora_rank=2, **model(), **COMMON)
    before = load_policy(run / "model").model.state_dict()
    run.rename(tmp_path / "moved")
    after = load_policy(tmp_path / "moved/model").model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", [burnish.PPO(update_epochs=2), burnish.SFT()])
def test_a_run_with_objects_resumes_to_the_same_bits(tmp_path: Path, method: Any) -> None:
    """Interrupted between checkpoints, and gone on with equal objects, made anew."""

    def go(name: str, **more: Any) -> Path:
        online = {"reward": per_word(0.1)} | ONLINE if method.experience else COMMON
        rows = tiny.prompt_rows(14) if method.experience else tiny.text_rows(14)
        return burnish.train(method, data=Dataset.from_list(rows), out=tmp_path / name, **model(), **online, **more)

    whole = go("whole")
    with pytest.raises(UserError, match="stopped"):
        go("cut", on_step=stop_at(6))
    heard: list[int] = []
    cut = go("cut", resume=True, on_step=lambda step, metrics: heard.append(step))
    assert heard == [5, 6, 7, 8]
    for name in ("metrics.jsonl", WEIGHTS):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


def test_resuming_with_another_model_is_refused(tmp_path: Path) -> None:
    for lora in (None, 2):
        out, options = tmp_path / str(lora), COMMON | {"lora_rank": lora, "data": tiny.text_rows(8)}
        with pytest.raises(UserError, match="stopped"):
            burnish.train(burnish.SFT(), out=out, on_step=stop_at(6), **model(), **options)
        other = {"model": tiny.make_model("llama", seed=2), "tokenizer": tiny.make_tokenizer()}
        with pytest.raises(UserError, match=r"begun with (another model|other models, the weights of the policy)"):
            burnish.train(burnish.SFT(), out=out, resume=True, **other, **options)
        burnish.train(burnish.SFT(), out=out, resume=True, **model(), **options)


def test_a_reward_whose_code_changed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ONLINE | {"quiet": False, "data": tiny.prompt_rows(14), "out": tmp_path / "run"}
    with pytest.raises(UserError, match="stopped"):
        burnish.train(burnish.Rejection(), reward=per_word(1), on_step=stop_at(6), **model(), **options)
    assert len(read_mapping(tmp_path / "run/environment.json")["reward_sha256"]) == 64

    def per_word_again() -> Any:
        other = lambda prompts, responses, **columns: [2.0 for _ in responses]  # noqa: E731
        other.__qualname__ = per_word(1).__qualname__
        return other

    capsys.readouterr()
    burnish.train(burnish.Rejection(), reward=per_word_again(), resume=True, **model(), **options)
    assert "not to the same bits: reward_sha256 (was" in capsys.readouterr().err


def test_the_command_line_says_how_to_go_on_from_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="stopped"):
        burnish.train(
            burnish.PPO(),
            data=tiny.prompt_rows(14),
            reward=per_word(1),
            out=tmp_path / "run",
            on_step=stop_at(5),
            **model(),
            **ONLINE,
        )
    folder = str(tmp_path / "run")
    for more in (["--config", f"{folder}/config.yaml"], ["--reward", "lexicon", "--out", folder]):
        with pytest.raises(SystemExit, match="2"):
            main(["ppo", *more, "--resume"])
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "was begun in Python with objects in memory (reward per_word.<locals>.<lambda>" in said
        assert "go on in Python, with burnish.train(…, reward=…, model=…, data=…, tokenizer=…, out=" in said


def test_every_key_without_its_object_is_named() -> None:
    config = {"model": "(in memory) GPT2LMHeadModel", "data": "(in memory)", "beta": 0.1, "reward": "gold"}
    check_given("run", config, {"model", "data"})
    with pytest.raises(
        UserError, match=r"\(model GPT2LMHeadModel\), .*model=…, tokenizer=…, out='run', resume=True\)$"
    ):
        check_given("run", config, {"data"})
    with pytest.raises(UserError, match=r"\(data\), which no file holds: .*, data=…, out='run', resume=True\)$"):
        check_given("run", config, {"model"})


def test_on_step_hears_every_line_of_the_metrics(tmp_path: Path) -> None:
    heard: list[dict[str, float]] = []

    def on_step(step: int, metrics: dict[str, float]) -> None:
        heard.append({"step": step} | metrics)
        metrics.clear()  # does no harm

    run = burnish.train(burnish.SFT(), data=tiny.text_rows(8), out=tmp_path / "a", on_step=on_step, **model(), **COMMON)
    assert heard == read_jsonl(run / "metrics.jsonl")


def test_what_on_step_raises_ends_the_run_with_its_step(tmp_path: Path) -> None:
    def on_step(step: int, metrics: dict[str, float]) -> None:
        if step == 3:
            sys.exit(0)

    with pytest.raises(UserError, match=r"^step 3: on_step raised SystemExit: 0: mend it and continue with --resume"):
        burnish.train(burnish.SFT(), data=tiny.text_rows(8), out=tmp_path / "a", on_step=on_step, **model(), **COMMON)


class Adapter(torch.nn.Module):
    def merge_and_unload(self) -> None: ...


def failing() -> Iterator[dict[str, str]]:
    yield {"text": "good"}
    raise RuntimeError("the database is gone")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"model": torch.nn.Linear(1, 1)},
            "model is a Linear: give a name, a folder, or a transformers PreTrainedModel",
        ),
        ({"model": Adapter()}, r"model is a Adapter: give .*, such as its merge_and_unload\(\)"),
        ({"model": None}, "model is a NoneType: give a name"),
        ({"tokenizer": None}, "a model object needs its tokenizer, not none: give tokenizer="),
        ({"tokenizer": "gpt2"}, "a model object needs its tokenizer, not a str"),
        ({"model": "gpt2"}, "tokenizer goes with a model object"),
        ({"on_step": 3}, "on_step is a int: give a function"),
        ({"data": 3}, "data is a int; give an iterable of rows"),
        ({"data": {"text": ["good"]}}, "data is a dict; give an iterable of rows"),
        ({"data": failing()}, "row 1: reading it raised RuntimeError: the database is gone"),
        ({"data": ({"text": 1} for _ in range(0))}, "has no rows"),
        ({"data": iter([("a", "b")])}, "row 0: is a tuple, but every row must be a dict"),
    ],
)
def test_objects_of_other_kinds_are_refused(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    options = {"data": tiny.text_rows(8)} | model() | COMMON
    with pytest.raises(UserError, match=said):
        burnish.train(burnish.SFT(), out=tmp_path / "run", **(options | given))


def test_a_model_is_named_by_its_class() -> None:
    found = tiny.make_model("gpt2")
    assert model_and_name(found) == (found, "(in memory) GPT2LMHeadModel")
    assert model_and_name(Path("a/b")) == (None, "a/b")
