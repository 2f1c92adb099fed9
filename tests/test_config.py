"""Options: every key, what is refused and in which words, and that a resolved configuration reads back the same."""

import dataclasses
import functools
from pathlib import Path

import pytest
import yaml

from burnish.algorithms.dpo import DPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.config import ELSEWHERE, EXPERIENCES, Settings, as_dict, build, option_names, option_types, read_config
from burnish.experience.language.completions import Completions
from burnish.run import UserError

# A value unlike the default for every key; `EXCLUSIVE` gives what must go with it.
OTHER = {
    "model": "somewhere",
    "data": "mine.jsonl",
    "out": "runs/x",
    "seed": 7,
    "steps": 30,
    "epochs": 2.5,
    "batch_size": 5,
    "accumulate": 3,
    "learning_rate": 3e-4,
    "warmup": 0.25,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "max_grad_norm": 0.5,
    "max_length": 99,
    "mask_formatting": True,
    "lora_rank": 4,
    "lora_alpha": 4,
    "lora_dropout": 0.1,
    "lora_targets": "c_attn,c_fc",
    "precision": "bfloat16",
    "eval_data": "held.jsonl",
    "eval_every": 4,
    "patience": 2,
    "save_every": 9,
    "resume": True,
    "device": "cpu",
    "threads": 1,
    "quiet": True,
    "debug": True,
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
APART = {"length_normalised": True}  # goes with no divergence, so it stays as it is above
KNOBS = {
    "reward": "runs/rm",
    "critic": "runs/critic",
    "rollout": 32,
    "max_new_tokens": 12,
    "temperature": 0.7,
    "beta": 0.2,
    "kl_target": 4.0,
    "kl_horizon": 500,
    "gamma": 0.99,
    "missing_eos_penalty": 1.5,
    "keep_samples": 3,
}
GROUPS = {
    "reward": "runs/rm",
    "completions_per_prompt": 5,
    "rollout": 32,
    "max_new_tokens": 12,
    "temperature": 0.7,
    "missing_eos_penalty": 1.5,
    "keep_samples": 3,
}
OF_GROUPS = {"online_dpo": GROUPS | {"refresh_reference": True}, "rejection": GROUPS}
WITH: dict[str, dict] = {"patience": {"eval_every": 4}, "kl_horizon": {"kl_target": 4.0}}
WITH |= {f"lora_{name}": {"lora_rank": 8} for name in ("alpha", "dropout", "targets")}
NEEDS: dict[str, dict] = {name: {"reward": "gold"} for name in ("ppo", *OF_GROUPS)}


def test_these_tests_know_every_key() -> None:
    assert OTHER.keys() == {f.name for f in dataclasses.fields(Settings)} - {"experience"}
    assert KNOBS.keys() == {f.name for f in dataclasses.fields(Completions)}
    for name, knobs in OF_GROUPS.items():
        assert knobs.keys() == {f.name for f in dataclasses.fields(EXPERIENCES[ALGORITHMS[name].experience])}
    assert OWN.keys() == ALGORITHMS.keys()
    for name, entry in ALGORITHMS.items():
        assert OWN[name].keys() == {f.name for f in dataclasses.fields(entry.algorithm)}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_key_means_two_things(name: str) -> None:
    """Keys are flat, so a method, its experience and the settings cannot share one."""
    keys = [key for cls in option_types(name) for key in option_names(cls)]
    assert len(keys) == len(set(keys))
    assert "experience" not in keys
    assert (Completions in option_types(name)) == (name == "ppo")


@pytest.mark.parametrize("key", OTHER)
def test_every_key_arrives_and_reads_back(key: str, tmp_path: Path) -> None:
    name = "dpo" if key == "mask_formatting" else "sft"
    algorithm, settings = build(name, {key: OTHER[key]} | WITH.get(key, {}))
    assert getattr(settings, key) == OTHER[key] != getattr(Settings(), key)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_dict(algorithm, settings)))
    assert build(name, read_config(path)) == (algorithm, settings)


