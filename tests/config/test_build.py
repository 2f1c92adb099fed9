"""Every key of every method arrives and reads back; methods and experiences from outside Burnish by import path."""

import dataclasses
import functools
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import burnish
from burnish.algorithms.dpo import DPO
from burnish.algorithms.interface import Algorithm, name_of
from burnish.algorithms.ppo import PPO
from burnish.algorithms.sft import SFT
from burnish.algorithms.table import LANGUAGE, load
from burnish.config import Settings, algorithm_of, as_dict, build, defaults, option_names, option_types, read_config
from burnish.config.build import experience_of, import_path, written_name
from burnish.experience.language.completions import Completions
from burnish.run import UserError
from config.built import NEEDED, built, refusal

# A value unlike the default for every key; `WITH` gives what must go with it.
OTHER = {
    "model": "somewhere",
    "revision": "v2",
    "dtype": "bfloat16",
    "save_dtype": "float16",
    "resize_embeddings": True,
    "load_in_4bit": True,
    "load_in_8bit": True,
    "data": "mine.jsonl",
    "streaming": True,
    "shuffle_buffer": 50,
    "group_by_length": True,
    "out": "runs/x",
    "from_": "runs/y",
    "keep_checkpoints": 3,
    "save_best": True,
    "seed": 7,
    "steps": 30,
    "epochs": 2.5,
    "batch_size": 5,
    "accumulate": 3,
    "gradient_checkpointing": True,
    "shard": "optimizer",
    "offload": True,
    "learning_rate": 3e-4,
    "warmup": 0.25,
    "schedule": "cosine",
    "min_lr_ratio": 0.1,
    "decay": 0.2,
    "decay_type": "1-sqrt",
    "optimizer": "adafactor",
    "adam_beta1": 0.8,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-6,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "max_grad_norm": 0.5,
    "neftune": 5.0,
    "max_length": 99,
    "mask_formatting": True,
    "last_answer_only": True,
    "train_thoughts": False,
    "lora_rank": 4,
    "lora_alpha": 4,
    "lora_dropout": 0.1,
    "lora_targets": "c_attn,c_fc",
    "precision": "bfloat16",
    "eval_data": "held.jsonl",
    "holdout": 0.05,
    "eval_every": 4,
    "watch": True,
    "watch_labels": "labels.jsonl",
    "watch_rewards": "runs/a,runs/b",
    "patience": 2,
    "log_every": 5,
    "save_every": 9,
    "resume": True,
    "track": "tensorboard,mlflow",
    "sampler": "http://127.0.0.1:8000",
    "sampler_timeout": 20.0,
    "sampler_bound": 0.01,
    "staleness": 2,
    "device": "cpu",
    "threads": 1,
    "quiet": True,
    "debug": True,
}
GROUP = {
    "advantage": "standardise",
    "std_eps": 1e-3,
    "beta": 0.1,
    "kl_in": "loss",
    "kl_estimator": "k2",
    "entropy_weight": 0.01,
    "update_epochs": 2,
}
OWN = {
    "sft": {"over": "sequence"},
    "reward": {"centre_coefficient": 0.1, "margin_weight": 0.5},
    "ppo": {
        "clip": 0.1,
        "value_clip": None,
        "value_weight": 0.3,
        "entropy_weight": 0.02,
        "lambda_": 0.8,
        "update_epochs": 2,
        "standardise_advantages": False,
        "stop_kl": 0.05,
        "kl_penalty": 0.3,
        "kl_penalty_target": 0.02,
        "over": "sequence",
    },
    "online_dpo": {"beta": 0.5, "label_smoothing": 0.2, "nll_weight": 0.3, "update_epochs": 2},
    "rejection": {"over": "sequence", "update_epochs": 2},
    "grpo": GROUP | {"clip_low": 0.1, "clip_high": 0.3, "dual_clip": 3.0, "over": "token", "std_correction": 0},
    "rloo": {
        "ratio": "token",
        "clip_low": 0.1,
        "clip_high": 0.3,
        "dual_clip": 3.0,
        "over": "token",
        "beta": 0.1,
        "kl_in": "loss",
        "kl_estimator": "k2",
        "entropy_weight": 0.01,
        "update_epochs": 2,
    },
    "distil": {"divergence": "js", "js_beta": 0.3, "gamma": 0.0, "clip": None, "over": "sequence", "update_epochs": 2},
    "gspo": GROUP | {"clip_low": 1e-3, "clip_high": 2e-3, "over": "token", "std_correction": 0},
    "cispo": GROUP | {"clip_low": 0.5, "clip_high": 2.0, "over": "constant", "std_correction": 0},
    "reinforce_plus_plus": {
        "group_mean": True,
        "clip_low": 0.1,
        "clip_high": 0.3,
        "dual_clip": 3.0,
        "over": "sum",
        "beta": 0.1,
        "kl_in": "loss",
        "kl_estimator": "k2",
        "entropy_weight": 0.01,
        "update_epochs": 2,
    },
    "dpo": {
        "beta": 0.5,
        "label_smoothing": 0.2,
        "length_normalised": False,
        "divergence": "alpha",
        "alpha": 0.3,
        "nll_weight": 0.2,
        "margin_weight": 0.7,
    },
    "robust_dpo": {"beta": 0.5, "label_smoothing": 0.2},
    "hinge": {"beta": 0.5, "nll_weight": 0.2},
    "ipo": {"tau": 0.5, "log_ratios": "mean"},
    "orpo": {"odds_weight": 0.5},
    "simpo": {"beta": 2.5, "gamma": 0.5},
    "cpo": {"beta": 0.5, "nll_weight": 0.2},
    "apo_zero": {"beta": 0.5},
    "apo_down": {"beta": 0.5},
    "exo": {"beta": 0.5, "label_smoothing": 0.2},
    "nca": {"beta": 0.5},
    "sppo": {"beta": 0.5},
    "kto": {"beta": 0.5, "desirable_weight": 1.5, "undesirable_weight": 0.5},
}
# What does not go with the others above, which have the default: an option of a method, and what it needs beside it.
APART: list[tuple[str, str, Any, dict[str, Any]]] = [("dpo", "length_normalised", True, {})]
APART += [(name, "advantage", "centre", {}) for name in ("grpo", "gspo", "cispo")]
APART += [("distil", "gamma", 0.5, {}), ("distil", "clip", 0.2, {})]
APART += [(name, "kl_in", "score", {"beta": 0.1}) for name in ("grpo", "gspo", "cispo")]
DIALOGUES: dict[str, Any] = {
    "environment": "guess",
    "max_turns": 5,
    "max_dialogue_length": 300,
    "tool_timeout": 2.5,
    "environment_timeout": 2.5,
}
CORRECTION: dict[str, Any] = {
    "sampler_correction": "mask",
    "correction_level": "sequence",
    "correction_low": 0.5,
    "correction_high": 5.0,
}
KNOBS = (
    DIALOGUES
    | CORRECTION
    | {
        "reward": "runs/rm",
        "critic": "runs/critic",
        "rollout": 32,
        "max_new_tokens": 12,
        "temperature": 0.7,
        "beta": 0.2,
        "kl_target": 4.0,
        "kl_horizon": 500,
        "ptx_data": "texts.jsonl",
        "ptx_weight": 0.5,
        "gamma": 0.99,
        "missing_eos_penalty": 1.5,
        "keep_special_tokens": True,
        "keep_samples": 3,
    }
)
GROUPS = DIALOGUES | {
    "reward": "runs/rm",
    "completions_per_prompt": 5,
    "rollout": 32,
    "max_new_tokens": 12,
    "temperature": 0.7,
    "missing_eos_penalty": 1.5,
    "keep_special_tokens": True,
    "keep_samples": 3,
}
SCORED = (
    GROUPS
    | CORRECTION
    | {
        "redraws": 3,
        "overlong_share": 0.25,
        "overlong_penalty": 0.5,
    }
)
OF_GROUPS = {"online_dpo": GROUPS | {"refresh_reference": True}, "rejection": GROUPS}
TAUGHT = {key: value for key, value in GROUPS.items() if key not in ("completions_per_prompt", "missing_eos_penalty")}
OF_GROUPS["distil"] = TAUGHT | CORRECTION | {"teacher": "runs/teacher"}
KNOWN_BY = [(name, key) for name, knobs in (OF_GROUPS | {"grpo": SCORED}).items() for key in knobs]
OF_GROUPS |= dict.fromkeys(("grpo", "rloo", "gspo", "cispo", "reinforce_plus_plus"), SCORED)
WITH: dict[str, dict] = {
    "offload": {"shard": "full"},
    "patience": {"eval_every": 4},
    "save_best": {"eval_every": 4},
    "kl_horizon": {"kl_target": 4.0},
    "ptx_weight": {"ptx_data": "texts.jsonl"},
}
WITH |= {key: {"schedule": "warmup_stable_decay"} for key in ("decay", "decay_type")} | {
    "momentum": {"optimizer": "sgd"},
}
WITH |= {"watch": {"eval_every": 4}}
WITH |= {f"watch_{name}": {"watch": True, "eval_every": 4} for name in ("labels", "rewards")}
WITH |= {f"load_in_{n}bit": {"lora_rank": 8} for n in (4, 8)}
NEEDS_GROUPS = {"reinforce_plus_plus": {"completions_per_prompt": 2}}
STREAMED = {"streaming": True, "data": "mine.jsonl", "steps": 3}
WITH |= {"streaming": STREAMED, "shuffle_buffer": STREAMED}
WITH |= {"holdout": {"data": "mine.jsonl"}}
WITH |= {f"sampler_{name}": {"sampler": "http://127.0.0.1:8000"} for name in ("timeout", "bound")}
WITH |= {key: {"environment": "guess"} for key in DIALOGUES}
WITH |= {"overlong_penalty": {"overlong_share": 0.5}, "redraws": {"completions_per_prompt": 4}}
WITH |= {f"correction_{name}": {"sampler_correction": "truncate"} for name in ("level", "low", "high")}
WITH |= {f"lora_{name}": {"lora_rank": 8} for name in ("alpha", "dropout", "targets")}


