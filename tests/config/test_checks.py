"""Combinations of options that make no sense, and the defaults that are filled in."""

from dataclasses import dataclass
from typing import Any

import pytest

from burnish.algorithms.reinforce import Reinforce
from burnish.algorithms.sft import SFT
from burnish.config import Settings, build, checked, refuse
from burnish.config.checks import lora_problems
from burnish.experience.interface import Experience
from burnish.run import UserError
from config.built import ONLINE, built, refusal

GROUPS = ("online_dpo", "rejection")


def test_the_first_problem_that_applies_is_the_sentence() -> None:
    refuse({})
    refuse({"never": False})
    with pytest.raises(UserError, match=r"^second$"):
        refuse({"first": False, "second": True, "third": True})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3, "epochs": 1}, "steps and epochs both set the length of the run: give one of them"),
        ({"batch_size": 4, "accumulate": 5}, "accumulate must lie between 1 and batch_size"),
        ({"data": "a:1,b"}, "a:1,b: b has no weight, but other parts have one; give every part a weight, or none."),
        ({"eval_data": "a,"}, "data 'a,' has an empty part; write names separated by single commas."),
        (
            {"eval_data": ["a:1", "b:2"]},
            "a:1,b:2 has weights, but weights only apply to training data; leave them out.",
        ),
        (
            {"streaming": True, "steps": 1, "data": "builtin:1,a:1"},
            "streaming is for data of your own, and the built-in data and tasks are in memory: leave it out",
        ),
        (
            {"group_by_length": True, "streaming": True, "data": "a.jsonl"},
            "group_by_length needs the lengths of all rows, which are not known of streamed data: leave out streaming",
        ),
        ({"shuffle_buffer": 5}, "shuffle_buffer only applies to streamed data: set streaming too"),
        ({"save_best": True}, "save_best compares evaluations: set eval_every too"),
        ({"from_": "a", "model": "b"}, "from_ and model both name what to start from: leave out model"),
        ({"patience": 1}, "patience counts evaluations: set eval_every too"),
        ({"sampler": "http://a"}, "sampler only applies to methods that sample, and sft does not: leave it out"),
        ({"sampler_timeout": 5.0}, "sampler_timeout only applies to a sampler elsewhere: set sampler too"),
        ({"staleness": 1}, "staleness only applies to methods that sample, and sft does not: leave it out"),
        ({"sampler_bound": 0.1}, "sampler_bound only applies to a sampler elsewhere: set sampler too"),
        (
            {"data": "mine.jsonl", "eval_every": 3},
            "eval_every needs eval_data or holdout, unless the training data is built in",
        ),
        (
            {"data": "mine.jsonl", "holdout": 0.1, "eval_data": "b.jsonl"},
            "holdout and eval_data both say what is evaluated on: give one of them",
        ),
        (
            {"data": "mine.jsonl", "holdout": 0.1, "streaming": True, "steps": 1},
            "holdout chooses among all rows, which are not known of streamed data: give eval_data instead",
        ),
        (
            {"data": "mine.jsonl,builtin", "holdout": 0.1},
            "holdout is for data of your own, and the built-in data and tasks have a split for it: leave it out",
        ),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused(options: dict, message: str) -> None:
    assert refusal("sft", options) == message


def test_what_is_next_to_a_refused_combination_is_accepted() -> None:
    assert built("sft", {"batch_size": 5, "accumulate": 5})
    assert built("sft", {"patience": 1, "eval_every": 3})
    assert built("sft", {"data": "mine.jsonl", "eval_data": "held.jsonl", "eval_every": 3})


