"""What `burnish evaluate` finds of a policy that learned from a reward: its completions of held-out prompts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from burnish.config import Settings
from burnish.config.build import written_value
from burnish.data.prompts import Prompts
from burnish.evaluation.collapse import TextStatistics, text_statistics
from burnish.evaluation.statistics import bootstrap_interval
from burnish.evaluation.text import distinct_n, word_lengths
from burnish.experience.interface import Source, silent
from burnish.functional import masked_sum
from burnish.policies.interface import Models, Sampler
from burnish.policies.language.loading import Loading
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import PolicySampler
from burnish.recipes.evaluate.written import PROMPTS, beside, beside_start
from burnish.recipes.gold import gold_judge
from burnish.recipes.sampler import loaded_sampler
from burnish.recipes.train.models import loading_of, say, teacher
from burnish.recipes.train.rewards import environment_of, resolve_reward
from burnish.recipes.train.rows import tokenised
from burnish.rewards.completed import Completed, Reward
from burnish.run import UserError
from burnish.run.world import ALONE, World


@dataclass(frozen=True)
class Rewarded:
    """Completions with a number each: score by the run's reward, gold score on built-in prompts, sequence KL."""

    completed: Completed
    score: Float[np.ndarray, "N"]
    gold: Float[np.ndarray, "N"] | None
    kl: Float[np.ndarray, "N"]
    logprobs: list[list[float]]