def test_these_tests_know_every_key() -> None:
    assert OTHER.keys() == {f.name for f in dataclasses.fields(Settings)} - {"experience", "trust_remote_code"}
    assert KNOBS.keys() == {f.name for f in dataclasses.fields(Completions)}
    for name, knobs in OF_GROUPS.items():
        refused = {"missing_eos_penalty"} if name == "distil" else set()
        assert knobs.keys() | refused == {f.name for f in dataclasses.fields(kind_of(name))}
    assert OWN.keys() == LANGUAGE.keys()
    for name in LANGUAGE:
        assert OWN[name].keys() == {f.name for f in dataclasses.fields(load(name))}
    assert NEEDED.keys() == {"ppo", *OF_GROUPS}


def kind_of(name: str) -> type[Any]:
    """The experience of an online method."""
    found = experience_of(load(name))
    assert found is not None
    return found


@pytest.mark.parametrize("name", LANGUAGE)
def test_no_key_means_two_things(name: str) -> None:
    """Keys are flat, so a method, its experience and the settings cannot share one."""
    types_ = option_types(load(name))
    keys = [key for cls in types_ for key in option_names(cls)]
    assert len(keys) == len(set(keys))
    assert "experience" not in keys
    assert (Completions in types_) == (name == "ppo")
    assert (experience_of(load(name)) is None) == (name not in NEEDED)


