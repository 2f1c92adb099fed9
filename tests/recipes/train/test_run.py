"""One training run from settings to folder; and that every option changes something."""

import dataclasses
import errno
import functools
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import fake_wandb
import numpy as np
import pytest
import tiny
import torch
import yaml
from caches import cache_with_archive
from datasets import Dataset, IterableDataset
from faults import failing
from kinds import KINDS
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification
from safetensors.torch import load_file, save_file
from tiny_scorers import make_scorer, naive_score
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import burnish
from burnish.algorithms.ppo import PPO
from burnish.algorithms.table import LANGUAGE, load
from burnish.config import Settings, as_dict, build
from burnish.experience.language.completions import Completions
from burnish.policies.language.policy import load_policy
from burnish.recipes.evaluate.run import evaluate_run
from burnish.recipes.train import rows as rows_module
from burnish.recipes.train.run import run_training, train
from burnish.run import BurnishWarning, UserError, read_jsonl, read_mapping

WEIGHTS = "model/model.safetensors"
DATA = {"demonstrations": "texts", "preferences": "pairs", "feedback": "pairs", "prompts": "prompts"}
# Rollouts of 8 in two batches, each learned from twice: 4 steps are one rollout.
ONLINE = {"reward": "lexicon", "rollout": 8, "max_new_tokens": 5, "update_epochs": 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "gpt2")
    tiny.save_model(folder / "other model", "llama", seed=1)
    tiny.write_rows(folder / "texts.jsonl", tiny.text_rows(14))
    tiny.write_rows(folder / "other.jsonl", tiny.text_rows(14, seed=1))
    pairs = [row | {"margin": 0.5 * i} for i, row in enumerate(tiny.pair_rows(14))]
    tiny.write_rows(folder / "pairs.jsonl", pairs)
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(14))
    make_scorer(seed=2, double=False).save(folder / "scorer")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BURNISH_CACHE", cache_with_archive(tmp_path / "cache"))
    return tmp_path / "cache"


def begun(files: Path, method: str, out: Path, options: dict[str, Any]) -> Path:
    """Run a method in `out` with options beside the common ones."""
    common = {
        "model": str(files / "model"),
        "data": str(files / f"{DATA[load(method).data]}.jsonl"),
        "out": str(out),
        "steps": 4,
        "batch_size": 4,
        "learning_rate": 0.01,
        "threads": 1,
        "max_length": 40,
    }
    if "epochs" in options:
        del common["steps"]
    if method == "distil":
        common |= {"teacher": str(files / "model")}
    if load(method).experience:
        common |= ONLINE | {"model": str(files / "other model")}  # which ends some of its completions
    return run_training(*build(load(method), common | options))


@pytest.fixture
def go(files: Path, tmp_path: Path) -> Callable[..., Path]:
    """A new run; folders are numbered."""
    count = 0

    def run(method: str = "sft", **options: Any) -> Path:
        nonlocal count
        count += 1
        return begun(files, method, tmp_path / f"run-{count}", options)

    return run