@pytest.mark.parametrize("name", ["sft", "reward", "ppo"])
def test_formatting_is_masked_where_tokens_of_responses_are_compared_alone(name: str) -> None:
    """A reward model reads a whole text's score at its end, whatever the mask: the option would change nothing."""
    with pytest.raises(UserError, match="mask_formatting is of methods that learn from a response's tokens"):
        build(name, NEEDS.get(name, {}) | {"mask_formatting": True})


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_key_of_an_algorithm_arrives_and_reads_back(name: str) -> None:
    algorithm, settings = build(name, NEEDS.get(name, {}) | OWN[name] | {"algorithm": name})
    assert dataclasses.asdict(algorithm) == OWN[name]
    assert all(value != getattr(type(algorithm)(), key) for key, value in OWN[name].items() if key not in APART)
    assert name_of(algorithm) == name
    assert build(name, as_dict(algorithm, settings)) == (algorithm, settings)


@pytest.mark.parametrize("key", APART)
def test_what_goes_with_nothing_else_arrives_alone(key: str) -> None:
    algorithm, settings = build("dpo", {key: APART[key]})
    assert getattr(algorithm, key) == APART[key] != getattr(DPO(), key)
    assert build("dpo", as_dict(algorithm, settings)) == (algorithm, settings)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kto", {"batch_size": 1}, "batch_size must be at least 2 for kto: it measures how far the policy has moved"),
        ("dpo", {"divergence": "kl"}, "divergence must be one of reverse_kl, forward_kl, js, alpha, not 'kl'"),
        ("dpo", {"divergence": "js", "length_normalised": True}, "length_normalised and the divergence js do not go"),
        ("dpo", {"alpha": 0.5}, "alpha and the divergence alpha belong together"),
        ("ipo", {"beta": 0.1}, "unknown key 'beta' for ipo"),
        ("sppo", {"beta": -1}, "beta must be above 0, not -1"),
    ],
)
def test_what_makes_no_sense_for_preferences_is_refused(name: str, options: dict, message: str) -> None:
    assert refusal(name, options).startswith(message)
    assert build("kto", {"batch_size": 2})
    assert build("dpo", {"batch_size": 1})


@pytest.mark.parametrize("key", KNOBS)
def test_every_knob_of_completions_arrives_and_reads_back(key: str, tmp_path: Path) -> None:
    algorithm, settings = build("ppo", NEEDS["ppo"] | {key: KNOBS[key]} | WITH.get(key, {}))
    assert settings.experience is not None
    assert getattr(settings.experience, key) == KNOBS[key] != getattr(Completions(), key)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_dict(algorithm, settings)))
    written = read_config(path)
    assert written[key] == KNOBS[key]
    assert "experience" not in written
    assert build("ppo", written) == (algorithm, settings)
    assert refusal("dpo" if key != "beta" else "sft", {key: KNOBS[key]}).startswith(f"unknown key '{key}' for ")


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, knobs in OF_GROUPS.items() for key in knobs])
def test_every_knob_of_groups_arrives_and_reads_back(name: str, key: str, tmp_path: Path) -> None:
    value = OF_GROUPS[name][key]
    algorithm, settings = build(name, NEEDS[name] | {key: value})
    assert settings.experience is not None
    assert getattr(settings.experience, key) == value != getattr(EXPERIENCES[ALGORITHMS[name].experience](), key)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_dict(algorithm, settings)))
    assert build(name, read_config(path)) == (algorithm, settings)


