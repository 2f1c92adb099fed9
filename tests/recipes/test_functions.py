"""The functions of `import burnish`: their examples run as they stand, and objects serve where names do."""

import doctest
import importlib
import inspect
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from datasets import Dataset
from tiny_scorers import make_scorer

import burnish
from burnish.recipes.sample import Knobs, texts_of
from burnish.run import UserError, read_mapping

QUIET: dict[str, Any] = {"quiet": True, "threads": 1, "max_length": 40}
TRAIN: dict[str, Any] = QUIET | {"steps": 2, "batch_size": 2, "model": "model"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, an unfinished one, and a reward model's."""
    here, folder = Path.cwd(), tmp_path_factory.mktemp("functions")
    os.chdir(folder)
    try:
        tiny.save_model(folder / "model", "gpt2")
        burnish.train(burnish.SFT(), data=tiny.text_rows(4), out="runs/sft", **TRAIN)
        burnish.train(burnish.DPO(), data=tiny.pair_rows(4), out="runs/dpo", **TRAIN)
        burnish.train(burnish.RewardModel(), data=tiny.pair_rows(4), out="runs/reward", **TRAIN)
    finally:
        os.chdir(here)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("name", ["load", "evaluate", "sample", "compare", "report", "train"])
def test_the_example_of_a_function_runs(name: str) -> None:
    """With purpose, arguments, what is returned, what raises, and an example."""
    function = getattr(burnish, name)
    for part in ("Args:", "Returns:", "Raises:", "Example:"):
        assert f"\n{part}\n" in "\n".join(line.strip() for line in function.__doc__.splitlines())
    test = doctest.DocTestParser().get_doctest(function.__doc__, {}, name, None, None)
    assert len(test.examples) >= 2
    assert doctest.DocTestRunner().run(test).failed == 0


def test_a_run_is_loaded_with_all_of_it() -> None:
    run = burnish.load("runs/sft")
    assert (run.folder, run.scorer, run.algorithm, run.settings.data) == (
        *(Path("runs/sft"), None, burnish.SFT(), "(in memory)"),
    )
    assert run.tokenizer("good").input_ids == tiny.make_tokenizer()("good").input_ids
    ids = run.tokenizer("good film", return_tensors="pt").input_ids
    assert run.model.generate(ids, max_new_tokens=2, do_sample=False).shape == (1, 5)
    assert not run.model.training
    reward = burnish.load(Path("runs/reward"), device="cpu")
    assert reward.policy is None
    assert reward.model.config.num_labels == 1
    assert reward.tokenizer("bad").input_ids == run.tokenizer("bad").input_ids


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is not a run: give the folder that `burnish.train` returned"):
        burnish.load("nowhere")
    (tmp_path / "config.yaml").write_text("algorithm: sft")
    with pytest.raises(UserError, match="has no finished model"):
        burnish.load(tmp_path)
    with pytest.raises(UserError, match=r"burnish\.load has no option prefixes"):
        burnish.load("runs/sft", prefixes=3)


def test_objects_of_other_kinds_are_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"or what burnish\.load returned, not an object of type int"):
        burnish.sample(7)
    with pytest.raises(UserError, match=r"algorithm must be an object such as burnish\.DPO\(beta=0\.1\), not 'dpo'"):
        inspect.unwrap(burnish.train)("dpo", out="runs/none")  # the annotations are only checked in tests
    with pytest.raises(
        UserError, match=r"there is no 'The film was': give each row as a dict, such as \{\"prompt\": …\}"
    ):
        burnish.sample("runs/sft", ["The film was"])
    with pytest.raises(UserError, match="stop must be a text, or a list of texts, not 7"):
        texts_of(7)
    with pytest.raises(UserError, match="top_p must be a number, not 'much'"):
        inspect.unwrap(Knobs.__post_init__)(
            SimpleNamespace(max_new_tokens=1, temperature=1.0, top_k=None, top_p="much")
        )


def test_a_loaded_run_is_shown_in_short() -> None:
    assert "metrics=" not in repr(burnish.load("runs/sft"))


def test_names_objects_and_loaded_runs_give_the_same_samples() -> None:
    run, prompts = burnish.load("runs/sft"), tiny.prompt_rows(3)
    common: dict[str, Any] = QUIET | {
        "max_new_tokens": 4,
        "n": 2,
        "reward": lambda prompts, texts, **_: map(len, texts),
    }
    by_name = burnish.sample("runs/sft", prompts, **common)
    for model, more in ((run, {}), (run.model, {"tokenizer": run.tokenizer})):
        found = burnish.sample(model, Dataset.from_list(prompts), **common, **more)
        assert found.lines == by_name.lines
    assert (by_name.summary["model"], found.summary["model"]) == ("runs/sft", "(in memory) GPT2LMHeadModel")
    assert burnish.sample("runs/sft", iter(prompts), **common).lines == by_name.lines