@pytest.fixture(scope="module")
def finished(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A run for tests that only read it: those that ask for the same one share it."""

    @functools.cache
    def run(method: str = "sft", **options: Any) -> Path:
        return begun(files, method, tmp_path_factory.mktemp("finished") / "run", options)

    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / WEIGHTS)


def same_bits(one: Path, other: Path, name: str = WEIGHTS) -> bool:
    return (one / name).read_bytes() == (other / name).read_bytes()


# Each changes the weights that the run ends with.
CHANGE_WEIGHTS: dict[str, Any] = {
    "seed": 1,
    "steps": 5,
    "epochs": 2.0,
    "batch_size": 3,
    "accumulate": 3,  # by rounding alone: see below
    "learning_rate": 0.02,
    "warmup": 2,
    "schedule": "cosine",
    "min_lr_ratio": 0.5,
    "optimizer": "sgd",
    "adam_beta1": 0.5,
    "adam_beta2": 0.5,
    "adam_epsilon": 1e-3,
    "weight_decay": 0.5,
    "max_grad_norm": 0.01,
    "neftune": 5.0,
    "max_length": 5,
    "precision": "bfloat16",
}
# Each is shown by a test of its own, named here.
SHOWN_ELSEWHERE = {
    "model": "test_model_and_data_are_those_given",
    "data": "test_model_and_data_are_those_given",
    "streaming": "test_streamed_data_resume_to_the_same_bits",
    "shuffle_buffer": "test_streamed_rows_in_order_are_those_of_the_file",
    "group_by_length": "test_rows_of_one_length_stand_in_one_batch",
    "out": "test_model_and_data_are_those_given",
    "holdout": "tests/recipes/train/test_rows.py: rows that are held out are not trained",
    "revision": "test_a_revision_is_noted_and_refused_for_a_folder",
    "trust_remote_code": "test_code_that_is_trusted_is_not_recorded",
    "dtype": "test_bfloat16_weights_are_trained_saved_and_resumed",
    "save_dtype": "test_a_model_is_saved_in_the_dtype_that_it_had_or_that_is_asked_for",
    "resize_embeddings": "test_tokens_without_a_row_are_refused_or_get_one",
    "load_in_4bit": "test_a_quantised_base_is_trained_evaluated_and_resumed",
    "load_in_8bit": "test_a_quantised_base_is_trained_evaluated_and_resumed",
    "shard": "tests/recipes/train/test_several.py: the numbers do not depend on it",
    "offload": "tests/recipes/train/test_several.py: the numbers do not depend on it",
    "gradient_checkpointing": "test_gradient_checkpointing_changes_no_bit",
    "eval_data": "test_evaluation_is_written_down",
    "eval_every": "test_evaluation_is_written_down",
    "watch": "tests/recipes/train/test_monitor.py",
    "watch_labels": "tests/recipes/train/test_monitor.py",
    "watch_rewards": "tests/recipes/train/test_monitor.py",
    "patience": "test_patience_ends_a_run_early",
    "decay": "test_every_optimizer_and_schedule_resumes_to_the_same_bits",
    "decay_type": "test_every_optimizer_and_schedule_resumes_to_the_same_bits",
    "momentum": "test_every_optimizer_and_schedule_resumes_to_the_same_bits",
    "log_every": "test_every_optimizer_and_schedule_resumes_to_the_same_bits",
    "save_every": "test_checkpoints_are_kept",
    "keep_checkpoints": "test_checkpoints_are_kept",
    "save_best": "test_the_best_weights_are_the_model",
    "from_": "tests/recipes/train/test_longer.py: a run begins with the weights and the optimizer of another",
    "resume": "test_resume_goes_on",
    "device": "test_a_device_that_is_not_there_is_refused",
    "threads": "test_threads_are_set_and_noted",
    "lora_rank": "test_every_option_of_lora_changes_the_weights",
    "lora_alpha": "test_every_option_of_lora_changes_the_weights",
    "lora_dropout": "test_every_option_of_lora_changes_the_weights",
    "lora_targets": "test_every_option_of_lora_changes_the_weights",
    "track": "test_a_tracker_gets_what_is_written",
    "sampler": "tests/recipes/test_sampler.py: a run with a sampler elsewhere",
    "sampler_timeout": "tests/recipes/test_sampler.py: a server that is slow",
    "sampler_bound": "tests/recipes/test_sampler.py: a server in bfloat16",
    "staleness": "tests/recipes/train/test_staleness.py",
    "quiet": "test_quiet_says_nothing",
    "mask_formatting": "test_masked_formatting_changes_the_weights",
    "last_answer_only": "test_what_of_an_answer_is_trained_changes_the_weights",
    "train_thoughts": "test_what_of_an_answer_is_trained_changes_the_weights",
    "debug": "tests/cli/test_flags.py: it shows tracebacks, which only the command line hides",
}
OWN: dict[str, dict[str, Any]] = {
    "sft": {"over": "sequence"},
    "reward": {"centre_coefficient": 0.5, "margin_weight": 0.5},
    "ppo": {
        "clip": 0.01,
        "value_clip": None,
        "value_weight": 0.5,
        "entropy_weight": 0.1,
        "lambda_": 0.5,
        "update_epochs": 1,
        "standardise_advantages": False,
        "stop_kl": 1e-4,
        "kl_penalty": 5.0,
        "kl_penalty_target": 1e-9,
        "over": "sequence",
    },
    "dpo": {
        "beta": 0.9,
        "label_smoothing": 0.3,
        "length_normalised": True,
        "divergence": "js",
        "alpha": 0.9,
        "nll_weight": 0.2,
        "margin_weight": 0.5,
    },
    "online_dpo": {"beta": 0.9, "label_smoothing": 0.3, "nll_weight": 0.2, "update_epochs": 1},
    "rejection": {"over": "sequence", "update_epochs": 1},
    "robust_dpo": {"beta": 0.9, "label_smoothing": 0.3},
    "hinge": {"beta": 0.9, "nll_weight": 0.2},
    "ipo": {"tau": 0.9, "log_ratios": "mean"},
    "orpo": {"odds_weight": 0.9},
    "simpo": {"beta": 3.0, "gamma": 0.2},
    "cpo": {"beta": 0.9, "nll_weight": 0.2},
    "apo_zero": {"beta": 0.9},
    "apo_down": {"beta": 0.9},
    "exo": {"beta": 0.9, "label_smoothing": 0.3},
    "nca": {"beta": 0.9},
    "sppo": {"beta": 0.9},
    "kto": {"beta": 0.9, "desirable_weight": 1.5, "undesirable_weight": 0.5},
}
OF_GROUPS = ("grpo", "rloo", "gspo", "cispo", "reinforce_plus_plus", "distil")
"""Methods whose options are shown to change a gradient in tests/algorithms/test_group.py and test_distil.py."""
NEEDS = {"rloo": {"ratio": "token"}, "distil": {"reward": None}}
"""What a method needs beside the common options, which have two passes and a reward."""
# What an option needs beside it, in the run that it changes too; and those that do not go with the others.
BESIDE: dict[str, dict[str, Any]] = {
    "kl_penalty_target": {"kl_penalty": 5.0, "steps": 9},  # it adapts the price from the second rollout on
    "alpha": {"divergence": "alpha"},
}
BEFORE: dict[str, dict[str, Any]] = {"alpha": {"alpha": 0.2}}
APART = {"length_normalised", "alpha"}
# Of completions; 9 steps are more than two rollouts, so that the last is priced at a β that was adapted.
KNOBS: dict[str, Any] = {
    "reward": "gold",
    "critic": "scorer",
    "rollout": 6,
    "max_new_tokens": 6,
    "temperature": 0.5,
    "beta": 0.5,
    "kl_target": 0.1,
    "kl_horizon": 20,
    "gamma": 0.5,
    "missing_eos_penalty": 3.0,
    "sampler_correction": "truncate",
    "correction_level": "sequence",
    "correction_low": 1.0,
    "correction_high": 1.0,
}
CORRECTION = {"sampler_correction": "truncate"}
"""Of the sampler's roundings, which are not those of the policy's own pass."""


def test_no_option_is_left_out() -> None:
    settings = {f.name for f in dataclasses.fields(Settings)} - {"experience"}
    assert CHANGE_WEIGHTS.keys() | SHOWN_ELSEWHERE.keys() == settings
    apart = {"keep_samples", "keep_special_tokens", "environment", "max_turns", "max_dialogue_length", "tool_timeout"}
    apart |= {"environment_timeout"}
    apart |= {"ptx_data", "ptx_weight"}
    assert KNOBS.keys() | apart == {f.name for f in dataclasses.fields(Completions)}
    assert {name: set(own) for name, own in OWN.items()} == {
        name: {f.name for f in dataclasses.fields(load(name))} for name in LANGUAGE if name not in OF_GROUPS
    }
    for name in SHOWN_ELSEWHERE.values():
        assert name in globals() or name.startswith("tests/")


def test_every_option_changes_the_weights_it_should(go: Callable[..., Path], finished: Callable[..., Path]) -> None:
    base = finished()
    assert same_bits(base, go())
    for key, value in CHANGE_WEIGHTS.items():
        assert not same_bits(base, go(**{key: value})), key


@pytest.mark.parametrize("method", OWN)
def test_every_option_of_a_method_changes_the_weights(method: str, finished: Callable[..., Path]) -> None:
    """That nothing else does is what test_a_resolved_configuration_runs_again_to_the_same_bits holds."""
    for key, value in OWN[method].items():
        beside = BESIDE.get(key, {})
        before = finished(method, **beside, **BEFORE.get(key, {}))
        assert not same_bits(before, finished(method, **beside, **{key: value})), key


def test_gradient_checkpointing_changes_no_bit(go: Callable[..., Path], tmp_path: Path) -> None:
    """In SFT with dropout and noise, and a run may go on with it; in a reward model; in PPO with its critic."""
    for method, options in (("sft", {"neftune": 5.0}), ("reward", {}), ("ppo", {"steps": 8, "beta": 0.1})):
        before = go(method, save_every=4, **options)
        assert same_bits(before, go(method, gradient_checkpointing=True, **options)), method
    begun = tmp_path / "begun"
    shutil.copytree(before, begun)
    shutil.rmtree(begun / "model")
    shutil.rmtree(begun / "checkpoints" / "step-000008")
    go("ppo", save_every=4, out=str(begun), resume=True, gradient_checkpointing=True, steps=8, beta=0.1)
    assert same_bits(before, begun)
    assert same_bits(before, begun, "critic/model.safetensors")


def test_tokens_without_a_row_are_refused_or_get_one(files: Path, tmp_path: Path, go: Callable[..., Path]) -> None:
    tiny.save_model(tmp_path / "m", "llama")
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(tmp_path / "m")
    data = tiny.write_rows(tmp_path / "texts.jsonl", [*tiny.text_rows(5), {"text": "the <new> plot"}])
    options = {"model": str(tmp_path / "m"), "data": str(data)}
    with pytest.raises(UserError, match=r"texts\.jsonl, row 5 has the token '<new>'"):
        go(**options, out=str(tmp_path / "refused"))
    assert not (tmp_path / "refused").exists()
    go(model=options["model"], out=str(tmp_path / "without"))  # data that do not use it
    run = go(**options, resize_embeddings=True)
    assert weights(run)["model.embed_tokens.weight"].shape[0] == len(tokenizer)
    assert load_policy(run / "model").tokenizer.convert_tokens_to_ids("<new>") == len(tokenizer) - 1
    with pytest.raises(UserError, match="resize_embeddings and lora_rank cannot go together"):
        go(**options, resize_embeddings=True, lora_rank=2)


def test_masked_formatting_changes_the_weights(go: Callable[..., Path], finished: Callable[..., Path]) -> None:
    assert not same_bits(finished("dpo"), go("dpo", mask_formatting=True))


def chat(files: Path, template: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The options of a run on conversations with this chat template."""
    tokenizer = tiny.make_tokenizer((*tiny.WORDS, ":", "<think>", "</think>"))
    tokenizer.chat_template = template
    tiny.make_model(vocab_size=len(tokenizer)).save_pretrained(files / "chat model")
    tokenizer.save_pretrained(files / "chat model")
    return {"model": str(files / "chat model"), "data": str(tiny.write_rows(files / "chat.jsonl", rows))}


TURNS = "{% for m in messages %}{{ m['content'] }} {% if m['role'] == 'assistant' %}</s> {% endif %}{% endfor %}"


def test_what_of_an_answer_is_trained_changes_the_weights(files: Path, go: Callable[..., Path]) -> None:
    said = ("a film", "<think> the plot </think> good", "and", "very good")
    talk = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
    options = chat(files, TURNS, [{"messages": talk}] * 4)
    base = go(**options)
    assert not same_bits(base, go(**options, last_answer_only=True))
    assert not same_bits(base, go(**options, train_thoughts=False))
    options = chat(files, TURNS, [{"messages": [talk[0], talk[3]]}] * 4)
    with pytest.raises(UserError, match="no row has more than one answer to train; leave out last_answer_only"):
        go(**options, last_answer_only=True)
    with pytest.raises(UserError, match="no answer has a thought, so train_thoughts changes nothing"):
        go(**options, train_thoughts=False)


def test_a_template_with_a_clock_is_rendered_as_when_the_run_began(files: Path, go: Callable[..., Path]) -> None:
    """The clock has microseconds, so that each rendering would be another text; other runs do not note it."""
    digits = enumerate(tiny.WORDS[:6])
    words = " ".join(f"{{{{ '{word}' if strftime_now('%f')[{k}] > '4' else '' }}}}" for k, word in digits)
    talk = [{"role": "user", "content": "a film"}, {"role": "assistant", "content": "good"}]
    options = chat(files, words + " " + TURNS, [{"messages": talk}] * 8) | {"save_every": 2}
    run = go(**options)
    noted = json.loads((run / "environment.json").read_text())
    assert datetime.fromisoformat(noted["clock"]) < datetime.now()
    before = (run / WEIGHTS).read_bytes()
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints" / "step-000004")
    assert go(**options, out=str(run), resume=True) == run
    assert (run / WEIGHTS).read_bytes() == before
    assert "clock" not in json.loads((go() / "environment.json").read_text())


def test_every_knob_of_completions_changes_the_weights(
    files: Path, go: Callable[..., Path], finished: Callable[..., Path]
) -> None:
    """Five steps: the second rollout has begun, to whose price of KL the first one leads."""
    base, adaptive = finished("ppo", steps=5), finished("ppo", steps=5, kl_target=0.1)
    corrected = finished("ppo", steps=5, **CORRECTION)
    for key, value in KNOBS.items():
        value = str(files / value) if key == "critic" else value
        more = {"kl_target": 0.1} if key == "kl_horizon" else CORRECTION if key.startswith("correction_") else {}
        beside = base if not more else adaptive if key == "kl_horizon" else corrected
        run = {"kl_target": adaptive, "sampler_correction": corrected}.get(key) or go(
            "ppo", steps=5, **{key: value} | more
        )
        assert not same_bits(beside, run), key


def test_texts_beside_the_reward_change_nothing_with_a_weight_of_0(files: Path, go: Callable[..., Path]) -> None:
    """PPO to the bit, with the texts' likelihood measured; with a weight it rises, and resumes to the same bits."""
    texts = {"ptx_data": str(files / "texts.jsonl"), "steps": 9, "save_every": 4}
    plain, measured, heavy = go("ppo", steps=9), go("ppo", **texts), go("ppo", **texts, ptx_weight=5.0)
    assert same_bits(plain, measured)
    assert not same_bits(plain, heavy)
    nll = {run: [line["ptx/nll"] for line in read_jsonl(run / "metrics.jsonl")] for run in (measured, heavy)}
    assert nll[heavy][0] == nll[measured][0]
    assert nll[heavy][-1] < nll[measured][-1] - 0.5
    before = (heavy / WEIGHTS).read_bytes()
    shutil.rmtree(heavy / "model")
    shutil.rmtree(heavy / "checkpoints" / "step-000009")
    go("ppo", **texts, ptx_weight=5.0, out=str(heavy), resume=True)
    assert (heavy / WEIGHTS).read_bytes() == before


def test_keeping_samples_changes_nothing_but_samples(go: Callable[..., Path]) -> None:
    """Two rollouts, begun at steps 0 and 4, of 8 and 6 completions, of which 3, all, and none are kept."""
    runs = {keep: go("ppo", steps=5, keep_samples=keep) for keep in (3, 9, 0)}
    kept = {keep: read_jsonl(runs[keep] / "samples.jsonl") for keep in (3, 9)}
    assert [sample["step"] for sample in kept[3]] == [0] * 3 + [4] * 3
    assert [sample["step"] for sample in kept[9]] == [0] * 8 + [4] * 6
    assert kept[3] == kept[9][:3] + kept[9][8:11]
    assert sorted(sample["row"] for sample in kept[9]) == list(range(14))
    assert not (runs[0] / "samples.jsonl").exists()
    for keep in (9, 0):
        for name in (WEIGHTS, "metrics.jsonl", "critic/model.safetensors"):
            assert same_bits(runs[3], runs[keep], name)


def test_accumulation_changes_nothing_but_rounding(go: Callable[..., Path]) -> None:
    """Losses, since Adam makes a whole step of a gradient that is 0 but for rounding."""
    runs = [read_jsonl(go(accumulate=pieces, learning_rate=1e-3) / "metrics.jsonl") for pieces in (1, 3)]
    for one, other in zip(*runs, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_model_and_data_are_those_given(
    files: Path, go: Callable[..., Path], finished: Callable[..., Path], tmp_path: Path
) -> None:
    model, data = go(model=str(files / "other model")), go(data=str(files / "other.jsonl"))
    assert json.loads((model / "model/config.json").read_text())["model_type"] == "llama"
    assert not same_bits(finished(), data)
    assert (model, data) == (tmp_path / "run-1", tmp_path / "run-2")


def test_a_run_folder_serves_as_a_model(go: Callable[..., Path], finished: Callable[..., Path]) -> None:
    """A rate of next to nothing leaves the weights of the run that it started from."""
    first = finished()
    second = go(model=str(first), learning_rate=1e-12)
    for name, tensor in weights(first).items():
        torch.testing.assert_close(weights(second)[name], tensor, rtol=0, atol=1e-9)


def test_evaluation_is_written_down(files: Path, finished: Callable[..., Path]) -> None:
    held = str(files / "other.jsonl")
    for options, expected in (({}, []), ({"eval_data": held}, [4]), ({"eval_data": held, "eval_every": 2}, [2, 4])):
        metrics = read_jsonl(finished(**options) / "metrics.jsonl")
        assert [m["step"] for m in metrics if "eval_loss" in m] == expected
    run = finished(eval_data=held)
    model = AutoModelForCausalLM.from_pretrained(run / "model")
    total, count = 0.0, 0
    for row in tiny.text_rows(14, seed=1):
        ids = [tiny.BOS, *(3 + tiny.WORDS.index(word) for word in row["text"].split()), tiny.EOS]
        values = tiny.naive_logprobs(model, ids, [False] + [True] * (len(ids) - 1))
        total, count = total - sum(v.item() for v in values), count + len(ids) - 1
    assert read_jsonl(run / "metrics.jsonl")[-1]["eval_loss"] == pytest.approx(total / count, abs=1e-5)


def test_patience_ends_a_run_early(files: Path, go: Callable[..., Path]) -> None:
    options = {"eval_data": str(files / "other.jsonl"), "eval_every": 1, "learning_rate": 0.5, "steps": 12}
    patient, impatient = go(**options), go(**options, patience=1)
    assert len(read_jsonl(patient / "metrics.jsonl")) == 12
    losses = [m["eval_loss"] for m in read_jsonl(impatient / "metrics.jsonl")]
    assert len(losses) < 12
    assert losses[-1] >= min(losses[:-1])


def test_checkpoints_are_kept(go: Callable[..., Path]) -> None:
    """There is one at the end too, unless none are wanted; two are kept by default."""
    for every, keep, expected in (
        (0, 2, []),
        (2, 2, [2, 4]),
        (3, 2, [3, 4]),
        (1, 2, [3, 4]),
        (1, 3, [2, 3, 4]),
        (3, 1, [4]),
    ):
        names = [path.name for path in go(save_every=every, keep_checkpoints=keep).glob("checkpoints/step-*")]
        assert sorted(names) == [f"step-{step:06d}" for step in expected]


STABLE = {"schedule": "warmup_stable_decay", "warmup": 1}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"optimizer": "adafactor", "neftune": 5.0}, {"neftune": None}),
        ({"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1}, {"momentum": 0.5}),
        ({"optimizer": "sgd", "learning_rate": 0.1} | STABLE | {"decay": 0.5}, {"decay": 0.25}),
        (STABLE | {"decay": 3, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}, {"decay_type": None}),
        ({"optimizer": "adamw_8bit", "adam_beta1": 0.8}, {"adam_beta1": 0.5}),
    ],
)
def test_every_optimizer_and_schedule_resumes_to_the_same_bits(
    options: dict[str, Any], changed: dict[str, Any], files: Path, go: Callable[..., Path]
) -> None:
    """From step 3, in the middle of what the row of step 4 is a mean over."""
    if options.get("optimizer") == "adamw_8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install 'burnish[quantized]'")
    common = {"eval_data": str(files / "other.jsonl"), "save_every": 3, "log_every": 2, "steps": 5}
    run = go(**common | options)
    before = {name: (run / name).read_bytes() for name in (WEIGHTS, "metrics.jsonl")}
    assert [row["step"] for row in read_jsonl(run / "metrics.jsonl")] == [2, 4, 5]
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints" / "step-000005")
    assert [path.name for path in run.glob("checkpoints/step-*")] == ["step-000003"]
    assert go(**common | options, out=str(run), resume=True) == run
    assert {name: (run / name).read_bytes() for name in before} == before
    assert not same_bits(run, go(**common | options | changed))