UNWATCHED = "watch is for policies that learn from the reward of their completions or from comparisons, and "


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dpo", {"watch": True}, "watch compares evaluations with the start: set eval_every too"),
        ("ppo", {"watch_labels": "a.jsonl"}, "watch_labels only applies to what is watched: set watch too"),
        ("ppo", {"watch_rewards": "a,b"}, "watch_rewards only applies to what is watched: set watch too"),
        (
            "ppo",
            {"watch": True, "eval_every": 2, "watch_rewards": "runs/a,"},
            "watch_rewards runs/a, is one reward model, and it takes two to disagree: give more, with commas",
        ),
        ("ppo", {"watch": True, "eval_every": 2, "watch_labels": ""}, "watch_labels is empty: give a value, or leave"),
        ("dpo", {"watch": True, "eval_every": 2, "watch_rewards": ""}, "watch_rewards is empty: give a value, or"),
        ("sft", {"watch": True, "eval_every": 2}, f"{UNWATCHED}sft as it is set here does not: leave it out"),
        ("kto", {"watch": True, "eval_every": 2}, f"{UNWATCHED}kto as it is set here does not: leave it out"),
        ("reward", {"watch": True, "eval_every": 2}, f"{UNWATCHED}reward as it is set here does not: leave it out"),
        ("distil", {"watch": True, "eval_every": 2, "reward": "lexicon"}, f"{UNWATCHED}distil as it is set here does"),
        ("ppo", {"watch": True, "eval_every": 2, "environment": "guess"}, f"{UNWATCHED}ppo as it is set here does not"),
    ],
)
def test_a_monitor_that_would_see_nothing_is_refused(name: str, options: dict, message: str) -> None:
    assert refusal(name, options).startswith(message)


@pytest.mark.parametrize("name", ["ppo", "online_dpo", "grpo", "dpo", "ipo"])
def test_what_learns_from_a_reward_or_from_comparisons_is_watched(name: str) -> None:
    more = {"watch_labels": "a.jsonl", "watch_rewards": ["runs/a", "runs/b"]}
    assert built(name, {"watch": True, "eval_every": 2} | more)[1].watch_rewards == "runs/a,runs/b"


def test_what_needs_all_rows_at_once_is_not_streamed() -> None:
    options = {"streaming": True, "steps": 3, "data": "a.jsonl", "shuffle_buffer": 5}
    assert built("dpo", options)
    assert built("kto", options)
    assert refusal("ppo", options | {"reward": "lexicon"}) == (
        "ppo samples from all its prompts, which cannot be streamed: leave out streaming"
    )
    assert refusal("ppo", {"group_by_length": True, "reward": "lexicon"}) == (
        "group_by_length needs the lengths of rows, and ppo samples its own: leave it out"
    )


@pytest.mark.parametrize("name", ["sft", "reward", "ppo"])
def test_formatting_is_masked_where_tokens_of_responses_are_compared_alone(name: str) -> None:
    """A reward model reads a whole text's score at its end, whatever the mask: the option would change nothing."""
    message = "mask_formatting only applies to methods that learn from responses labelled better or worse"
    assert refusal(name, {"mask_formatting": True}) == message
    assert built("dpo", {"mask_formatting": True})[1].mask_formatting
    assert built("kto", {"mask_formatting": True})[1].mask_formatting


@pytest.mark.parametrize(
    ("name", "key", "value", "is_refused"),
    [
        ("sft", "train_thoughts", False, False),
        ("dpo", "train_thoughts", False, False),
        ("reward", "train_thoughts", False, True),
        ("ppo", "train_thoughts", False, True),
        ("sft", "last_answer_only", True, False),
        ("reward", "last_answer_only", True, False),
        ("kto", "last_answer_only", True, False),
        ("online_dpo", "last_answer_only", True, True),
    ],
)
def test_what_of_a_response_is_trained(name: str, key: str, value: bool, is_refused: bool) -> None:
    """A method that samples has no written answers, and a reward model trains no thoughts."""
    if is_refused:
        assert refusal(name, {key: value}).startswith(
            f"{key} only applies to methods that learn from written responses"
        )
    else:
        assert getattr(built(name, {key: value})[1], key) == value


def test_a_batch_has_the_rows_that_a_method_needs() -> None:
    message = "batch_size must be at least 2 for kto: it estimates how far the policy has moved from the batch's rows"
    assert refusal("kto", {"batch_size": 1}).startswith(message)
    assert built("kto", {"batch_size": 2})
    assert built("dpo", {"batch_size": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"reward": None},
            "{name} needs a reward: a reward-model folder, 'gold', 'lexicon', a checker such as match, or "
            "module:function",
        ),
        ({"max_new_tokens": 512}, "max_new_tokens must be smaller than max_length, which counts the prompt too"),
        ({"eval_every": 2, "patience": 1}, "patience needs a loss on fixed data, but the policy's own completions cha"),
    ],
)
@pytest.mark.parametrize("name", ONLINE)
def test_what_makes_no_sense_for_sampled_completions_is_refused(name: str, options: dict, message: str) -> None:
    if name == "distil" and "reward" in options:
        return  # it learns from a teacher
    assert refusal(name, options).startswith(message.format(name=name))
    assert built(name, {"max_new_tokens": 511})