def reads_back(name: str, algorithm: Algorithm, settings: Settings, folder: Path) -> dict[str, Any]:
    """Write the resolved configuration as a run does, read it, and compare what is built from it."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(as_dict(algorithm, settings)))
    written = read_config(path)
    assert build(load(name), written) == (algorithm, settings)
    assert written["algorithm"] == name
    assert "experience" not in written
    return written


@pytest.mark.parametrize("key", OTHER)
def test_every_key_arrives_and_reads_back(key: str, tmp_path: Path) -> None:
    name = (
        "dpo"
        if key == "mask_formatting" or key.startswith("watch")
        else "ppo"
        if key.startswith(("sampler", "staleness"))
        else "sft"
    )
    algorithm, settings = built(name, {key: OTHER[key]} | WITH.get(key, {}))
    assert getattr(settings, key) == OTHER[key] != getattr(Settings(), key)
    reads_back(name, algorithm, settings, tmp_path)


def test_what_only_a_flag_may_say_is_not_written() -> None:
    algorithm, settings = built("sft", {"trust_remote_code": True})
    assert settings.trust_remote_code
    assert "trust_remote_code" not in as_dict(algorithm, settings)


@pytest.mark.parametrize("name", LANGUAGE)
def test_every_key_of_an_algorithm_arrives_and_reads_back(name: str, tmp_path: Path) -> None:
    apart = [key for method, key, _, _ in APART if method == name]
    algorithm, settings = built(name, OWN[name] | NEEDS_GROUPS.get(name, {}) | {"algorithm": name})
    assert dataclasses.asdict(algorithm) == OWN[name]
    assert all(value != getattr(type(algorithm)(), key) for key, value in OWN[name].items() if key not in apart)
    assert name_of(algorithm) == name
    reads_back(name, algorithm, settings, tmp_path)


@pytest.mark.parametrize(("name", "key", "value", "beside"), APART)
def test_what_goes_with_nothing_else_arrives_alone(
    name: str, key: str, value: Any, beside: dict[str, Any], tmp_path: Path
) -> None:
    algorithm, settings = built(name, {key: value} | beside)
    assert getattr(algorithm, key) == value != getattr(load(name)(), key)
    reads_back(name, algorithm, settings, tmp_path)


@pytest.mark.parametrize("key", KNOBS)
def test_every_knob_of_completions_arrives_and_reads_back(key: str, tmp_path: Path) -> None:
    algorithm, settings = built("ppo", {key: KNOBS[key]} | WITH.get(key, {}))
    assert getattr(settings.experience, key) == KNOBS[key] != getattr(Completions(), key)
    assert reads_back("ppo", algorithm, settings, tmp_path)[key] == KNOBS[key]
    assert refusal("dpo" if key != "beta" else "sft", {key: KNOBS[key]}).startswith(f"unknown key '{key}' for ")


@pytest.mark.parametrize(("name", "key"), KNOWN_BY)
def test_every_knob_of_groups_arrives_and_reads_back(name: str, key: str, tmp_path: Path) -> None:
    value = OF_GROUPS[name][key]
    algorithm, settings = built(name, {key: value} | WITH.get(key, {}) | {key: value})
    assert getattr(settings.experience, key) == value != getattr(kind_of(name)(), key)
    reads_back(name, algorithm, settings, tmp_path)


# What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dpo", {"divergence": "kl"}, "divergence must be one of reverse_kl, forward_kl, js, alpha, not 'kl'"),
        ("dpo", {"divergence": "js", "length_normalised": True}, "length_normalised does not go together with the div"),
        ("dpo", {"alpha": 0.5}, "alpha only applies to the divergence alpha: set both, or neither"),
        ("dpo", {"beta": 0}, "beta must be above 0, not 0.0: it scales the implicit reward"),
        ("dpo", {"beta": float("inf")}, "beta must be a finite number, not inf"),
        ("dpo", {"label_smoothing": 0.5}, "label_smoothing must lie in [0, 0.5), not 0.5: at ½ labels carry no inform"),
        ("dpo", {"label_smoothing": -0.1}, "label_smoothing must lie in [0, 0.5), not -0.1"),
        ("sppo", {"beta": -1}, "beta must be above 0, not -1"),
        ("sft", {"over": "words"}, "over must be one of token, sequence, not 'words'"),
        ("sft", {"seed": -1}, "seed must lie in [0, 4294967295], not -1"),
        ("sft", {"max_grad_norm": "nan"}, "max_grad_norm must be a finite number, not 'nan'"),
        ("ppo", {"kl_horizon": 100}, "kl_horizon only applies when beta is adaptive: set kl_target too"),
        ("ppo", {"kl_target": 4, "beta": 0}, "an adaptive beta that starts at 0 stays there: set a beta above 0"),
        ("ppo", {"rollout": 0}, "rollout must be at least 1, not 0"),
        ("ppo", {"rollout": 1.5}, "rollout must be a whole number, not 1.5"),
        ("ppo", {"temperature": 1e-300}, "temperature must be at least 0.0001, not 1e-300"),
        ("ppo", {"temperature": "hot"}, "temperature must be a finite number, not 'hot'"),
        ("ppo", {"kl_target": float("nan")}, "kl_target must be a finite number, not nan"),
        ("ppo", {"critic": 3}, "critic must be text, not 3"),
        ("ppo", {"standardise_advantages": "yes"}, "standardise_advantages must be true or false, not 'yes'"),
        ("ppo", {"clip": 0}, "clip must be above 0, not 0.0: at 0 no update can improve anything"),
        ("ppo", {"stop_kl": 0}, "stop_kl must be above 0"),
        ("ppo", {"update_epochs": 0}, "update_epochs must be at least 1"),
        ("online_dpo", {"completions_per_prompt": 1}, "completions_per_prompt must be at least 2, not 1: a single one"),
        ("rejection", {"completions_per_prompt": 1}, "completions_per_prompt must be at least 2, not 1: a single one"),
        ("online_dpo", {"update_epochs": 0}, "update_epochs must be at least 1, not 0"),
        ("rejection", {"update_epochs": 0}, "update_epochs must be at least 1, not 0"),
    ],
)
def test_what_the_dataclasses_refuse_is_a_sentence_of_the_users(name: str, options: dict, message: str) -> None:
    assert refusal(name, options).startswith(message)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dpo", {"betta": 0.1}, "unknown key 'betta' for dpo: did you mean 'beta'?"),
        ("sft", {"learningrate": 1e-4}, "unknown key 'learningrate' for sft: did you mean 'learning_rate'?"),
        ("sft", {"zzz": 1}, "unknown key 'zzz' for sft; the keys are accumulate, adam_beta1, adam_beta2, "),
        ("sft", {"1": 2}, "unknown key '1' for sft; the keys are"),
        ("sft", {"beta": 0.1}, "unknown key 'beta' for sft"),
        ("dpo", {"over": "token"}, "unknown key 'over' for dpo"),
        ("ipo", {"beta": 0.1}, "unknown key 'beta' for ipo"),
        ("sft", {"num_train_epochs": 3}, "unknown key 'num_train_epochs' for sft: it is 'epochs' here"),
        ("ppo", {"label_smoothing": 0.1}, "unknown key 'label_smoothing' for ppo"),
        ("ppo", {"kl_coef": 0.1}, "unknown key 'kl_coef' for ppo: it is 'beta' here"),
        ("ppo", {"response_length": 9}, "unknown key 'response_length' for ppo: it is 'max_new_tokens' here"),
        *[
            (name, options, f"unknown key '{next(iter(options))}' for {name}{more}")
            for name in OF_GROUPS
            if name != "distil"
            for options, more in (
                ({"kl_target": 4.0}, ""),
                ({"critic": "runs/x"}, ""),
                ({"gamma": 0.9}, ""),
                ({"num_generations": 4}, ": it is 'completions_per_prompt' here"),
            )
        ],
    ],
)
def test_an_unknown_key_is_refused_with_what_to_write(name: str, options: dict, message: str) -> None:
    assert refusal(name, options).startswith(message)


def test_a_configuration_of_another_method_is_refused() -> None:
    assert refusal("dpo", {"algorithm": "sft"}) == "the configuration is for 'sft', not for 'dpo'"


def test_keys_may_be_written_like_flags_and_paths_as_paths() -> None:
    assert built("dpo", {"learning-rate": 1e-4})[1].learning_rate == 1e-4
    assert built("sft", {"out": Path("runs") / "x"})[1].out == "runs/x"


# Rewards in Python -------------------------------------------------------------------------------------------------


def judged(prompts: object, responses: list) -> list[float]:
    return [0.0 for _ in responses]


@dataclass(frozen=True)
class Judge:
    """A reward object, which as a dataclass must not be taken apart."""

    name: str = "my judge"

    def __call__(self, completed: list) -> list[float]:
        return [0.0 for _ in completed]


@pytest.mark.parametrize(
    ("reward", "written"),
    [
        (judged, f"{__name__}:judged"),
        (Judge(), "(in memory) my judge"),
        (functools.partial(judged, None), "(in memory) partial"),
        (Path("runs") / "rm", "runs/rm"),
        ("my_rewards:score", "my_rewards:score"),
    ],
)
def test_a_reward_given_in_python_is_written_by_its_name(reward: object, written: str) -> None:
    """The settings keep the thing itself; a path is text, as on the command line."""
    algorithm, settings = built("ppo", {"reward": reward})
    assert settings.experience.reward == (str(reward) if isinstance(reward, Path) else reward)
    config = yaml.safe_load(yaml.safe_dump(as_dict(algorithm, settings)))
    assert config["reward"] == written


# From outside Burnish ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mine(burnish.Algorithm):
    """A method that the table does not know."""

    name = "mine"
    learning_rate = 1e-3

    weight: float = burnish.option(1.0, "weight of the loss", gt=0)


@dataclass(frozen=True)
class Nameless(burnish.Algorithm):
    """One without a name of its own."""


@dataclass(frozen=True)
class Sibling(DPO):
    """One that still has the name of a built-in method."""


@dataclass(frozen=True)
class Walk(burnish.Experience):
    """Where it learns from."""

    rollout: int = burnish.option(4, "prompts per rollout", ge=1)
    word: str = burnish.option("good", "what to look for")


def test_an_algorithm_is_written_by_name_or_path() -> None:
    """A name of its own is for people: it leads nowhere when a file is read."""
    assert [written_name(cls) for cls in (SFT, DPO, PPO)] == ["sft", "dpo", "ppo"]
    assert {written_name(load(name)) for name in LANGUAGE} == set(LANGUAGE)
    assert (written_name(Mine), name_of(Mine)) == (f"{__name__}:Mine", "mine")
    assert (written_name(Nameless), name_of(Nameless())) == (f"{__name__}:Nameless", f"{__name__}:Nameless")
    assert (written_name(Sibling), name_of(Sibling)) == (f"{__name__}:Sibling", "dpo")


def test_an_algorithm_of_ones_own_reads_back(tmp_path: Path) -> None:
    algorithm, settings = build(Mine, {"weight": 2, "seed": 3})
    assert (algorithm, settings.seed, settings.learning_rate) == (Mine(2.0), 3, 1e-3)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_dict(algorithm, settings)))
    written = read_config(path)
    assert (written["algorithm"], written["weight"]) == (f"{__name__}:Mine", 2.0)
    assert build(algorithm_of(written["algorithm"]), written) == (algorithm, settings)
    assert build(Mine, written | {"algorithm": "mine"}) == (algorithm, settings)
    with pytest.raises(UserError, match=r"^the configuration is for 'dpo', not for 'mine'$"):
        build(Mine, written | {"algorithm": "dpo"})
    with pytest.raises(UserError, match=r"^unknown key 'wieght' for mine: did you mean 'weight'\?$"):
        build(Mine, {"wieght": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dop", "no such algorithm 'dop': did you mean 'dpo'?"),
        ("None", "no such algorithm 'None'; the keys are"),
        ("no_such_module:Mine", "algorithm no_such_module:Mine cannot be imported (there is no module no_such_module"),
        (f"{__name__}:Yours", f"algorithm {__name__}:Yours: {__file__} has no Yours: name a class in that file"),
        (f"{__name__}:Walk", f"algorithm {__name__}:Walk must name a class derived from burnish.Algorithm"),
        (f"{__name__}:judged", f"algorithm {__name__}:judged must name a class derived from burnish.Algorithm"),
        (
            "my module:Mine",
            "algorithm my module:Mine does not have the form module:class: write it like my_module:my_class",
        ),
    ],
)
def test_an_algorithm_that_is_not_there(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        algorithm_of(text)
    assert str(caught.value).startswith(message)


def test_algorithms_are_found_by_name_or_path() -> None:
    assert (algorithm_of("dpo"), algorithm_of("trpo")) == (DPO, burnish.TRPO)
    assert algorithm_of(f"{__name__}:Mine") is Mine
    assert algorithm_of("burnish.algorithms.sft:SFT") is SFT


def test_an_experience_of_ones_own_reads_back(tmp_path: Path) -> None:
    walk = Walk(8, "great")
    algorithm, settings = build(Mine, {"experience": walk, "steps": 3})
    assert settings.experience is walk
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_dict(algorithm, settings)))
    written = read_config(path)
    assert (written["experience"], written["rollout"], written["word"]) == (f"{__name__}:Walk", 8, "great")
    assert build(Mine, written) == (algorithm, settings)
    with pytest.raises(UserError, match=r"^rollout must be at least 1, not 0$"):
        build(Mine, written | {"rollout": 0})


def test_another_experience_replaces_the_methods_own() -> None:
    """Its options are keys, those of the method's own are not."""
    _, settings = build(PPO, {"experience": f"{__name__}:Walk", "word": "fine"})
    assert settings.experience == Walk(word="fine")
    with pytest.raises(UserError, match="unknown key 'reward' for ppo"):
        build(PPO, {"experience": f"{__name__}:Walk", "reward": "gold"})


