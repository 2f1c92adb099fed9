"""`burnish constitution`: AI feedback on pairs of answers, as in the second half of Constitutional AI.

Source: Bai et al. (2022), "Constitutional AI: Harmlessness from AI Feedback", section 4. Differs: each pair is asked
about in both orders, whose probabilities are averaged before they are clamped, and no examples come before a question.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.data.names import named
from burnish.evaluation.judge_server import JUDGE
from burnish.evaluation.option_judges import PolicyOptions, Question, ServerOptions
from burnish.evaluation.readings import Answerer
from burnish.evaluation.served_model import found_at
from burnish.evaluation.writers import PolicyWriter, ServerWriter, Talk
from burnish.recipes.compare import is_url
from burnish.recipes.constitution import labels
from burnish.recipes.constitution.agreement import agreement, sentences
from burnish.recipes.constitution.asking import Asking
from burnish.recipes.constitution.calls import ENDING, FEEDBACK, OPTIONS, TEXT, CallFile
from burnish.recipes.constitution.comparing import Comparison
from burnish.recipes.constitution.files import begun, check_limits, check_rows, identity_of, loaded, write
from burnish.recipes.constitution.people import mixing, sentence, unordered
from burnish.recipes.constitution.principles import drawn, principles_of
from burnish.recipes.label.pairs import different, pairs_in
from burnish.recipes.train.models import say
from burnish.run import UserError, companion
from burnish.run.web import address

THOUGHT_TOKENS = 256


@dataclass(frozen=True)
class Feedback:
    """`rows` are the labels, `found` what became of the pairs: see `labels.summary`."""

    rows: list[dict[str, Any]]
    found: dict[str, Any]


@dataclass(frozen=True)
class Judging:
    """Who gives the probabilities, and who reasons before, if anybody does."""

    options: Answerer[Question]
    reasoner: Answerer[Talk] | None = None


def constitution(
    data: Any,
    principles: str | Path | Sequence[str],
    judge: str | Path,
    out: str | Path,
    *,
    reason: bool = False,
    clamp: tuple[float, float] | None = None,
    people: Any = None,
    ai_share: float | None = None,
    max_new_tokens: int | None = None,
    budget: int | None = None,
    budget_tokens: int | None = None,
    prompts: int | None = None,
    judge_model: str | None = None,
    judge_timeout: float = 60.0,
    base: Settings | None = None,
) -> Feedback:
    """Let a judge compare the two answers to each prompt of `data` by a principle drawn at random, and write soft
    labels to `out`.

    The judge is a language model, or the URL of a server that speaks OpenAI's protocol and gives log-probabilities. Its
    answers are appended to a file beside `out`, so that the same call goes on where a killed one ended. It is asked at
    most `budget` times in all, which counts what is in that file and requests that failed, and no more once a server
    has counted `budget_tokens`. With `reason` it writes up to `max_new_tokens` tokens before each probability, and
    labels lie within `clamp`, by default 0.4 and 0.6. With `people`, their comparisons, the judge's labels are the
    share `ai_share` of what is written. Raises UserError for invalid input, and where the judge does not answer.
    """
    base = base or Settings()
    check(judge, judge_model)
    check_limits(budget, budget_tokens, judge_timeout, "--judge-timeout")
    bounds = bounds_of(clamp, reason, max_new_tokens)
    written = [one.text for one in principles_of(principles)]
    path = begun(out, FEEDBACK, data, people, principles if isinstance(principles, str | Path) else None)
    mix = mixing(people, ai_share, base.seed)
    left_out: Counter[str] = Counter()
    read = pairs_in(data, prompts, left_out)
    pairs = different(read, lambda one: unordered(one.prompt, one.a, one.b))
    if not pairs:
        raise UserError(f"{named(data)} has no pair of answers that differ: there is nothing to compare")
    equal = sum(one.a == one.b for one in read)
    left_out += Counter(equal=equal, repeated=len(read) - equal - len(pairs))  # without what is 0
    file = CallFile(companion(path, ENDING), {pair.key for pair in read})
    try:
        who = resolved(judge, judge_model, judge_timeout, max_new_tokens or THOUGHT_TOKENS if reason else None, base)
        identities = who.options.identity, None if who.reasoner is None else who.reasoner.identity
        asked = [
            Comparison.of(pair, drawn(written, base.seed, pair.key), *identities)
            for pair in (pairs if mix is None else mix.to_ask(pairs))
        ]
        answerers: dict[str, Answerer[Any]] = {OPTIONS: who.options}
        answerers |= {} if who.reasoner is None else {TEXT: who.reasoner}
        at_once = max(1, (who.reasoner or who.options).at_once // 2)
        Asking(answerers, file, budget, 2 * len(answerers), budget_tokens).go_on(asked, at_once, "judging", base.quiet)
        made = [done for one in asked if (done := labels.judged(one, file.readings))]
        found: dict[str, Any] = {"judge": who.options.name} | labels.summary(
            asked, made, file.readings, file.requests, bounds
        )
    finally:
        file.close()
    found |= {"tokens": file.tokens, "reason": reason, "clamp": list(bounds), "left_out": dict(left_out)}
    rows = [labels.row(one, who.options.name, bounds) for one in made]
    told = agreement(made)
    found |= {} if told is None else {"agreement": told}
    for line in [*labels.sentences(found), *(sentences(told) if told else [])]:
        say(base, line)
    if mix is not None:
        rows = mix.mixed(pairs, rows)
        found["people"] = mix.facts(rows)
        say(base, sentence(found["people"]))
    check_rows(rows, found, path)
    write(rows, found, path)
    return Feedback(rows, found)


def bounds_of(clamp: tuple[float, float] | None, reason: bool, max_new_tokens: int | None) -> labels.Bounds:
    """What labels are clamped to. Raises UserError for bounds that are none, and for an option of reasoning without
    it."""
    if max_new_tokens is not None:
        if not reason:
            raise UserError(f"--max-new-tokens {max_new_tokens} is for --reason: give that too, or leave it out")
        if max_new_tokens < 1:
            raise UserError(f"--max-new-tokens must be at least 1, not {max_new_tokens}")
    if clamp is None:
        return labels.REASONED if reason else labels.UNCLAMPED
    low, high = clamp
    if not (0 <= low < 0.5 < high <= 1 and abs(low + high - 1) < 1e-9):
        raise UserError(
            f"--clamp {low:g} {high:g} must lie around 0.5 evenly, such as 0.4 0.6: which answer is named first means "
            "nothing"
        )
    return low, high


def check(judge: str | Path, judge_model: str | None) -> None:
    """Raise UserError for a judge that is none, before anything is loaded."""
    if judge_model is not None and not is_url(judge):
        raise UserError(f"--judge-model {judge_model} is for a judge at a URL: give --judge http://…, or leave it out")
    if is_url(judge):
        address(str(judge), JUDGE)


def resolved(judge: str | Path, model: str | None, timeout: float, tokens: int | None, base: Settings) -> Judging:
    """The judge for `--judge`, which reasons first with up to so many `tokens`, if any. Its thoughts are the likeliest
    ones. Raises UserError for a judge that does not respond, or that is not a language model."""
    if is_url(judge):
        url, name = found_at(str(judge), model, timeout, JUDGE, "--judge-model")
        options = ServerOptions(url, name, timeout)
        if tokens is None:
            return Judging(options)
        return Judging(options, ServerWriter(url, name, timeout, peer=JUDGE, max_new_tokens=tokens, temperature=0.0))
    policy, name, checksum = loaded(judge, base)
    which = identity_of(policy, checksum)
    local = PolicyOptions(name, policy, which)
    return Judging(local, None if tokens is None else PolicyWriter(name, policy, which, tokens, temperature=0.0))