def test_a_rollout_fills_a_batch() -> None:
    """A pair, and the best of several, is one row per prompt like a completion: 15 prompts are no batch of 16."""
    message = "rollout must not be smaller than batch_size"
    assert refusal("ppo", {"rollout": 15}) == message
    assert built("ppo", {"rollout": 16})
    for name in GROUPS:
        assert refusal(name, {"rollout": 15}) == message
        assert built(name, {"rollout": 16})


@dataclass(frozen=True)
class Unmeasured(Experience):
    """An experience without an `evaluate`."""


@dataclass(frozen=True)
class Measured(Experience):
    """One with it."""

    def evaluate(self, source: Any, count: int) -> dict[str, float]:
        return {"loss": 0.0}


@pytest.mark.parametrize("options", [{"eval_data": "held.jsonl"}, {"eval_every": 2}])
def test_evaluation_needs_an_experience_that_evaluates(options: dict) -> None:
    message = "eval_data and eval_every need an experience with a method evaluate"
    with pytest.raises(UserError, match=message):
        build(Reinforce, {"experience": Unmeasured()} | options)
    assert build(Reinforce, {"experience": Unmeasured()})
    assert build(Reinforce, {"experience": Measured()} | options)


# Defaults ----------------------------------------------------------------------------------------------------------


def test_defaults_are_filled_in_from_the_method() -> None:
    rates = {"sft": 2e-5, "dpo": 1e-6, "reward": 1e-5, "ppo": 3e-6}
    assert {name: built(name, {})[1].learning_rate for name in rates} == rates
    assert (built("sft", {})[1].experience, built("dpo", {})[1].experience) == (None, None)
    assert (built("sft", {})[1].epochs, built("sft", {})[1].steps) == (1.0, None)
    assert built("sft", {"steps": 5})[1].epochs is None
    assert checked(SFT(), Settings(learning_rate=1e-3)).learning_rate == 1e-3


def test_adapters_learn_ten_times_as_fast_by_default() -> None:
    assert built("dpo", {"lora_rank": 8})[1].learning_rate == 1e-5
    assert built("sft", {"lora_rank": 8})[1].learning_rate == 2e-4
    assert built("sft", {"lora_rank": 8, "learning_rate": 3e-5})[1].learning_rate == 3e-5
    assert "it is 'lora_rank' here" in refusal("sft", {"lora_r": 8})


# Optimizer, schedule and noise -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "beside", "message"),
    [
        (
            {"adam_beta1": 0.9},
            {"optimizer": "sgd"},
            "adam_beta1 only applies to adamw and adamw_8bit: leave it out, or",
        ),
        (
            {"adam_beta2": 0.999},
            {"optimizer": "adafactor"},
            "adam_beta2 only applies to adamw and adamw_8bit: leave it",
        ),
        ({"adam_epsilon": 1e-8}, {"optimizer": "sgd"}, "adam_epsilon only applies to adamw and adamw_8bit: leave it"),
        ({"momentum": 0.0}, {}, "momentum only applies to sgd: leave it out, or set optimizer to sgd"),
        ({"momentum": 0.9}, {"optimizer": "adafactor"}, "momentum only applies to sgd: leave it out, or set optimizer"),
        ({"min_lr_ratio": 0.1}, {"schedule": "constant"}, "min_lr_ratio only applies to a schedule that falls: leave"),
        (
            {"decay": 0.1},
            {},
            "decay only applies to the schedule warmup_stable_decay: leave it out, or set schedule to",
        ),
        (
            {"decay_type": "cosine"},
            {"schedule": "cosine"},
            "decay_type only applies to the schedule warmup_stable_decay",
        ),
    ],
)
def test_what_optimizer_or_schedule_does_not_read_is_refused(options: dict, beside: dict, message: str) -> None:
    """Its default value too: what is given is used, or refused."""
    assert refusal("sft", options | beside).startswith(message)
    assert built("sft", beside)


