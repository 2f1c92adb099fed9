"""Rewards by name: what `--reward` accepts."""

import dataclasses
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.data.corpora import lexicon
from burnish.data.names import IN_MEMORY, TASK, is_in_memory
from burnish.data.tasks import gym, stream
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
from burnish.rewards.checkers import CHECKERS, Checker, checker
from burnish.rewards.completed import Reward
from burnish.rewards.ensemble import HOW, Ensemble, read_ensemble
from burnish.rewards.function import function_reward, is_reward, load_function
from burnish.rewards.model import ModelReward, model_reward
from burnish.rewards.sandbox.timed import timed
from burnish.rewards.weighted import Weighted, keys_of, read_weighted
from burnish.run import UserError, read_mapping

POSSIBLE = (
    f"a reward model's folder (several with commas), 'gold', 'lexicon', a checker ({', '.join(CHECKERS)}), or "
    "module:function"
)

GYM_SECONDS = 5.0
"""Of CPU time, for one answer to a task of reasoning_gym: some of its scorers evaluate what they are given."""


def resolve_reward(reward: Any, policy: LanguagePolicy, loading: Loading = PLAIN) -> Reward:
    """The reward for a text or a Python callable.

    'gold' and 'lexicon' are built in; `rewards.checkers` has those that check answers, and 'task' is the checker of the
    row's own task; an existing folder is a reward model (a run folder, or written by `save_pretrained`), and several
    folders separated by commas are an ensemble, see `read_ensemble`; `module:function`, or a function itself, is called
    with prompts, responses and the data's columns. Several of any kind, with weights or without, are a weighted sum,
    see `read_weighted`. Raises UserError for anything else, and for a reward model with another tokenizer than the
    policy's.
    """
    if callable(reward):
        return reward if is_reward(reward) else function_reward(reward)
    refuse_in_memory(reward, "reward")
    if not isinstance(reward, str | Path):
        raise UserError(f"the reward is a {type(reward).__name__}: give {POSSIBLE}, or a function in Python")
    text = str(reward)
    if Path(text).is_dir():
        return reward_model(text, policy, loading)
    if is_sum(text):
        pieces, weights = read_weighted(text)
        members = tuple(resolve_reward(piece, policy, loading) for piece in pieces)
        return Weighted(text, members, tuple(weights), keys_of(pieces))
    if built := named_reward(text):
        return built
    if found := read_ensemble(text):
        folders, how, penalty = found
        return Ensemble(text, tuple(reward_model(folder, policy, loading) for folder in folders), how, penalty)
    near = difflib.get_close_matches(text.partition(":")[0].lower(), [*CHECKERS, TASK, "gold", "lexicon"], n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    if ":" in text:
        try:
            return load_function(text)
        except UserError as error:
            raise UserError(f"{error}{hint}") from error
    hint = hint or (f", as in {Path(text).stem}:score" if text.endswith(".py") else "")
    raise UserError(f"--reward {text} is neither a folder nor a known reward: give {POSSIBLE}{hint}")


def is_sum(text: str) -> bool:
    """Whether a text names several rewards that are added up: not the folders of an ensemble."""
    if text.partition(":")[0].partition("=")[0] in HOW:
        return False
    pieces, _ = read_weighted(text)
    return len(pieces) > 1 and (pieces != text.split(",") or not all(map(is_folder_name, pieces)))


def is_folder_name(text: str) -> bool:
    """Whether a text can only name a folder: no colon, and no reward by name."""
    return ":" not in text and text not in (*CHECKERS, TASK, "gold", "lexicon")


def named_reward(text: str) -> Reward | None:
    """The built-in reward or checker that a text names; None if it names none."""
    if text == "gold":
        return gold_reward(gold_judge())
    if text == "lexicon":
        return lexicon_reward(lexicon())
    if text == TASK:
        return Checker(TASK, ("task", "answer", "metadata"), task_grade, optional=("metadata",))
    return checker(text)


def checking_part(text: str) -> Reward | None:
    """The first reward in a text that checks answers; None if none does."""
    if Path(text).is_dir() or text.partition(":")[0].partition("=")[0] in HOW:
        return None
    found = (named_reward(one) for one in read_weighted(text)[0] if one not in ("gold", "lexicon"))
    return next((one for one in found if one is not None), None)


def task_grade(response: str, row: tuple[Any, ...]) -> float:
    """How right a response is, 0 to 1, by the checker of the row's task."""
    task, answer, metadata = row
    if str(task).startswith(gym.PREFIX) and isinstance(metadata, dict):
        request = {"task": task.removeprefix(gym.PREFIX), "text": response, "entry": metadata}
        return timed("gym").score(request, GYM_SECONDS) or 0.0
    return float(stream.is_answer(response, str(answer)))


def refuse_in_memory(value: Any, option: str) -> None:
    """Raise UserError for the name of an object that no file could hold."""
    if is_in_memory(value):
        name = value.removeprefix(IN_MEMORY).strip()
        raise UserError(f"the {option} {name} was an object in memory: give it in Python, with {option}=…")


def environment_of(experience: Any, policy: LanguagePolicy) -> Maker | None:
    """What makes the environments of an experience; None where it has none. Raises UserError for an unknown name, and
    for one that was an object in memory."""
    given: Any = getattr(experience, "environment", None)
    refuse_in_memory(given, "environment")
    return None if given is None else resolve_environment(given, policy.tokenizer, experience.tool_timeout)


def reward_folder(reward: Any) -> str:
    """The reward model's folder in a text, the first of several; "" if there is none."""
    if not isinstance(reward, str):
        return ""
    if not Path(reward).is_dir():
        if is_sum(reward):
            return next((resolve_model(one) for one in read_weighted(reward)[0] if Path(one).is_dir()), "")
        if reward.partition(":")[0] in CHECKERS:
            return ""
    found = None if Path(reward).is_dir() else read_ensemble(reward)
    return resolve_model(found[0][0] if found else reward)


def reward_model(
    folder: str, policy: LanguagePolicy, loading: Loading = PLAIN, option: str = "--reward"
) -> ModelReward:
    """The reward model of a run folder or a model's folder, on the policy's device."""
    model = resolve_model(folder)
    if not (Path(model) / "config.json").exists() and not is_adapter(model):
        problem = "an unfinished run" if (Path(folder) / "config.yaml").exists() else "a folder without a model"
        raise UserError(f"{option} {folder} is {problem}: give the folder of a finished `burnish reward` run")
    if not is_scorer(model):
        raise UserError(
            f"{option} {folder} is a model but not a reward model: train one with `burnish reward --model {folder}`"
        )
    how = dataclasses.replace(loading.elsewhere(), bits=None)  # its scores are what is learned from
    scorer = load_scorer(model, str(policy.device), policy.precision, option=option, loading=how)
    freeze(scorer, loading.dtype)
    return model_reward(scorer, policy.tokenizer, folder)


def reward_models(reward: Any) -> Iterator[ModelReward]:
    """The reward models in a reward."""
    if isinstance(reward, Ensemble):
        for member in reward.members:
            yield from reward_models(member)
    elif isinstance(reward, ModelReward):
        yield reward


def resolve_jury(text: str, reward: Any, policy: LanguagePolicy, loading: Loading = PLAIN) -> tuple[ModelReward, ...]:
    """The reward models that `--watch-rewards` names; those of the run's own `reward` are not loaded twice."""
    there = {one.name: one for one in reward_models(reward)}
    names = [one.strip() for one in text.split(",") if one.strip()]
    return tuple(there.get(name) or reward_model(name, policy, loading, "--watch-rewards") for name in names)


def is_scorer(model: str | Path) -> bool:
    """Whether a folder contains a reward model, as saved by `burnish reward` or transformers."""
    config = Path(model) / "config.json"
    if not str(model) or not config.exists():
        return bool(str(model)) and is_scorer_adapter(model)
    kinds = read_mapping(config).get("architectures") or []
    return isinstance(kinds, list) and any(str(kind).endswith("ForSequenceClassification") for kind in kinds)