@pytest.mark.parametrize("name", OF_GROUPS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": None}, "{name} needs a reward: a reward-model folder"),
        ({"rollout": 15}, "rollout must not be smaller than batch_size"),
        ({"max_new_tokens": 512}, "max_new_tokens must be smaller than max_length"),
        ({"eval_every": 2, "patience": 1}, "patience needs a loss on data that stays the same"),
        ({"completions_per_prompt": 1}, "completions_per_prompt must be at least 2, not 1"),
        ({"update_epochs": 0}, "update_epochs must be at least 1, not 0"),
        ({"kl_target": 4.0}, "unknown key 'kl_target' for {name}"),
        ({"critic": "runs/x"}, "unknown key 'critic' for {name}"),
        ({"gamma": 0.9}, "unknown key 'gamma' for {name}"),
        ({"num_generations": 4}, "unknown key 'num_generations' for {name}: it is 'completions_per_prompt' here"),
    ],
)
def test_what_makes_no_sense_for_groups_is_refused(name: str, options: dict, message: str) -> None:
    assert refusal(name, {"reward": "gold"} | options).startswith(message.format(name=name))
    assert build(name, {"reward": "gold", "rollout": 16, "max_new_tokens": 511})


def judged(prompts: object, responses: list) -> list[float]:
    return [0.0 for _ in responses]


@dataclasses.dataclass(frozen=True)
class Judge:
    """A reward object, which as a dataclass must not be taken apart."""

    name: str = "my judge"

    def __call__(self, completed: list) -> list[float]:
        return [0.0 for _ in completed]


@pytest.mark.parametrize(
    ("reward", "written"),
    [
        (judged, f"{__name__}:judged"),
        (Judge(), "my judge"),
        (functools.partial(judged, None), "partial"),
        (Path("runs") / "rm", "runs/rm"),
        ("my_rewards:score", "my_rewards:score"),
    ],
)
def test_a_reward_given_in_python_is_written_by_its_name(reward: object, written: str) -> None:
    """The settings keep the thing itself; a path is text, as on the command line."""
    algorithm, settings = build("ppo", {"reward": reward})
    assert settings.experience is not None
    assert settings.experience.reward == (str(reward) if isinstance(reward, Path) else reward)
    config = yaml.safe_load(yaml.safe_dump(as_dict(algorithm, settings)))
    assert config["reward"] == written