@pytest.mark.parametrize(
    ("options", "beside", "message"),
    [
        (
            {"shard": "full"},
            {"optimizer": "adafactor"},
            "shard full is for optimizers that update every number by itse",
        ),
        (
            {"shard": "optimizer"},
            {"optimizer": "adamw_8bit"},
            "shard optimizer is for optimizers that update every num",
        ),
        ({"shard": "full"}, {"load_in_4bit": True, "lora_rank": 2}, "shard full cannot divide quantised weights: set"),
    ],
)
def test_what_cannot_be_divided_is_refused(options: dict, beside: dict, message: str) -> None:
    assert refusal("sft", options | beside).startswith(message)
    assert built("sft", beside)
    assert built("sft", options)


@pytest.mark.parametrize("options", [{}, {"shard": "optimizer"}])
def test_offloading_is_for_weights_that_are_divided(options: dict[str, Any]) -> None:
    message = "offload only applies to weights that are divided: set shard to full too"
    assert refusal("sft", options | {"offload": True}).startswith(message)
    assert built("sft", {"shard": "full", "offload": True})


def test_divided_weights_are_not_handed_over() -> None:
    there = {"reward": "length", "sampler": "http://a"}
    assert refusal("grpo", there | {"shard": "full"}).startswith("sampler needs the whole weights, to hand them over")
    assert built("grpo", there | {"shard": "optimizer"})


def test_divided_weights_are_not_kept() -> None:
    behind = {"reward": "length", "staleness": 2}
    assert refusal("grpo", behind | {"shard": "full"}).startswith("staleness keeps the whole weights of earlier turns")
    assert built("grpo", behind | {"shard": "optimizer"})


def test_noise_is_refused_where_dropout_is() -> None:
    assert built("sft", {"neftune": 5.0})[1].neftune == 5.0
    assert built("rejection", {"neftune": 5.0})
    for name in ("dpo", "reward", "ppo", "kto", "online_dpo"):
        message = "neftune only applies to methods that train with dropout, such as sft: it would add noise to a ratio"
        assert refusal(name, {"neftune": 5.0}).startswith(message)


# Adapters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_alpha": 8}, "lora_alpha only applies to LoRA: set lora_rank too"),
        ({"lora_dropout": 0.1}, "lora_dropout only applies to LoRA: set lora_rank too"),
        ({"lora_targets": "c_attn"}, "lora_targets only applies to LoRA: set lora_rank too"),
    ],
)
def test_options_of_adapters_need_adapters(options: dict, message: str) -> None:
    assert refusal("sft", options) == message
    assert built("sft", options | {"lora_rank": 8})
    assert [text for text, applies in lora_problems(Settings(**options), dropout=True).items() if applies] == [message]


def test_dropout_of_adapters_is_refused_where_it_would_stay_off() -> None:
    """SFT alone learns with dropout on: an option that is accepted and ignored would be none."""
    assert built("sft", {"lora_rank": 8, "lora_dropout": 0.1})[1].lora_dropout == 0.1
    for name in ("dpo", "reward", "ppo"):
        message = "lora_dropout only applies to methods that train with dropout, such as sft"
        assert refusal(name, {"lora_rank": 8, "lora_dropout": 0.1}).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"load_in_4bit": True}, "load_in_4bit needs LoRA, because quantised weights cannot be trained: set lora_rank"),
        ({"load_in_8bit": True}, "load_in_8bit needs LoRA, because quantised weights cannot be trained: set lora_rank"),
        (
            {"load_in_4bit": True, "load_in_8bit": True, "lora_rank": 2},
            "load_in_4bit and load_in_8bit cannot go together: give one of them",
        ),
        ({"dtype": "float16"}, "dtype float16 is for sampling only, because training in it needs loss scaling"),
        ({"dtype": "float16", "lora_rank": 2}, "dtype float16 is for sampling only"),
    ],
)
def test_weights_that_cannot_be_trained_are_refused(options: dict, message: str) -> None:
    assert refusal("sft", options).startswith(message)
    assert built("sft", {"load_in_4bit": True, "lora_rank": 2, "dtype": "bfloat16"})


@pytest.mark.parametrize("key", ["model", "out", "from_", "revision", "device"])
def test_a_text_without_a_character_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=rf"^{key} is empty: give a value, or leave it out$"):
        build(SFT, {key: ""})
