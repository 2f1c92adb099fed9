"""Answers of models to prompts, for people and judges who compare them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from burnish.config import Settings
from burnish.data.prompts import Prompts
from burnish.evaluation.collapse import TextStatistics, text_statistics
from burnish.experience.language.sampling import completed_rows
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import Sampled, sample
from burnish.recipes.assets import resolve_model
from burnish.recipes.train.models import say
from burnish.recipes.train.rewards import is_scorer
from burnish.rewards.completed import Completed
from burnish.run import UserError
from burnish.training.progress import Progress

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Written:
    """One model's completions, with the sampler's log-probabilities."""

    completed: Completed
    logprobs: list[list[float]]

    def statistics(self) -> TextStatistics:
        return text_statistics(self.completed.responses, self.completed.ended, self.logprobs)


def writer(name: str | Path) -> str:
    """The model to load for a name. Raises UserError where it is not a language model."""
    model = resolve_model(name)
    if (str(name).startswith((".", "/", "~")) or str(name).count("/") > 1) and not Path(name).exists():
        raise UserError(f"no such folder {name}: give a run folder, a model folder, or a model name")
    if model == str(name) and (Path(name) / "config.yaml").exists():
        raise UserError(f"{name} is an unfinished run: finish it with --resume, or give another model")
    if is_scorer(model):
        raise UserError(f"{name} is a reward model, which cannot generate text: give a language model")
    return model


def answers(
    policy: LanguagePolicy,
    prompts: Prompts,
    name: str,
    max_new_tokens: int,
    temperature: float,
    base: Settings,
    keep_special_tokens: bool = False,
    streams: Callable[[int], int] = lambda row: row,
) -> Written:
    """One completion per prompt; that of row i is drawn from stream `streams(i)` and does not depend on other rows."""
    whole = Sampled([], [], [])
    starts = range(0, len(prompts), ROWS_AT_ONCE)
    with Progress(name, len(starts), quiet=base.quiet) as progress:
        for start in starts:
            which = slice(start, start + ROWS_AT_ONCE)
            found = sample(
                policy,
                prompts.ids[which],
                seed=base.seed,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                streams=[streams(row) for row in prompts.rows[which]],
            )
            whole.tokens.extend(found.tokens)
            whole.logprobs.extend(found.logprobs)
            whole.ended.extend(found.ended)
            progress.step()
    decoder = Decoder.of(policy, keep_special_tokens)
    decoder.warn(whole.tokens, lambda sentence: say(base, sentence.replace("completions", f"answers of {name}")))
    return Written(completed_rows(policy, prompts, list(range(len(prompts))), whole, decoder), whole.logprobs)