def test_defaults_are_filled_in_from_the_table() -> None:
    _, sft = build("sft", {})
    _, dpo = build("dpo", {})
    assert (sft.learning_rate, dpo.learning_rate) == (2e-5, 1e-6)
    assert build("reward", {})[1].learning_rate == 1e-5
    assert build("ppo", {"reward": "gold"})[1].learning_rate == 3e-6
    assert (sft.experience, dpo.experience) == (None, None)
    assert (sft.epochs, sft.steps) == (1.0, None)
    assert build("sft", {"steps": 5})[1].epochs is None


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("learning_rate: 1e-4", "learning_rate", 1e-4),  # which YAML reads as text
        ("learning_rate: 1", "learning_rate", 1.0),
        ("steps: 1e3", "steps", 1000),
        ("steps: 20.0", "steps", 20),
        ("seed: 4294967295", "seed", 4294967295),
        ("threads: null", "threads", None),
        ("quiet: yes", "quiet", True),
        ("data: 'x: y.jsonl'", "data", "x: y.jsonl"),
    ],
)
def test_values_as_yaml_writes_them(text: str, key: str, value: object, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    found = getattr(build("sft", read_config(tmp_path / "c.yaml"))[1], key)
    assert found == value
    assert type(found) is type(value)


def test_a_path_is_text() -> None:
    assert build("sft", {"out": Path("runs") / "x"})[1].out == "runs/x"


def refusal(name: str, options: dict) -> str:
    with pytest.raises(UserError) as caught:
        build(name, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    assert refusal("dpo", {"betta": 0.1}) == "unknown key 'betta' for dpo: did you mean 'beta'?"
    assert "did you mean 'learning_rate'" in refusal("sft", {"learningrate": 1e-4})
    assert "did you mean" not in refusal("sft", {"zzz": 1})
    assert "batch_size" in refusal("sft", {"zzz": 1})


def test_a_key_that_is_no_text_is_unknown_too(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("1: 2\n")
    assert refusal("sft", read_config(tmp_path / "c.yaml")).startswith("unknown key '1'")


def test_a_key_of_another_method_is_unknown() -> None:
    assert refusal("sft", {"beta": 0.1}).startswith("unknown key 'beta' for sft")
    assert refusal("dpo", {"over": "token"}).startswith("unknown key 'over' for dpo")


def test_a_configuration_of_another_method_is_refused() -> None:
    assert refusal("dpo", {"algorithm": "sft"}) == "the configuration is one for 'sft', not for 'dpo'"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1.5}, "steps must be a whole number, not 1.5"),
        ({"steps": "many"}, "steps must be a whole number, not 'many'"),
        ({"steps": True}, "steps must be a whole number, not True"),
        ({"batch_size": None}, "batch_size must be a whole number, not None"),
        ({"learning_rate": "fast"}, "learning_rate must be a finite number, not 'fast'"),
        ({"learning_rate": [1]}, "learning_rate must be a finite number"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number, not inf"),
        ({"warmup": float("nan")}, "warmup must be a finite number, not nan"),
        ({"max_grad_norm": "nan"}, "max_grad_norm must be a finite number"),
        ({"epochs": float("inf")}, "epochs must be a finite number"),
        ({"quiet": "false"}, "quiet must be true or false, not 'false'"),
        ({"quiet": 1}, "quiet must be true or false, not 1"),
        ({"model": 3}, "model must be text, not 3"),
        ({"schedule": "steep"}, "schedule must be one of constant, linear, cosine, not 'steep'"),
        ({"precision": ["float32"]}, "precision must be one of"),
        ({"over": "words"}, "over must be one of token, sequence"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(options: dict, message: str) -> None:
    assert refusal("sft", options).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3, "epochs": 1}, "steps and epochs"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"epochs": -1}, "epochs must be above 0"),
        ({"seed": -1}, "seed must lie between 0 and 4294967295"),
        ({"seed": 2**32}, "seed must lie between"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 4, "accumulate": 5}, "accumulate must lie between 1 and batch_size"),
        ({"accumulate": 0}, "accumulate must lie between 1 and batch_size"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": -1e-4}, "learning_rate must be above 0"),
        ({"warmup": -0.1}, "warmup must not be negative"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative"),
        ({"max_grad_norm": -1}, "max_grad_norm must not be negative"),
        ({"max_length": 1}, "max_length must be at least 2"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"save_every": -1}, "save_every must not be negative"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"patience": -1}, "patience must not be negative"),
        ({"patience": 1}, "patience counts evaluations"),
        ({"data": "mine.jsonl", "eval_every": 3}, "eval_every needs eval_data"),
    ],
)
def test_a_value_out_of_range_is_refused(options: dict, message: str) -> None:
    assert refusal("sft", options).startswith(message)


@pytest.mark.parametrize(
    "options", [{"beta": 0}, {"beta": -1}, {"beta": float("inf")}, {"label_smoothing": 0.5}, {"label_smoothing": -0.1}]
)
def test_an_algorithm_refuses_what_makes_no_sense(options: dict) -> None:
    assert refusal("dpo", options).startswith(next(iter(options)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": None}, "ppo needs a reward: a reward-model folder, 'gold', 'lexicon', or module:function"),
        ({"rollout": 15}, "rollout must not be smaller than batch_size"),
        ({"max_new_tokens": 512}, "max_new_tokens must be smaller than max_length"),
        ({"eval_every": 2, "patience": 1}, "patience needs a loss on data that stays the same"),
        ({"kl_horizon": 100}, "kl_horizon is of an adaptive beta: give kl_target as well"),
        ({"rollout": 0}, "rollout must be at least 1, not 0"),
        ({"rollout": 1.5}, "rollout must be a whole number, not 1.5"),
        ({"temperature": "hot"}, "temperature must be a finite number, not 'hot'"),
        ({"kl_target": float("nan")}, "kl_target must be a finite number, not nan"),
        ({"critic": 3}, "critic must be text, not 3"),
        ({"standardise_advantages": "yes"}, "standardise_advantages must be true or false, not 'yes'"),
        ({"clip": 0}, "clip must be above 0"),
        ({"stop_kl": 0}, "stop_kl must be above 0"),
        ({"update_epochs": 0}, "update_epochs must be at least 1"),
        ({"label_smoothing": 0.1}, "unknown key 'label_smoothing' for ppo"),
        ({"kl_coef": 0.1}, "unknown key 'kl_coef' for ppo: it is 'beta' here"),
        ({"response_length": 9}, "unknown key 'response_length' for ppo: it is 'max_new_tokens' here"),
    ],
)
def test_what_makes_no_sense_for_completions_is_refused(options: dict, message: str) -> None:
    assert refusal("ppo", {"reward": "gold"} | options).startswith(message)
    assert build("ppo", {"reward": "gold", "rollout": 16, "max_new_tokens": 511})