def test_a_comparison_reads_an_iterable_once_for_both() -> None:
    found = burnish.compare(burnish.load("runs/sft"), "runs/sft", iter(tiny.prompt_rows(3)), max_new_tokens=4, **QUIET)
    assert len(found.rows) == 3
    assert all(row["a"] == row["b"] for row in found.rows)


def test_evaluation_takes_rows_and_writes_what_the_command_writes() -> None:
    rows = tiny.pair_rows(5, seed=3)
    tiny.write_rows(Path("held.jsonl"), rows)
    by_name = burnish.evaluate("runs/reward", "held.jsonl", quiet=True)
    found = burnish.evaluate(burnish.load("runs/reward"), iter(rows), quiet=True)
    assert (by_name["data"], found["data"]) == ("held.jsonl", "(in memory)")
    assert {**found, "data": ""} == {**by_name, "data": ""}
    assert read_mapping(Path("runs/reward/evaluation.json")) == found
    assert "`(in memory)`" in Path("runs/reward/model/README.md").read_text()


def test_objects_that_a_run_began_with_are_asked_for_and_taken(tmp_path: Path) -> None:
    model, tokenizer = tiny.make_model("llama", seed=1), tiny.make_tokenizer()
    score = lambda prompts, responses, **_: [len(one) / 10 for one in responses]  # noqa: E731
    run = burnish.train(
        burnish.Rejection(),
        model=model,
        tokenizer=tokenizer,
        data=tiny.prompt_rows(4),
        reward=score,
        out=tmp_path / "run",
        rollout=4,
        max_new_tokens=4,
        **{key: value for key, value in TRAIN.items() if key != "model"},
    )
    prompts = tiny.prompt_rows(3, seed=1)
    with pytest.raises(UserError, match=r"began as a model in memory, LlamaForCausalLM: .*model=…, tokenizer=…"):
        burnish.evaluate(run, prompts, quiet=True)
    with pytest.raises(UserError, match=r"was an object in memory: give it in Python, with reward=…"):
        burnish.evaluate(run, prompts, model=model, tokenizer=tokenizer, quiet=True)
    found = burnish.evaluate(run, prompts, model=model, tokenizer=tokenizer, reward=score, quiet=True)
    assert (found["rows"], found["kl"]["mean"] != 0) == (3, True)
    other = tiny.make_model("llama", seed=2)
    with pytest.raises(UserError, match="other weights than when"):
        burnish.evaluate(run, prompts, model=other, tokenizer=tokenizer, reward=score, quiet=True)


def test_an_environment_in_memory_is_asked_for_and_taken(tmp_path: Path) -> None:
    """A class made within a function cannot be imported again; its dialogues decide what is right."""
    played: list[str] = []

    class Echo:
        def reset(self, row: dict[str, Any], seed: int) -> list[dict[str, str]]:
            return [{"role": "user", "content": row["prompt"]}]

        def step(self, text: str) -> tuple[list[dict[str, str]], float, bool]:
            played.append(text)
            return [], float(len(text) % 2), True

    tiny.save_model(tmp_path / "model", "llama")
    tiny.make_chat_tokenizer().save_pretrained(tmp_path / "model")
    run = burnish.train(
        burnish.Rejection(),
        model=tmp_path / "model",
        data=[{"prompt": "the film was"}, {"prompt": "a good film"}],
        environment=Echo,
        out=tmp_path / "run",
        rollout=2,
        max_new_tokens=4,
        **{key: value for key, value in TRAIN.items() if key != "model"},
    )
    prompts = [{"prompt": "a bad film"}]
    with pytest.raises(UserError, match=r"Echo was an object in memory: give it in Python, with environment=…"):
        burnish.evaluate(run, prompts, quiet=True)
    played.clear()
    found = burnish.evaluate(run, prompts, environment=Echo, samples_per_prompt=3, quiet=True)
    assert found["answers"]["prompts"] == 1
    assert 3 <= len(played) <= 6  # three before and three after, but for those that were cut off


def test_a_report_is_a_function_and_a_package() -> None:
    assert burnish.report("runs/sft") == Path("runs/sft/report.html")
    page = importlib.import_module("burnish.report.language.training")
    assert burnish.report.language.training is page
    with pytest.raises(UserError, match="needs a run"):
        burnish.report([])


def test_a_scorer_object_is_a_model_like_any_other(tmp_path: Path) -> None:
    """A sequence classifier goes on as a reward model; a language model object gets a head."""
    scorer = make_scorer("gpt2", seed=2, double=False)
    options = {key: value for key, value in TRAIN.items() if key != "model"} | {"data": tiny.pair_rows(4)}
    for name, model in (("a", scorer.model), ("b", tiny.make_model("gpt2"))):
        run = burnish.train(
            burnish.RewardModel(), model=model, tokenizer=tiny.make_tokenizer(), out=tmp_path / name, **options
        )
        assert burnish.load(run).scorer is not None
