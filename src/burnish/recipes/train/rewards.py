"""Rewards by name: what `--reward` accepts."""

import dataclasses
from pathlib import Path
from typing import Any

from burnish.data.corpora import lexicon
from burnish.data.names import IN_MEMORY, is_in_memory
from burnish.environments.interface import Maker
from burnish.environments.load import resolve_environment
from burnish.policies.language.adapters import is_adapter, is_scorer_adapter
from burnish.policies.language.frozen import freeze
from burnish.policies.language.loading import PLAIN, Loading
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.assets import resolve_model
from burnish.recipes.gold import gold_judge
from burnish.rewards.builtin import gold_reward, lexicon_reward
from burnish.rewards.completed import Reward
from burnish.rewards.ensemble import Ensemble, read_ensemble
from burnish.rewards.function import function_reward, is_reward, load_function
from burnish.rewards.model import model_reward
from burnish.run import UserError, read_mapping

POSSIBLE = "a reward model's folder (several with commas), 'gold', 'lexicon', or module:function"


def resolve_reward(reward: Any, policy: LanguagePolicy, loading: Loading = PLAIN) -> Reward:
    """The reward for a text or a Python callable.

    'gold' and 'lexicon' are built in; an existing folder is a reward model (a run folder, or written by
    `save_pretrained`), and several separated by commas are an ensemble, see `read_ensemble`; `module:function`, or a
    function itself, is called with prompts, responses and the data's columns. Raises UserError for anything else, and
    for a reward model with another tokenizer than the policy's.
    """
    if callable(reward):
        return reward if is_reward(reward) else function_reward(reward)
    if is_in_memory(reward):
        name = reward.removeprefix(IN_MEMORY).strip()
        raise UserError(f"the reward {name} was an object in memory: give it in Python, with reward=…")
    if not isinstance(reward, str | Path):
        raise UserError(f"the reward is a {type(reward).__name__}: give {POSSIBLE}, or a function in Python")
    if reward == "gold":
        return gold_reward(gold_judge())
    if reward == "lexicon":
        return lexicon_reward(lexicon())
    if Path(reward).is_dir():
        return reward_model(str(reward), policy, loading)
    if found := read_ensemble(str(reward)):
        folders, how, penalty = found
        return Ensemble(str(reward), tuple(reward_model(folder, policy, loading) for folder in folders), how, penalty)
    if ":" in str(reward):
        return load_function(str(reward))
    hint = f", as in {Path(reward).stem}:score" if str(reward).endswith(".py") else ""
    raise UserError(f"--reward {reward} is neither a folder nor a known reward: give {POSSIBLE}{hint}")


def environment_of(experience: Any, policy: LanguagePolicy) -> Maker | None:
    """What makes the environments of an experience; None where it has none. Raises UserError for an unknown name."""
    given = getattr(experience, "environment", None)
    return None if given is None else resolve_environment(given, policy.tokenizer, experience.tool_timeout)


def reward_folder(reward: Any) -> str:
    """The reward model's folder in a text, the first of an ensemble; "" if there is none."""
    if not isinstance(reward, str):
        return ""
    found = None if Path(reward).is_dir() else read_ensemble(reward)
    return resolve_model(found[0][0] if found else reward)


def reward_model(folder: str, policy: LanguagePolicy, loading: Loading = PLAIN) -> Reward:
    """The reward model of a run folder or a model's folder, on the policy's device."""
    model = resolve_model(folder)
    if not (Path(model) / "config.json").exists() and not is_adapter(model):
        problem = "an unfinished run" if (Path(folder) / "config.yaml").exists() else "a folder without a model"
        raise UserError(f"--reward {folder} is {problem}: give the folder of a finished `burnish reward` run")
    if not is_scorer(model):
        raise UserError(
            f"--reward {folder} is a model but not a reward model: train one with `burnish reward --model {folder}`"
        )
    how = dataclasses.replace(loading.elsewhere(), bits=None)  # its scores are what is learned from
    scorer = load_scorer(model, str(policy.device), policy.precision, option="--reward", loading=how)
    freeze(scorer, loading.dtype)
    return model_reward(scorer, policy.tokenizer, folder)


def is_scorer(model: str | Path) -> bool:
    """Whether a folder contains a reward model, as saved by `burnish reward` or transformers."""
    config = Path(model) / "config.json"
    if not str(model) or not config.exists():
        return bool(str(model)) and is_scorer_adapter(model)
    kinds = read_mapping(config).get("architectures") or []
    return isinstance(kinds, list) and any(str(kind).endswith("ForSequenceClassification") for kind in kinds)