def test_words_of_other_libraries_have_keys_of_ours() -> None:
    every = {key for name in ALGORITHMS for cls in option_types(name) for key in option_names(cls)}
    assert set(ELSEWHERE.values()) <= every
    assert not ELSEWHERE.keys() & every


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "key: value"),
        (b"", "key: value"),
        (b"a: [1\n", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"seed: 1\nbeta: 0.1\nseed: 2\n", "'seed' is given twice"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--config .*none\.yaml cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")


def test_an_object_that_is_no_algorithm_is_refused() -> None:
    assert name_of(SFT()) == "sft"
    assert name_of(DPO()) == "dpo"
    assert name_of(PPO()) == "ppo"
    assert name_of(RewardModel()) == "reward"
    for stranger in ("sft", SFT, None):
        with pytest.raises(
            TypeError, match=r"is no algorithm: give one of SFT\(\), RewardModel\(\), PPO\(\), .*, KTO\(\)$"
        ):
            name_of(stranger)


def test_words_of_other_libraries_are_answered_with_ours() -> None:
    with pytest.raises(UserError, match="unknown key 'num_train_epochs' for sft: it is 'epochs' here"):
        build("sft", {"num_train_epochs": 3})


def test_keys_may_be_written_like_flags() -> None:
    assert build("dpo", {"learning-rate": 1e-4})[1].learning_rate == 1e-4


# Adapters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lora_alpha": 8}, "lora_alpha is of LoRA: give lora_rank as well"),
        ({"lora_dropout": 0.1}, "lora_dropout is of LoRA: give lora_rank as well"),
        ({"lora_targets": "c_attn"}, "lora_targets is of LoRA: give lora_rank as well"),
        ({"lora_rank": 0}, "lora_rank must be at least 1"),
        ({"lora_rank": 8, "lora_alpha": 0}, "lora_alpha must be at least 1"),
        ({"lora_rank": 8, "lora_dropout": 1.0}, r"lora_dropout must lie in [0, 1)"),
        ({"lora_rank": 8, "lora_dropout": -0.1}, r"lora_dropout must lie in [0, 1)"),
    ],
)
def test_what_makes_no_sense_of_adapters(options: dict, said: str) -> None:
    assert refusal("sft", options) == said


def test_dropout_of_adapters_is_refused_where_it_would_stay_off() -> None:
    """SFT alone learns with dropout on: an option that is accepted and ignored would be none."""
    assert build("sft", {"lora_rank": 8, "lora_dropout": 0.1})[1].lora_dropout == 0.1
    for name in ("dpo", "reward", "ppo"):
        assert "lora_dropout is of methods that learn with dropout on" in refusal(
            name, {"lora_rank": 8, "lora_dropout": 0.1} | ({"reward": "gold"} if name == "ppo" else {})
        )


def test_adapters_learn_ten_times_as_fast_unless_told_otherwise() -> None:
    assert build("dpo", {"lora_rank": 8})[1].learning_rate == 1e-5
    assert build("sft", {"lora_rank": 8})[1].learning_rate == 2e-4
    assert build("sft", {"lora_rank": 8, "learning_rate": 3e-5})[1].learning_rate == 3e-5
    assert "it is 'lora_rank' here" in refusal("sft", {"lora_r": 8})