def test_the_methods_own_experience_as_an_object_is_not_written() -> None:
    given = Completions(reward="gold", rollout=32)
    assert build(PPO, {"experience": given}) == built("ppo", {"rollout": 32})
    assert "experience" not in as_dict(*build(PPO, {"experience": given}))


def test_an_option_of_an_experience_is_set_in_one_place() -> None:
    with pytest.raises(UserError, match=r"^rollout belongs to the experience: set it there, as Walk\(…\)$"):
        build(Mine, {"experience": Walk(), "rollout": 8})


@pytest.mark.parametrize("stranger", [Walk, 3, Judge()])
def test_what_is_no_experience_is_refused(stranger: object) -> None:
    with pytest.raises(UserError, match=r"^experience must be a burnish\.Experience or 'module:Class', not "):
        build(Mine, {"experience": stranger})
    with pytest.raises(UserError, match=r"Mine must name a class derived from burnish\.Experience$"):
        build(Mine, {"experience": f"{__name__}:Mine"})


@dataclass(frozen=True)
class Untold(burnish.Algorithm):
    """A field that no file could set."""

    weight: float = 1.0


@dataclass(frozen=True)
class Heavy(burnish.Experience):
    """A field that the method has too."""

    weight: float = burnish.option(1.0, "another weight")


