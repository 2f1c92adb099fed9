"""What `burnish evaluate` finds where answers can be checked: accuracy and pass@k, before and after training."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from burnish.config import Settings
from burnish.data import names, sources
from burnish.data.mixture import read_all_prompts
from burnish.data.prompts import Prompts
from burnish.evaluation.pass_at_k import mean_pass_at_k, some_k
from burnish.experience.language.sampling import Sampling, completed_rows
from burnish.policies.interface import Sampler, SamplingKnobs
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.sampler import loaded_sampler
from burnish.recipes.train.models import say
from burnish.recipes.train.rewards import checking_part
from burnish.recipes.train.rows import tokenised
from burnish.rewards.completed import Reward, checked_scores
from burnish.rewards.divided import divided
from burnish.run import UserError
from burnish.run.world import ALONE, World

SAMPLES, PROMPTS = 64, 256
ROWS_AT_ONCE = 1024
MOST_DIFFICULTIES = 20
"""With more values than this, a difficulty is a name of its prompts rather than a class of them."""


@dataclass(frozen=True)
class Answers:
    """What is sampled of each prompt: so many completions, of so many tokens, at a temperature."""

    samples: int
    max_new_tokens: int
    temperature: float = 1.0
    keep_special_tokens: bool = False


def checker_for(settings: Settings, data: Any) -> Reward | None:
    """What says whether an answer is right: the checker of the tasks in `data`, or the one among the run's rewards that
    comes first; None where there is none."""
    text = names.text_of(data)
    if text is not None and names.held_out_tasks(text) is not None:
        return checking_part(names.TASK)
    reward = getattr(settings.experience, "reward", None)
    return checking_part(reward) if isinstance(reward, str) else None


def answers_of(settings: Settings, samples: int | None, max_new_tokens: int | None) -> Answers:
    """How a run's answers are sampled: with its own limit and temperature, where it learned from samples."""
    own = settings.experience
    if isinstance(own, Sampling):
        return Answers(samples or SAMPLES, own.max_new_tokens, own.temperature, own.keep_special_tokens)
    return Answers(samples or SAMPLES, max_new_tokens or Sampling.max_new_tokens)


def answer_findings(
    algorithm: Any,
    settings: Settings,
    policy: LanguagePolicy,
    start: LanguagePolicy,
    data: Any,
    checker: Reward,
    how: Answers,
    count: int | None,
    seed: int,
    world: World = ALONE,
) -> dict[str, Any]:
    """Accuracy and pass@k of the first `count` prompts (256, or all), of the run's model and the one it began as.

    Both answer with the same random streams. An answer is right where its checker gives at least 1.
    """
    prompts = prompts_for(algorithm, settings, policy, data, how)
    if count is not None and not 1 <= count <= len(prompts):
        raise UserError(f"--prefixes {count}: {prompts.name} has {len(prompts)} prompts: give a number from 1 to that")
    count = min(len(prompts), count or PROMPTS)
    say(settings, f"{count} prompts are answered {how.samples} times, by the model before training and after")
    found = {"prompts": count, "samples_per_prompt": how.samples, "checker": checker.name}
    difficulties = prompts.columns.get("difficulty")
    groups = [str(one) for one in difficulties[:count]] if difficulties else None
    for name, model in (("before", start), ("after", policy)):
        sampler = loaded_sampler(model, settings, world)
        right = right_answers(model, sampler, prompts, count, divided(checker, world), how, seed)
        found[name] = summary(right, how.samples, groups)
    return {"answers": found}


def prompts_for(algorithm: Any, settings: Settings, policy: LanguagePolicy, data: Any, how: Answers) -> Prompts:
    if settings.experience is not None:
        return tokenised(algorithm, settings, policy, data, "held_out")
    room = min(settings.max_length, policy.context or settings.max_length) - how.max_new_tokens
    return read_all_prompts(sources.load_parts(data), policy.tokenizer, max(1, room))


def right_answers(
    model: LanguagePolicy,
    sampler: Sampler,
    prompts: Prompts,
    count: int,
    checker: Reward,
    how: Answers,
    seed: int,
) -> list[int]:
    """How many of each prompt's completions are right. Completion k of prompt i has random stream i·n + k."""
    knobs, decoder = (
        SamplingKnobs(seed, how.max_new_tokens, how.temperature),
        Decoder.of(model, how.keep_special_tokens),
    )
    right = Counter[int]()
    every = [(i, i * how.samples + k) for i in range(count) for k in range(how.samples)]
    for first in range(0, len(every), ROWS_AT_ONCE):
        which, streams = map(list, zip(*every[first : first + ROWS_AT_ONCE], strict=True))
        sampled = sampler.sample([prompts.ids[i] for i in which], streams, knobs)
        scores = checked_scores(checker, completed_rows(model, prompts, which, sampled, decoder))
        right.update(i for i, score in zip(which, scores, strict=True) if score >= 1)
    return [right[i] for i in range(count)]


def summary(right: list[int], samples: int, groups: list[str] | None) -> dict[str, Any]:
    """Accuracy, pass@k for k up to the number of samples, and accuracy by difficulty, each with its 95 % interval."""
    found: dict[str, Any] = {"accuracy": mean_pass_at_k(right, samples, 1).as_dict()}
    found["pass_at_k"] = {str(k): mean_pass_at_k(right, samples, k).as_dict() for k in some_k(samples)}
    if groups and len(set(groups)) <= MOST_DIFFICULTIES:
        found["by_difficulty"] = {
            one: mean_pass_at_k(
                [c for c, group in zip(right, groups, strict=True) if group == one], samples, 1
            ).as_dict()
            | {"prompts": groups.count(one)}
            for one in sorted(set(groups), key=lambda text: (len(text), text))
        }
    return found