def test_the_best_weights_are_the_model(
    files: Path, go: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """At too high a constant rate they are those of a shorter run, and of one that was killed on the way. The card has
    the numbers of that step."""
    options = {"eval_data": str(files / "other.jsonl"), "eval_every": 1, "learning_rate": 0.5, "schedule": "constant"}
    best = go(**options, steps=5, save_best=True, save_every=1)
    losses = [m["eval_loss"] for m in read_jsonl(best / "metrics.jsonl")]
    step = losses.index(min(losses)) + 1
    assert (len(losses), step < 5) == (5, True)
    assert f"the model has the weights of step {step}, with the lowest eval_loss, {min(losses):.4g}" in (
        capfd.readouterr().err
    )
    assert same_bits(best, go(**options, steps=step))
    assert f"| eval_loss | {min(losses):.4g}" in (best / "model" / "README.md").read_text()
    shutil.copytree(best, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "model")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step-000005")
    again = go(**options, steps=5, save_best=True, save_every=1, out=str(tmp_path / "again"), resume=True)
    assert same_bits(best, again)
    assert same_bits(best, again, "metrics.jsonl")
    with pytest.raises(UserError, match="save_best compares evaluations: set eval_every too"):
        go(save_best=True)


def test_a_finished_run_that_is_damaged_is_written_again(
    go: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """Its files cut, changed or gone, and the whole folder; without a checkpoint it is refused."""
    run, bare = go(), go(save_every=0)
    whole = {path: path.read_bytes() for path in (run / "model").iterdir()}
    weights = run / WEIGHTS
    damages: list[tuple[Callable[[], Any], str]] = [
        (lambda: weights.write_bytes(whole[weights][:-9] + b"flipped!!"), "model.safetensors is damaged: its checksum"),
        (lambda: weights.write_bytes(whole[weights][:99]), "model.safetensors is damaged: its checksum"),
        (lambda: (run / "model" / "config.json").write_text("{}"), "config.json is damaged: its checksum"),
        (lambda: (run / "model" / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda: shutil.rmtree(run / "model"), ""),
    ]
    for damage, said in damages:
        damage()
        capfd.readouterr()
        assert go(out=str(run), resume=True) == run
        err = capfd.readouterr().err
        assert f"{said}" in err
        assert ("the model is written again from the last checkpoint" in err) == bool(said)
        assert {path: path.read_bytes() for path in (run / "model").iterdir()} == whole
    go(out=str(run), resume=True)
    assert "is complete: nothing to resume" in capfd.readouterr().err
    (bare / WEIGHTS).unlink()
    with pytest.raises(
        UserError, match=r"model.safetensors is missing, and there is no checkpoint to write it again fr"
    ):
        go(out=str(bare), save_every=0, resume=True)


def test_a_warm_up_that_never_ends_is_refused(go: Callable[..., Path]) -> None:
    assert go(warmup=3)
    with pytest.raises(UserError, match="a warmup of 4 steps never ends in a run of 4"):
        go(warmup=4)


def test_evaluation_data_are_described_too(
    files: Path, go: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    go(eval_data=str(files / "other.jsonl"))
    assert "other.jsonl (text): 14 of 14 rows used" in capfd.readouterr().err


def test_resume_goes_on(go: Callable[..., Path], tmp_path: Path) -> None:
    whole = go(save_every=1)
    with pytest.raises(UserError, match="--resume"):
        go(out=str(whole))
    shutil.rmtree(whole / "model")
    shutil.copytree(whole, tmp_path / "again")
    assert same_bits(go(out=str(tmp_path / "again"), save_every=1, resume=True), go(save_every=1))


def test_an_error_of_the_disk_is_a_sentence_and_the_run_resumes_to_the_same_bits(
    go: Callable[..., Path], tmp_path: Path
) -> None:
    """When the first checkpoint is synced and when the model is renamed; bench/disk_faults.py tries every operation."""
    out = tmp_path / "run"
    with failing(out, 0) as done:
        whole = go(out=str(out), save_every=2).rename(tmp_path / "whole")
    checkpoint = next(i for i, call in enumerate(done) if call.startswith(f"fsync {out}/checkpoints"))
    for before in (checkpoint, done.index(f"rename {out}/.burnish-new-model")):
        with (
            pytest.raises(UserError, match=r"run/.* cannot be written \(No space left on device\): "),
            failing(out, before + 1, errno.ENOSPC),
        ):
            go(out=str(out), save_every=2)
        assert same_bits(go(out=str(out), save_every=2, resume=True), whole)
        assert (out / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
        shutil.rmtree(out)


@pytest.mark.parametrize("method", ["sft", "dpo", "ppo"])
def test_a_mixture_resumes_to_the_same_bits(method: str, files: Path, go: Callable[..., Path], tmp_path: Path) -> None:
    """Killed after any checkpoint, among them one in the middle of an epoch of the mixture."""
    name = DATA[load(method).data]
    more: list[dict] = {"texts": tiny.text_rows, "pairs": tiny.pair_rows, "prompts": tiny.prompt_rows}[name](9, 7)
    tiny.write_rows(tmp_path / "more.jsonl", more)
    data = f"{files / name}.jsonl:0.6,{tmp_path / 'more.jsonl'}:0.4"
    whole = go(method, data=data, steps=8, save_every=1)
    for keep in [int(path.name[5:]) for path in sorted((whole / "checkpoints").glob("step-*"))]:
        again = tmp_path / f"{method}-{keep}"
        shutil.copytree(whole, again)
        shutil.rmtree(again / "model")
        shutil.rmtree(again / "critic", ignore_errors=True)
        for path in (again / "checkpoints").glob("step-*"):
            if int(path.name[5:]) > keep:
                shutil.rmtree(path)
        go(method, data=data, steps=8, save_every=1, out=str(again), resume=True)
        assert same_bits(whole, again)
        assert same_bits(whole, again, "metrics.jsonl")
    with pytest.raises(UserError, match="was begun with another config, data"):
        go(method, data=data.replace("0.4", "0.3"), steps=8, save_every=1, out=str(whole), resume=True)


@pytest.mark.parametrize("method", ["sft", "kto", "reward", "dpo"])
def test_rows_of_one_length_stand_in_one_batch(
    method: str, files: Path, go: Callable[..., Path], tmp_path: Path
) -> None:
    """The run goes on from a checkpoint in the middle of its second epoch to the same bits."""
    options: dict[str, Any] = {"group_by_length": True, "batch_size": 4, "steps": 7, "save_every": 3}
    whole = go(method, **options)
    assert not same_bits(whole, go(method, **(options | {"group_by_length": False})))
    again = tmp_path / "again"
    shutil.copytree(whole, again)
    shutil.rmtree(again / "model")
    shutil.rmtree(again / "checkpoints" / "step-000007")
    go(method, **options, out=str(again), resume=True)
    for one in (WEIGHTS, "metrics.jsonl"):
        assert same_bits(whole, again, one)


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a run that streams its data in blocks of 6 rows."""
    monkeypatch.setattr(rows_module, "CHUNK", 6)
    return {"streaming": True, "shuffle_buffer": 6, "save_every": 1}


@pytest.mark.parametrize("method", ["sft", "dpo", "reward", "kto"])
def test_streamed_data_resume_to_the_same_bits(
    method: str, streaming: dict, files: Path, go: Callable[..., Path], tmp_path: Path
) -> None:
    """Over the ends of blocks and of the data, alone and in a mixture."""
    name = DATA[load(method).data]
    if method == "sft":
        streaming["data"] = f"{files}/{name}.jsonl:3,{files}/other.jsonl:1"
    whole = go(method, **streaming, steps=6)
    for path in sorted((whole / "checkpoints").glob("step-*"))[:-1]:
        again = tmp_path / f"{method}-{path.name}"
        shutil.copytree(whole, again)
        shutil.rmtree(again / "model")
        for other in (again / "checkpoints").glob("step-*"):
            if other.name > path.name:
                shutil.rmtree(other)
        go(method, **streaming, steps=6, out=str(again), resume=True)
        for one in (WEIGHTS, "metrics.jsonl", "model/README.md"):
            assert same_bits(whole, again, one)
    assert "epoch" not in read_jsonl(whole / "metrics.jsonl")[0]
    if method == "sft":
        config = yaml.safe_load((whole / "config.yaml").read_text())
        assert same_bits(whole, run_training(*build(load(method), config | {"out": str(tmp_path / "third")})))
        assert not same_bits(whole, go(method, **streaming, steps=6, seed=1))


def test_streamed_rows_in_order_are_those_of_the_file(files: Path, go: Callable[..., Path], tmp_path: Path) -> None:
    """The first step on the first four rows is that of a file with these four rows alone."""
    texts = tiny.text_rows(14)
    tiny.write_rows(tmp_path / "first.jsonl", texts[:4])
    streaming = {"data": str(files / "texts.jsonl"), "streaming": True, "steps": 1}
    first = read_jsonl(go(data=str(tmp_path / "first.jsonl"), steps=1) / "metrics.jsonl")[0]["loss"]
    assert read_jsonl(go(**streaming, shuffle_buffer=1) / "metrics.jsonl")[0]["loss"] == pytest.approx(first)
    shuffled = read_jsonl(go(**streaming, shuffle_buffer=14) / "metrics.jsonl")[0]["loss"]
    assert shuffled != pytest.approx(first)
    assert read_jsonl(go(**streaming) / "metrics.jsonl")[0]["loss"] == shuffled


def test_the_reference_of_streamed_comparisons_is_the_policy_as_it_was(files: Path, go: Callable[..., Path]) -> None:
    """In one block the batch of all rows is the same as in memory: only the reference is computed in another way."""
    rows = {"batch_size": 14, "steps": 3, "save_every": 0}
    for lora in ({}, {"lora_rank": 2}):
        there = [read_jsonl(go("dpo", **rows, **lora, **more) / "metrics.jsonl") for more in ({}, {"streaming": True})]
        assert there[0][0]["loss"] == pytest.approx(0.6931472, abs=1e-5)
        for one, other in zip(*there, strict=True):
            assert other["loss"] == pytest.approx(one["loss"], abs=1e-5)
            assert other["rewards/margins"] == pytest.approx(one["rewards/margins"], abs=1e-5)


def test_a_bad_row_in_a_stream_ends_the_run_which_goes_on_when_it_is_mended(
    streaming: dict, files: Path, go: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The fourth batch of 4 rows reaches the third block of 6."""
    data, run = tmp_path / "data.jsonl", tmp_path / "run"
    lines = [*(files / "texts.jsonl").read_text().splitlines(keepends=True), '{"text": "good"}\n', '{"text": "dull"}\n']
    options = streaming | {"data": str(data), "out": str(run)}
    data.write_text("".join([*lines[:13], '{"text": ""}\n', *lines[14:]]))
    with pytest.raises(UserError, match=r"step 4: \S*data\.jsonl, row 13.*Step 3 is saved: continue with --resume$"):
        go(**options | {"save_every": 0})
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000003"]
    data.write_text("".join(lines))
    go(**options, resume=True)
    assert "resumed in a different environment, so not to the same bits: data_files_sha256" in capfd.readouterr().err
    data.write_text("".join(reversed(lines)))
    shutil.rmtree(run / "model")
    with pytest.raises(UserError, match="data_sha256"):
        go(**options, resume=True)


def test_streamed_data_are_counted_and_described(
    streaming: dict, files: Path, go: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """5 batches of 4 rows: 14 rows, and the first block of the next pass."""
    run = go(**streaming, steps=5, eval_data=str(files / "other.jsonl"))
    err = capfd.readouterr().err
    assert "texts.jsonl (text): 6 of 6 rows used" in err
    assert "among the first 6 rows; streamed" in err
    assert "other.jsonl (text): 14 of 14 rows used" in err
    assert re.search(r"read up to here: \S*texts.jsonl \(text\): 20 of 20 rows used", err)
    assert "20 rows" in (run / "model/README.md").read_text()


def test_python_trains_on_an_iterable_data_set(files: Path, tmp_path: Path, finished: Callable[..., Path]) -> None:
    rows = IterableDataset.from_generator(tiny.text_rows, gen_kwargs={"count": 14})
    options = {"model": files / "model", "steps": 4, "batch_size": 4, "learning_rate": 0.01, "threads": 1}
    run = burnish.train(burnish.SFT(), data=rows, streaming=True, out=tmp_path / "run", max_length=40, **options)
    assert same_bits(run, finished(streaming=True))
    with pytest.raises(UserError, match="set streaming=True and steps"):
        burnish.train(burnish.SFT(), data=rows, out=tmp_path / "other", max_length=40, **options)
    with pytest.raises(UserError, match="data in memory need no streaming"):
        burnish.train(burnish.SFT(), data=tiny.text_rows(3), streaming=True, out=tmp_path / "third", **options)


def test_the_rows_of_streamed_files_are_counted_for_an_epoch(
    files: Path, go: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """14 and 6 rows: parts without weights end together, 14 of the one and 6 of the other in 5 steps of 4 rows."""
    short = tmp_path / "short.jsonl"
    tiny.write_rows(short, tiny.text_rows(6, seed=5))
    run = go(data=f"{files}/texts.jsonl,{short}", streaming=True, steps=None, epochs=1)
    lines = read_jsonl(run / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [0.2, 0.4, 0.6, 0.8, 1.0]
    err = capfd.readouterr().err
    assert re.search(r"read up to here: \S*texts.jsonl \(text\): 14 of 14 rows used", err)
    assert re.search(r"read up to here: \S*short.jsonl \(text\): 6 of 6 rows used", err)
    assert (lines[-1]["rows_read"], lines[-1]["rows_dropped"]) == (20, 0)


def test_data_on_the_hub_need_steps_and_weights(files: Path, tmp_path: Path) -> None:
    rows = IterableDataset.from_generator(tiny.text_rows, gen_kwargs={"count": 14})
    with pytest.raises(UserError, match="how many rows it has is known only when all were read; give steps"):
        burnish.train(burnish.SFT(), data=rows, streaming=True, model=files / "model", out=tmp_path / "run", quiet=True)


def test_large_files_are_streamed_by_themselves(
    go: Callable[..., Path],
    finished: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Unless the run was begun otherwise, something needs all rows, or the settings say no."""
    small = go()
    asked = finished(streaming=True)
    monkeypatch.setattr(rows_module, "LARGE", 10)
    capfd.readouterr()
    large = go()
    assert (
        "texts.jsonl has more than 0 MiB and is streamed, shuffled within 1,000 rows; --no-stream"
        in capfd.readouterr().err
    )
    assert same_bits(asked, large)
    assert not same_bits(small, large)
    assert yaml.safe_load((large / "config.yaml").read_text())["streaming"] is True
    assert same_bits(small, go(streaming=False))
    assert yaml.safe_load((go(holdout=0.3) / "config.yaml").read_text())["streaming"] is False
    shutil.rmtree(small / "model")
    go(out=str(small), resume=True)
    monkeypatch.undo()
    shutil.rmtree(large / "model")
    go(out=str(large), resume=True)
    assert same_bits(asked, large)


def test_concatenated_parts_train_as_one_file_would(files: Path, go: Callable[..., Path], tmp_path: Path) -> None:
    one, other = files / "texts.jsonl", files / "other.jsonl"
    (tmp_path / "both.jsonl").write_text(one.read_text() + other.read_text())
    assert same_bits(go(data=f"{one},{other}"), go(data=str(tmp_path / "both.jsonl")))


def test_resuming_with_another_option_is_refused(go: Callable[..., Path]) -> None:
    run = go()
    with pytest.raises(UserError, match=r"learning_rate \(was 0.01, now 0.5\)"):
        go(out=str(run), resume=True, learning_rate=0.5)


def test_resuming_on_other_rows_is_refused(files: Path, go: Callable[..., Path], tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    shutil.copy(files / "texts.jsonl", data)
    run = go(data=str(data))
    shutil.rmtree(run / "model")
    shutil.copy(files / "other.jsonl", data)
    with pytest.raises(UserError, match="data_sha256"):
        go(data=str(data), out=str(run), resume=True)


def test_a_device_that_is_not_there_is_refused(go: Callable[..., Path]) -> None:
    assert json.loads((go(device="cpu") / "environment.json").read_text())["device"] == "cpu"
    for device in ("cuda:99", "abacus"):
        with pytest.raises(UserError, match=f"--device {device}"):
            go(device=device)


def test_threads_are_set_and_noted(go: Callable[..., Path]) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            run = go(threads=threads, steps=1)
            assert torch.get_num_threads() == threads
            assert json.loads((run / "environment.json").read_text())["threads"] == threads
    finally:
        torch.set_num_threads(before)


def test_a_tracker_gets_what_is_written(
    go: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the run is the same to the bit; one that is not installed is refused before anything is written."""
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    fake_wandb.installed(tmp_path / "library", monkeypatch)
    plain, tracked = go("rejection", steps=2), go("rejection", steps=2, track="wandb")
    for name in ("metrics.jsonl", "samples.jsonl", WEIGHTS):
        assert same_bits(plain, tracked, name)
    sent = read_jsonl(tracked / "sent.jsonl")
    losses = [line["loss"] for line in read_jsonl(plain / "metrics.jsonl")]
    assert [line["loss"] for line in sent if "loss" in line] == losses
    tables = [row for line in sent if "samples" in line for row in line["samples"]["data"]]
    assert len(tables) == len(read_jsonl(plain / "samples.jsonl"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'burnish\[wandb\]'"):
        go(track="wandb", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_quiet_says_nothing(go: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    go("dpo")
    assert "rows used" in capfd.readouterr().err
    go("dpo", quiet=True)
    assert capfd.readouterr() == ("", "")


def test_quiet_in_python_and_in_files_drops_warnings_too(files: Path, go: Callable[..., Path], tmp_path: Path) -> None:
    """A model with a weight that its class does not have."""
    model = tiny.save_model(tmp_path / "model", "gpt2")
    save_file(load_file(model / "model.safetensors") | {"more": torch.zeros(2)}, model / "model.safetensors")
    with pytest.warns(BurnishWarning, match="more, are not read"):
        go(model=str(model))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go(model=str(model), quiet=True)
        burnish.sample(model, tiny.prompt_rows(2), max_new_tokens=2, max_length=40, quiet=True)
    assert caught == []
    with pytest.warns(BurnishWarning, match="more, are not read"):
        burnish.sample(model, tiny.prompt_rows(2), max_new_tokens=2, max_length=40)


@pytest.mark.parametrize("method", LANGUAGE)
def test_a_resolved_configuration_runs_again_to_the_same_bits(
    method: str, finished: Callable[..., Path], tmp_path: Path
) -> None:
    options = {key: value for key, value in OWN.get(method, {}).items() if key not in APART}
    run = finished(method, **(options | NEEDS.get(method, {})))
    options = yaml.safe_load((run / "config.yaml").read_text())
    assert as_dict(*build(load(method), options)) == options
    if method in KINDS:  # of the others only the formula is another one, which has no state
        again = run_training(*build(load(method), options | {"out": str(tmp_path / "again")}))
        assert same_bits(run, again)
        assert same_bits(run, again, "metrics.jsonl")


def test_the_model_is_plain_transformers(finished: Callable[..., Path]) -> None:
    run = finished()
    model, tokenizer = (auto.from_pretrained(run / "model") for auto in (AutoModelForCausalLM, AutoTokenizer))
    assert tokenizer("good film")["input_ids"] == [tiny.BOS, 3, 5]
    with torch.no_grad():
        logits = model(torch.tensor([[0, 3, 5]])).logits
    assert torch.isfinite(logits).all()
    again = AutoModelForCausalLM.from_pretrained(run / "model")
    assert torch.equal(again(torch.tensor([[0, 3, 5]])).logits, logits)
    assert not torch.equal(again.transformer.wte.weight, tiny.make_model("gpt2").transformer.wte.weight)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_python_trains_on_rows_in_memory(
    files: Path, tmp_path: Path, as_dataset: bool, finished: Callable[..., Path]
) -> None:
    rows: Any = tiny.pair_rows(14)
    rows = Dataset.from_list(rows) if as_dataset else rows
    options = {"model": files / "model", "steps": 4, "batch_size": 4, "learning_rate": 0.01, "threads": 1}
    run = burnish.train(
        burnish.DPO(beta=0.1), data=rows, eval_data=rows, out=tmp_path / "run", max_length=40, **options
    )
    assert run == tmp_path / "run"
    assert same_bits(run, finished("dpo", beta=0.1))
    metrics = read_jsonl(run / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(0.6931472, abs=1e-5)
    assert "eval_rewards/accuracies" in metrics[-1]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["algorithm"], config["beta"], config["data"]) == ("dpo", 0.1, "(in memory)")


def shortness(prompts: list[str], responses: list[str], number: list[int]) -> list[float]:
    """A reward: minus the number of words, and a hundredth of the prompt's own number."""
    return [n / 100 - len(response.split()) for response, n in zip(responses, number, strict=True)]


def test_python_takes_a_function_as_reward(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, or as `module:function`, or by a resolved configuration, which names it: the same run."""
    (tmp_path / "my_rewards.py").write_text(
        "def shortness(prompts, responses, number):\n"
        "    return [n / 100 - len(response.split()) for response, n in zip(responses, number)]\n"
    )
    monkeypatch.chdir(tmp_path)
    common = {"batch_size": 4, "rollout": 8, "max_new_tokens": 4, "learning_rate": 0.01, "threads": 1, "quiet": True}
    common |= {"model": files / "model", "max_length": 40}
    options: dict[str, Any] = {"data": tiny.prompt_rows(14), **common}
    run = train(PPO(update_epochs=1), reward=shortness, out=tmp_path / "run", **options)
    named = train(PPO(update_epochs=1), reward="my_rewards:shortness", out=tmp_path / "named", **options)
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["reward"] == f"{shortness.__module__}:shortness"
    again = written | {"data": str(files / "prompts.jsonl"), "out": str(tmp_path / "again")}
    for other in (named, run_training(*build(PPO, again | {"reward": "my_rewards:shortness"}))):
        for name in (WEIGHTS, "metrics.jsonl", "samples.jsonl"):
            assert same_bits(run, other, name)
    samples = read_jsonl(run / "samples.jsonl")
    assert [s["score"] for s in samples] == [s["row"] / 100 - len(s["response"].split()) for s in samples]
    assert len(samples) == 14


def disturbing(prompts: list[str], responses: list[str], number: list[int]) -> list[float]:
    """`shortness` that leaves the process in another state."""
    os.chdir("/")
    os.environ.clear()
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    torch.set_grad_enabled(False)
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(False)
    torch.set_autocast_enabled("cpu", True)
    torch.backends.cuda.enable_flash_sdp(False)
    return shortness(prompts, responses, number)


def test_a_reward_that_disturbs_the_process_changes_no_bit(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout and a relative run folder."""
    tiny.save_model(tmp_path / "dropout", "gpt2", resid_pdrop=0.2)
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    options: dict[str, Any] = {"batch_size": 4, "rollout": 4, "max_new_tokens": 4, "learning_rate": 0.01, "threads": 1}
    options |= {"model": tmp_path / "dropout", "data": tiny.prompt_rows(14), "steps": 6, "save_every": 2}
    try:
        runs = [burnish.train(PPO(), reward=r, out=r.__name__, **options) for r in (shortness, disturbing)]
    finally:
        os.environ.update(environment)
    assert same_bits(*runs)
    assert same_bits(*runs, "metrics.jsonl")


def test_a_reward_without_a_name_is_a_reward_too(files: Path, tmp_path: Path) -> None:
    reward = functools.partial(shortness, number=[0] * 4)
    options = {"batch_size": 4, "rollout": 4, "max_new_tokens": 4, "steps": 1, "quiet": True, "threads": 1}
    rows = [{"prompt": row["prompt"]} for row in tiny.prompt_rows(4)]
    run = train(PPO(), model=files / "model", data=rows, reward=reward, out=tmp_path / "run", **options)
    assert yaml.safe_load((run / "config.yaml").read_text())["reward"] == "(in memory) partial"


def test_a_reward_model_is_plain_transformers_and_serves_as_a_reward(
    go: Callable[..., Path], finished: Callable[..., Path]
) -> None:
    """Chosen responses score 0 on average, by transformers' own forward; and PPO's scores are those of its texts."""
    trained = finished("reward")
    model = AutoModelForSequenceClassification.from_pretrained(trained / "model")
    tokenizer = AutoTokenizer.from_pretrained(trained / "model")
    model.config.pad_token_id = None

    def score(text: str, *more: int) -> float:
        with torch.no_grad():
            ids = [*tokenizer(text)["input_ids"], *more]
            return naive_score(model, ids).item() - model.config.score_offset

    scores = [score(f"{row['prompt']} {row['chosen']}", tiny.EOS) for row in tiny.pair_rows(14)]
    assert sum(scores) / 14 == pytest.approx(0.0, abs=1e-5)
    assert max(map(abs, scores)) > 0.1
    samples = read_jsonl(go("ppo", reward=str(trained), keep_samples=14) / "samples.jsonl")
    plain = [sample for sample in samples if len(sample["response"].split()) == 5]  # five ids, none of which is special
    assert plain
    for sample in plain:
        expected = score(f"{sample['prompt']} {sample['response']}")
        assert sample["score"] == pytest.approx(expected, abs=1e-5)


def test_ppo_leaves_a_critic_beside_the_model(files: Path, go: Callable[..., Path]) -> None:
    """Which has learned, and in which the next run may begin."""
    run = go("ppo", critic=str(files / "scorer"))
    before, after = (load_file(path / "model.safetensors") for path in (files / "scorer", run / "critic"))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert go("ppo", critic=str(run / "critic"))


def test_ppo_evaluates_on_held_prompts(files: Path, go: Callable[..., Path]) -> None:
    """Its loss is minus the objective, and it leaves the run as it is: weights, samples and its own numbers."""
    options = {"eval_data": str(files / "held.jsonl"), "eval_every": 2, "missing_eos_penalty": 1.0, "kl_target": 0.5}
    tiny.write_rows(files / "held.jsonl", tiny.prompt_rows(5, seed=1))
    run, plain = go("ppo", **options), go("ppo", missing_eos_penalty=1.0, kl_target=0.5)
    metrics = read_jsonl(run / "metrics.jsonl")
    assert [m["step"] for m in metrics if "eval_loss" in m] == [2, 4]
    first, second = (m for m in metrics if "eval_loss" in m)
    for m in (first, second):
        assert m["eval_loss"] == -m["eval_objective/rlhf_reward"]
        assert m["eval_objective/kl_coef"] == Completions.beta
    assert first["eval_objective/kl"] != second["eval_objective/kl"]
    ours = [{key: value for key, value in m.items() if not key.startswith("eval_")} for m in metrics]
    assert ours == read_jsonl(plain / "metrics.jsonl")
    for name in (WEIGHTS, "samples.jsonl"):
        assert same_bits(run, plain, name)


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        (burnish.DPO(), {"betta": 1}, "unknown key 'betta' for dpo: did you mean 'beta'"),
        (burnish.DPO(), {"beta": 0.5}, r"beta belongs to the algorithm: set it there, as DPO\(…\)"),
        (PPO(), {}, "ppo needs a reward"),
        (PPO(), {"clip": 0.1, "reward": "gold"}, r"clip belongs to the algorithm: set it there, as PPO\(…\)"),
        (PPO(), {"reward": print, "betta": 0.1}, "unknown key 'betta' for ppo: did you mean 'beta'"),
        (burnish.SFT(), {"steps": "three"}, "steps must be a whole number"),
        (burnish.SFT(), {"out": None}, "give --out"),
        (burnish.SFT(), {"data": []}, "has no rows"),
        (burnish.SFT(), {"data": tiny.pair_rows(2)}, "burnish dpo"),
        (burnish.DPO(), {"data": tiny.text_rows(2)}, "burnish sft"),
    ],
)
def test_python_refuses_what_makes_no_sense(
    algorithm: Any, options: dict, message: str, files: Path, tmp_path: Path
) -> None:
    common = {"model": str(files / "model"), "data": tiny.text_rows(3), "out": str(tmp_path / "run")}
    with pytest.raises(UserError, match=message):
        train(algorithm, **common | options)


def test_python_checks_the_algorithm_itself(files: Path, tmp_path: Path) -> None:
    algorithm = burnish.SFT()
    object.__setattr__(algorithm, "over", "words")  # what no type checker stopped
    with pytest.raises(UserError, match="over must be one of token, sequence"):
        train(algorithm, model=str(files / "model"), data=tiny.text_rows(3), out=str(tmp_path / "run"))


def test_rows_longer_than_the_models_context_are_cut(
    files: Path, go: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """GPT-2's tiny kin has 48 positions; the default limit of 512 would ask it for more."""
    data = tiny.write_rows(files / "long.jsonl", [{"text": "good film " * 40}] * 4)
    run = go(data=str(data), max_length=500)
    assert "48 tokens" in capfd.readouterr().err
    assert read_jsonl(run / "metrics.jsonl")[0]["num_tokens"] == 4 * 48


def test_a_second_run_on_the_same_rows_computes_no_reference(
    go: Callable[..., Path], cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever its batches, seed, learning rate and method; another length of the rows is a miss."""

    def tables() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in (cache / "reference").iterdir()}

    go("dpo", epochs=1)
    first = tables()
    assert len(first) == 1
    assert "reference 1/1" in capfd.readouterr().err
    other = {"batch_size": 3, "seed": 5, "learning_rate": 1e-3, "accumulate": 2, "schedule": "cosine"}
    go("dpo", epochs=2, **other)
    go("ipo", epochs=1)
    assert "reference" not in capfd.readouterr().err
    assert tables() == first
    go("dpo", epochs=1, max_length=6)
    assert len(tables()) == 2


def test_a_reference_cached_for_the_same_ids_in_other_rows_is_no_hit(
    files: Path, tmp_path: Path, go: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without BOS a row of nothing but EOS cannot be trained on and is dropped: the rows behind it have other numbers,
    and the same ids."""
    folder = tmp_path / "no bos"
    tiny.make_model("gpt2").save_pretrained(folder)
    tokenizer = tiny.make_tokenizer()
    tokenizer.bos_token = None
    tokenizer.save_pretrained(folder)
    rows = [row | {"prompt": "the film"} for row in tiny.pair_rows(5)]
    empty = {"prompt": "", "chosen": " ", "rejected": " "}
    shifted = tiny.write_rows(files / "shifted.jsonl", [empty, *rows])
    plain = tiny.write_rows(files / "plain.jsonl", rows)
    go("dpo", model=str(folder), data=str(shifted))
    after = go("dpo", model=str(folder), data=str(plain))
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "fresh"))
    assert same_bits(after, go("dpo", model=str(folder), data=str(plain)), "metrics.jsonl")


def test_a_loss_that_is_not_finite_names_step_and_rows(files: Path, go: Callable[..., Path], tmp_path: Path) -> None:
    model = tiny.make_model("untied_llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[3 + tiny.WORDS.index("dull")] = float("nan")
    model.save_pretrained(tmp_path / "broken")
    tiny.make_tokenizer().save_pretrained(tmp_path / "broken")
    rows = [{"text": "good film"}] * 6 + [{"text": "a dull plot"}] + [{"text": "bad film"}]
    data = tiny.write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"^step \d: the loss is nan on row\(s\) 6 of .*rows\.jsonl; "):
        go(model=str(tmp_path / "broken"), data=str(data))


# Adapters ----------------------------------------------------------------------------------------------------------

ADAPTER = "model/adapter_model.safetensors"


@pytest.fixture
def lora(files: Path, go: Callable[..., Path]) -> Callable[..., Path]:
    """`go` with adapters of rank 2, whatever the method and its data."""

    def run(method: str = "sft", **options: Any) -> Path:
        common: dict[str, Any] = {
            "lora_rank": 2,
            "data": str(files / f"{DATA[load(method).data]}.jsonl"),
        }
        if load(method).experience:
            common |= {"reward": "lexicon", "rollout": 8, "max_new_tokens": 5, "model": str(files / "other model")}
        return go(method, **NEEDS.get(method, {}) | common | options)

    return run


def adapter_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / ADAPTER)


@pytest.mark.parametrize("method", KINDS)
def test_every_kind_of_method_trains_adapters(method: str, files: Path, lora: Callable[..., Path]) -> None:
    """And the head of a reward model or critic; checkpoints hold no more, and the base stays as it is."""
    bases = {path: path.read_bytes() for path in files.rglob("model.safetensors")}
    run = lora(method, save_every=4)
    folders = [run / "model", *([run / "critic"] if (run / "critic").exists() else [])]
    assert len(folders) == (2 if method == "ppo" else 1)
    for folder in folders:
        assert not (folder / "model.safetensors").exists()
        moved = load_file(folder / "adapter_model.safetensors")
        assert all(("score" in name) or ("lora_A" in name) or ("lora_B" in name) for name in moved)
        assert any("score" in name for name in moved) == (folder.name == "critic" or method == "reward")
        assert all(tensor.abs().max() > 0 for name, tensor in moved.items() if "lora_B" in name)  # B began as 0
    kept = load_file(run / "checkpoints/step-000004/tensors.safetensors")
    names = [name for name in kept if not name.startswith("optimizer/")]
    assert names
    assert all(".lora_" in name or "score.modules_to_save" in name for name in names)
    assert {name.split("/")[1] for name in kept if name.startswith("optimizer/")} == {str(i) for i in range(len(names))}
    assert {path: path.read_bytes() for path in bases} == bases


def test_every_option_of_lora_changes_the_weights(lora: Callable[..., Path]) -> None:
    base = lora()
    assert same_bits(base, lora(), ADAPTER)
    for key, value in {"lora_rank": 3, "lora_alpha": 7, "lora_dropout": 0.5, "lora_targets": "c_attn"}.items():
        assert not same_bits(base, lora(**{key: value}), ADAPTER), key
    assert not same_bits(base, lora(seed=1), ADAPTER)


@pytest.mark.parametrize("start", ["new", "trained before"])
def test_the_reference_is_the_policy_as_it_was_adapter_included(
    start: str, lora: Callable[..., Path], go: Callable[..., Path]
) -> None:
    """DPO's first loss is log 2, PPO's first KL is 0 and its first ratio 1; and later they are not."""
    before = {} if start == "new" else {"model": str(lora("sft", steps=8, learning_rate=0.05))}
    losses = [m["loss"] for m in read_jsonl(lora("dpo", **before) / "metrics.jsonl")]
    assert losses[0] == pytest.approx(0.6931472, abs=1e-6)
    assert abs(losses[-1] - 0.6931472) > 1e-3
    metrics = read_jsonl(lora("ppo", steps=9, **before) / "metrics.jsonl")
    assert metrics[0]["objective/kl"] == pytest.approx(0.0, abs=1e-5)
    assert metrics[0]["val/ratio"] == pytest.approx(1.0, abs=1e-6)
    assert abs(metrics[-1]["objective/kl"]) > 1e-3


def test_adapters_follow_one_another_over_one_base(files: Path, lora: Callable[..., Path]) -> None:
    """A rate of next to nothing leaves the adapter that a run began with."""
    first = lora("sft")
    second = lora("dpo", model=str(first), learning_rate=1e-12)
    third = lora("dpo", model=str(second / "model"), learning_rate=1e-12)
    before, after = adapter_weights(first), adapter_weights(third)
    assert before.keys() == after.keys()
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-9)
    config = json.loads((third / "model/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(files / "model")


def test_without_lora_an_adapter_is_merged_and_all_weights_are_trained(
    lora: Callable[..., Path], go: Callable[..., Path]
) -> None:
    first = lora("sft")
    second = go("dpo", model=str(first), learning_rate=1e-12)
    third = go("dpo", model=str(first))
    merged, ids = AutoModelForCausalLM.from_pretrained(second / "model"), torch.tensor([[0, 3, 5, 7]])
    with torch.no_grad():
        expected = AutoPeftModelForCausalLM.from_pretrained(first / "model")(ids).logits
        torch.testing.assert_close(merged(ids).logits, expected, rtol=0, atol=1e-5)
    start = weights(second)
    assert any("wte" in name for name in start)
    assert all(not torch.equal(tensor, start[name]) for name, tensor in weights(third).items())


def test_a_reward_models_adapter_rewards_and_is_what_the_critic_begins_as(
    files: Path, lora: Callable[..., Path]
) -> None:
    """Of its own rank, with its offset; and the scores are those of transformers' own forward pass."""
    trained = lora("reward", lora_rank=3)
    run = lora("ppo", reward=str(trained), model=str(files / "model"), learning_rate=1e-12, keep_samples=14)
    before, after = adapter_weights(trained), load_file(run / "critic/adapter_model.safetensors")
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-9)
    offsets = [
        json.loads((run_ / "config.json").read_text())["score_offset"] for run_ in (trained / "model", run / "critic")
    ]
    assert offsets[0] == offsets[1] != 0
    model = AutoPeftModelForSequenceClassification.from_pretrained(trained / "model", num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(trained / "model")
    plain = [s for s in read_jsonl(run / "samples.jsonl") if len(s["response"].split()) == 5]
    assert plain
    for sample in plain:
        ids = tokenizer(f"{sample['prompt']} {sample['response']}")["input_ids"]
        with torch.no_grad():
            score = model(input_ids=torch.tensor([ids])).logits[0, 0].item() - offsets[0]
        assert sample["score"] == pytest.approx(score, abs=1e-5)


def test_trainable_parameters_are_counted(lora: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    """Two of rank 2 for each of GPT-2's 512 a rank (see test_adapters), of its own 18·16 + 48·16 + 2·3,280 + 32 and
    these. A block has 2·32 + 16·48 + 48 + 16·16 + 16 + 16·64 + 64 + 64·16 + 16 = 3,280."""
    lora("sft")
    assert "trainable parameters 1,024 of 8,672\n" in capfd.readouterr().err
    lora("sft", quiet=True)
    assert capfd.readouterr().err == ""


# How models are loaded ---------------------------------------------------------------------------------------------


def test_a_revision_is_noted_and_refused_for_a_folder(go: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder, and --revision applies to a name on the hub"):
        go(revision="v2", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert as_dict(*build(load("sft"), {"revision": "v2"}))["revision"] == "v2"


def test_code_that_is_trusted_is_not_recorded(go: Callable[..., Path], tmp_path: Path) -> None:
    """See tests/cli/test_own_code.py for what is run."""
    run = go(trust_remote_code=True)
    assert "trust_remote_code" not in read_mapping(run / "config.yaml")
    assert go(out=run, resume=True) == run


def test_bfloat16_weights_are_trained_saved_and_resumed(
    go: Callable[..., Path], finished: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = go("dpo", dtype="bfloat16", save_every=1, quiet=False)
    assert "the weights are trained in bfloat16" in capfd.readouterr().err
    assert {tensor.dtype for tensor in weights(whole).values()} == {torch.bfloat16}
    assert {str(t.dtype) for t in load_file(whole / "checkpoints/step-000003/tensors.safetensors").values()} >= {
        "torch.bfloat16"
    }
    first = json.loads((whole / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    shutil.copytree(whole, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "model")
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "step-000004")
    assert same_bits(whole, go("dpo", dtype="bfloat16", save_every=1, out=tmp_path / "killed", resume=True))
    assert not same_bits(whole, finished("dpo"))
    capfd.readouterr()
    go("sft", dtype="bfloat16", lora_rank=2, quiet=False)
    assert "the weights are trained in bfloat16" not in capfd.readouterr().err


def test_a_model_is_saved_in_the_dtype_that_it_had_or_that_is_asked_for(
    files: Path, go: Callable[..., Path], tmp_path: Path
) -> None:
    """Checkpoints keep float32, from which a killed run, and a damaged model, come back to the same bytes."""
    load_policy(files / "other model").save(tmp_path / "half", "bfloat16")
    how = {"steps": 8, "save_every": 4, "beta": 0.1}
    whole = go("ppo", model=str(tmp_path / "half"), **how)
    asked = go("ppo", model=str(tmp_path / "half"), **how, save_dtype="float32")
    last = "checkpoints/step-000008/tensors.safetensors"
    assert same_bits(whole, asked, last)
    master = {name: t for name, t in load_file(whole / last).items() if not name.startswith("optimizer")}
    assert {t.dtype for t in master.values()} == {torch.float32}
    for model in ("model", "critic"):
        narrow, wide = (load_file(run / model / "model.safetensors") for run in (whole, asked))
        assert {t.dtype for t in narrow.values()} == {torch.bfloat16}
        assert {t.dtype for t in wide.values()} == {torch.float32}
        for name, tensor in narrow.items():
            torch.testing.assert_close(tensor.float(), wide[name], rtol=2**-7, atol=1e-6)
    assert "is saved in bfloat16" in (whole / "model" / "README.md").read_text()
    shutil.copytree(whole, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "step-000008")
    (tmp_path / "killed" / WEIGHTS).write_bytes(b"damaged")
    again = go("ppo", model=str(tmp_path / "half"), **how, out=tmp_path / "killed", resume=True)
    assert same_bits(whole, again)
    assert same_bits(whole, again, "critic/model.safetensors")


def test_float16_weights_are_not_trained(files: Path, go: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dtype float16 is for sampling only"):
        go(dtype="float16")
    load_policy(files / "model").save(tmp_path / "half", "float16")
    for method in ("sft", "reward"):
        with pytest.raises(UserError, match="was saved in float16, which is for sampling only: set dtype bfloat16"):
            go(method, model=str(tmp_path / "half"), dtype="auto")
    assert {t.dtype for t in weights(go(model=str(tmp_path / "half"))).values()} == {torch.float16}


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_is_trained_evaluated_and_resumed(
    bits: int, files: Path, lora: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install 'burnish[quantized]'")
    how = {f"load_in_{bits}bit": True, "save_every": 1}
    whole = lora("dpo", **how)
    assert not same_bits(whole, lora("dpo"), ADAPTER)
    first = json.loads((whole / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    shutil.copytree(whole, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "model")
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "step-000004")
    assert same_bits(whole, lora("dpo", **how, out=tmp_path / "killed", resume=True), ADAPTER)
    found = evaluate_run(whole, str(files / "pairs.jsonl"), None, Settings(quiet=True, device="cpu"))
    assert math.isfinite(found["loss"])
    for method in ("reward", "ppo"):
        lora(method, **{f"load_in_{bits}bit": True})