def online_findings(
    algorithm: Any,
    settings: Settings,
    policy: LanguagePolicy,
    start: LanguagePolicy,
    data: Any,
    count: int | None,
    seed: int,
    world: World = ALONE,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What `evaluation.json` says of a policy on the first `count` prompts of `data` (256 of them, or all), and a
    record a completion for `evaluation_samples.jsonl`.

    Every prompt is completed once, with the temperature and the limit that the run trained with, so that KL and score
    are of the policy that was trained; prompt i has random stream i, as for the other methods.
    """
    knobs = settings.experience
    assert knobs is not None
    prompts, count = held_out_prompts(algorithm, settings, policy, data, count)
    policy.temperature = start.temperature = knobs.temperature
    reward = reward_of(knobs.reward, policy, loading_of(settings)) if "reward" in knobs.needs else None
    say_once = cache(partial(say, settings))
    sampler, knobs = loaded_sampler(policy, settings, world), replace(knobs, rollout=count)
    measured = rewarded(policy, start, knobs, prompts, reward, data == "builtin", seed, say_once, sampler, world)
    found: dict[str, Any] = {"rows": len(prompts), "prefixes": count}
    found |= {
        "temperature": knobs.temperature,
        "max_new_tokens": knobs.max_new_tokens,
        "reward": str(written_value(knobs.reward)),
    }
    written = measured.completed
    statistics = text_statistics(written.responses, written.ended, measured.logprobs)
    ids, limit = prompts.ids[: min(count, PROMPTS)], knobs.max_new_tokens
    found |= means(measured)
    if knobs.environment is None:
        found |= beside_start(statistics, start, ids, seed, limit, knobs.temperature, world)
    else:
        found |= beside(statistics, dialogue_statistics(start, settings, knobs, prompts, seed, world))
    return found, completion_lines(measured)


def dialogue_statistics(
    start: LanguagePolicy, settings: Settings, knobs: Any, prompts: Prompts, seed: int, world: World = ALONE
) -> TextStatistics:
    """Statistics of a model's last messages in dialogues about the first prompts."""
    sampler, environment = loaded_sampler(start, settings, world), environment_of(knobs, start)
    source = Source(Models(policy=start), prompts, sampler, seed=seed, environment=environment, world=world)
    found = knobs.complete(source, range(min(knobs.rollout, PROMPTS)), 0)
    return text_statistics(found.completed.responses, found.completed.ended, found.sampled.logprobs)


def held_out_prompts(
    algorithm: Any, settings: Settings, policy: LanguagePolicy, data: Any, count: int | None
) -> tuple[Prompts, int]:
    """The prompts of `data`, and how many of them are completed: `count`, or by default 256 or all."""
    prompts: Prompts = tokenised(algorithm, settings, policy, data, "held_out")
    if count is not None and not 1 <= count <= len(prompts):
        raise UserError(f"--prefixes {count}: {prompts.name} has {len(prompts)} prompts: give a number from 1 to that")
    count = count or min(256, len(prompts))
    say(settings, prompts.describe() + f"; the first {count:,} are completed")
    return prompts, count


def own_findings(
    algorithm: Any,
    settings: Settings,
    policy: LanguagePolicy,
    start: LanguagePolicy,
    data: Any,
    count: int | None,
    seed: int,
    world: World = ALONE,
) -> dict[str, Any]:
    """What an experience from outside Burnish measures with its own `evaluate` on the first `count` prompts of `data`.

    Raises UserError where it has no `evaluate`.
    """
    experience: Any = settings.experience
    if not experience.evaluates:
        raise UserError(f"{type(experience).__name__} has no method evaluate: write one to evaluate its runs")
    prompts, count = held_out_prompts(algorithm, settings, policy, data, count)
    policy.temperature = start.temperature = experience.temperature
    models = Models(policy=policy, reference=start)
    if "teacher" in algorithm.roles:
        models = models.having(teacher=teacher(policy, settings))
    reward = reward_of(experience.reward, policy, loading_of(settings)) if "reward" in experience.needs else None
    environment = environment_of(experience, policy)
    sampler, say_once = loaded_sampler(policy, settings, world), cache(partial(say, settings))
    source = Source(models, prompts, sampler, reward, seed, say_once, environment, world=world)
    return {"rows": len(prompts), "prefixes": count} | experience.evaluate(source, count)


def reward_of(named: Any, policy: LanguagePolicy, loading: Loading) -> Reward:
    """The reward that a run's configuration names. Raises UserError where it is there no more."""
    try:
        return resolve_reward(named, policy, loading)
    except UserError as error:
        raise UserError(
            f"the run's reward is not available any more, so its scores cannot be computed: {error}"
        ) from error


@torch.no_grad()
def rewarded(
    policy: LanguagePolicy,
    start: LanguagePolicy,
    knobs: Any,
    prompts: Prompts,
    reward: Reward | None,
    with_gold: bool,
    seed: int,
    say_once: Callable[[str], None] = silent,
    sampler: Sampler | None = None,
    world: World = ALONE,
) -> Rewarded:
    """Complete the first `knobs.rollout` prompts, once each, and take every number of the same completions; the policy
    samples itself where there is no `sampler`.

    kl is Σ_t log π(y_t) − log π_start(y_t) with the sampler's own log-probabilities; see `evaluation.continuations`.
    """
    sampler, environment = sampler or PolicySampler(policy, world), environment_of(knobs, policy)
    source = Source(Models(policy=policy), prompts, sampler, reward, seed, say_once, environment, world=world)
    found = knobs.complete(source, range(knobs.rollout), 0)
    completed, batch = found.completed, found.completed.batch
    ours = np.array([sum(values) for values in found.sampled.logprobs])
    theirs = masked_sum(source.logprobs(start, batch), batch.mask, dim=-1).double().cpu().numpy()
    score = found.scores.cpu().numpy()
    gold = None
    if with_gold:
        gold = (
            score
            if reward is not None and reward.name == "gold"
            else np.asarray(gold_judge().score(completed.texts), dtype=float)
        )
    return Rewarded(completed, score, gold, ours - theirs, found.sampled.logprobs)


def means(measured: Rewarded) -> dict[str, Any]:
    """Score, gold score and KL with their intervals; length, diversity, and how many completions ended themselves."""
    written = measured.completed.responses
    found = {"score": bootstrap_interval(measured.score).as_dict()}
    if measured.gold is not None:
        found["gold"] = bootstrap_interval(measured.gold).as_dict()
    return found | {
        "kl": bootstrap_interval(measured.kl).as_dict(),
        "tokens": float(measured.completed.batch.mask.sum(-1).double().mean()),
        "words": float(np.mean(word_lengths(written))),
        "distinct_2": distinct_n(written, 2),
        "eos_rate": float(np.mean(measured.completed.ended)),
    }


def completion_lines(measured: Rewarded) -> list[dict[str, Any]]:
    """One JSON record a completion."""
    found = measured.completed
    lines = []
    for i in range(len(found)):
        line = {"row": found.rows[i], "prompt": found.prompts[i], "response": found.responses[i]}
        line["score"] = round(float(measured.score[i]), 4)
        if measured.gold is not None:
            line["gold"] = round(float(measured.gold[i]), 4)
        lines.append(line | {"kl": round(float(measured.kl[i]), 4), "ended": found.ended[i]})
    return lines