def test_every_field_is_an_option_with_a_key_of_its_own() -> None:
    """What is not written to the configuration would be forgotten when the run is read again."""
    with pytest.raises(UserError, match=r"^Untold\.weight is not an option: make it with burnish\.option\(default, "):
        build(Untold, {})
    message = "weight is an option of Mine and Heavy, but a configuration has one key weight: rename one of them"
    with pytest.raises(UserError, match=f"^{message}$"):
        build(Mine, {"experience": Heavy()})


def test_a_class_of_a_script_is_named_as_others_can_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `python my_method.py` and of `python -m pack.my_method`; at a prompt there is no file to import."""
    here = type("Here", (), {"__module__": "__main__"})
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert import_path(here) == "__main__:Here"
    main.__file__ = "/somewhere/my_method.py"
    assert import_path(here) == "my_method:Here"
    main.__spec__ = types.SimpleNamespace(name="pack.my_method")  # type: ignore[assignment]
    assert import_path(here) == "pack.my_method:Here"
    assert import_path(judged) == f"{__name__}:judged"


def test_defaults_are_what_is_written_where_nothing_is_given() -> None:
    """But for the two that are worked out: the method's own learning rate, and one epoch."""
    for name in ("dpo", "ppo"):
        algorithm, settings = build(load(name), {"reward": "gold"} if name == "ppo" else {})
        own = defaults(algorithm, settings) | {"learning_rate": algorithm.learning_rate, "epochs": 1.0}
        own |= {"reward": "gold"} if name == "ppo" else {}
        assert {"algorithm": name} | own == as_dict(algorithm, settings)
