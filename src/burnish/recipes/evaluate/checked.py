"""What `burnish evaluate` finds where answers can be checked: accuracy and pass@k, before and after training.

An answer is a completion, or where an environment answers the policy a dialogue.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.config import Settings
from burnish.data import names, sources
from burnish.data.mixture import read_all_prompts
from burnish.data.prompts import Prompts
from burnish.evaluation.pass_at_k import mean_pass_at_k, some_k
from burnish.experience.interface import Source
from burnish.experience.language.dialogues import play
from burnish.experience.language.sampling import Sampling, completed_rows
from burnish.policies.interface import Models, SamplingKnobs
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.sampler import loaded_sampler
from burnish.recipes.train.models import say
from burnish.recipes.train.rewards import checking_part, environment_of
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
    """What is sampled of each prompt: so many answers, of so many tokens, at a temperature; `dialogues` are the options
    of dialogues where these are the answers."""

    samples: int
    max_new_tokens: int
    temperature: float = 1.0
    keep_special_tokens: bool = False
    dialogues: Sampling | None = None

    def knobs(self, seed: int) -> SamplingKnobs:
        """How a message is drawn."""
        return SamplingKnobs(seed, self.max_new_tokens, self.temperature)


def checker_for(settings: Settings, data: Any) -> Reward | None:
    """What says whether an answer is right: the checker of the tasks in `data`, or the one among the run's rewards that
    comes first; None where there is none."""
    text = names.text_of(data)
    if text is not None and names.held_out_tasks(text) is not None:
        return checking_part(names.TASK)
    reward = getattr(settings.experience, "reward", None)
    return checking_part(reward) if isinstance(reward, str) else None


def decided_by_environment(settings: Settings) -> bool:
    """Whether an environment alone says how good a dialogue is."""
    own = settings.experience
    return isinstance(own, Sampling) and own.environment is not None and own.reward is None


def answers_of(settings: Settings, samples: int | None, max_new_tokens: int | None) -> Answers:
    """How a run's answers are sampled: with its own limit and temperature, where it learned from samples."""
    own = settings.experience
    if isinstance(own, Sampling):
        played = None if own.environment is None else own
        return Answers(samples or SAMPLES, own.max_new_tokens, own.temperature, own.keep_special_tokens, played)
    return Answers(samples or SAMPLES, max_new_tokens or Sampling.max_new_tokens)


def answer_findings(
    algorithm: Any,
    settings: Settings,
    policy: LanguagePolicy,
    start: LanguagePolicy,
    data: Any,
    checker: Reward | None,
    how: Answers,
    count: int | None,
    seed: int,
    world: World = ALONE,
) -> dict[str, Any]:
    """Accuracy and pass@k of the first `count` prompts (256, or all), of the run's model and the one it began as.

    Both answer with the same random streams. An answer is right where its checker gives at least 1; without a checker a
    dialogue is right where its environment gave at least 1 altogether.
    """
    prompts = prompts_for(algorithm, settings, policy, data, how)
    if count is not None and not 1 <= count <= len(prompts):
        raise UserError(f"--prefixes {count}: {prompts.name} has {len(prompts)} prompts: give a number from 1 to that")
    count = min(len(prompts), count or PROMPTS)
    say(settings, f"{count} prompts are answered {how.samples} times, by the model before training and after")
    environment = environment_of(how.dialogues, policy)
    found: dict[str, Any] = {"prompts": count, "samples_per_prompt": how.samples}
    found["checker"] = checker.name if checker is not None else environment.name if environment is not None else ""
    difficulties = prompts.columns.get("difficulty")
    groups = [str(one) for one in difficulties[:count]] if difficulties else None
    says = None if checker is None else divided(checker, world)
    for name, model in (("before", start), ("after", policy)):
        sampler = loaded_sampler(model, settings, world)
        source = Source(Models(policy=model), prompts, sampler, says, seed, environment=environment, world=world)
        right = right_answers(source, count, how)
        found[name] = summary(right, how.samples, groups)
    return {"answers": found}


def prompts_for(algorithm: Any, settings: Settings, policy: LanguagePolicy, data: Any, how: Answers) -> Prompts:
    if settings.experience is not None:
        return tokenised(algorithm, settings, policy, data, "held_out")
    room = min(settings.max_length, policy.context or settings.max_length) - how.max_new_tokens
    return read_all_prompts(sources.load_parts(data), policy.tokenizer, max(1, room))


def right_answers(source: Source, count: int, how: Answers) -> list[int]:
    """How many of each prompt's answers are right. Answer k to prompt i has random stream i·n + k, a dialogue one for
    each of its turns."""
    right = Counter[int]()
    every = [(i, i * how.samples + k) for i in range(count) for k in range(how.samples)]
    size = ROWS_AT_ONCE if how.dialogues is None else at_once(how.dialogues)
    for first in range(0, len(every), size):
        which, streams = map(list, zip(*every[first : first + size], strict=True))
        scores = scores_of(source, which, streams, how)
        right.update(i for i, score in zip(which, scores, strict=True) if score >= 1)
    return [right[i] for i in range(count)]


def at_once(knobs: Sampling) -> int:
    """How many dialogues are played at once: as many as in training, which an environment has to bear."""
    return max(1, (knobs.rollout or 1) * knobs.rows_per_prompt)


def scores_of(source: Source, which: Sequence[int], streams: Sequence[int], how: Answers) -> list[float]:
    """The scores of answers to the prompts `which`, by the checker or else by the environment."""
    policy, knobs = source.models.policy, how.knobs(source.seed)
    if how.dialogues is None:
        sampled = source.sampler.sample([source.prompts.ids[i] for i in which], streams, knobs)
        decoder = Decoder.of(policy, how.keep_special_tokens)
        return checked_scores(source.reward, completed_rows(policy, source.prompts, which, sampled, decoder))
    limits, turns = how.dialogues.limits(source), how.dialogues.max_turns
    played = play(source, which, 0, knobs, [stream * turns for stream in streams], limits)
    return played.earned.sum(-1).tolist() if source.reward is None else checked_scores(source.reward, played.completed)


def summary(right: list[int], samples: int, groups: list[str] | None) -> dict[str, Any]:
    """Accuracy, pass@k for k up to the number of samples, and both by difficulty, each with its 95 % interval."""
    found: dict[str, Any] = {"accuracy": mean_pass_at_k(right, samples, 1).as_dict()}
    found["pass_at_k"] = every_pass_at_k(right, samples)
    if groups and len(set(groups)) <= MOST_DIFFICULTIES:
        of: dict[str, list[int]] = {one: [] for one in sorted(set(groups), key=lambda text: (len(text), text))}
        for group, count in zip(groups, right, strict=True):
            of[group].append(count)
        found["by_difficulty"] = {
            one: mean_pass_at_k(counts, samples, 1).as_dict()
            | {"prompts": len(counts), "pass_at_k": every_pass_at_k(counts, samples)}
            for one, counts in of.items()
        }
    return found


def every_pass_at_k(right: list[int], samples: int) -> dict[str, Any]:
    """pass@k for k up to the number of samples."""
    return {str(k): mean_pass_at_k(right, samples, k).as_dict() for k in some_k(samples)}
