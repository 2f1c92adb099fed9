"""`burnish constitution`: AI feedback on pairs of answers, as in the second half of Constitutional AI.

Source: Bai et al. (2022), "Constitutional AI: Harmlessness from AI Feedback", section 4.1. Differs: each pair is asked
about in both orders, whose probabilities are averaged, and the judge does not reason before it answers.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.evaluation.judge_server import JUDGE, server_judge
from burnish.evaluation.option_judges import OptionJudge, PolicyOptions, Reading, ServerOptions
from burnish.policies.language.fingerprint import fingerprint, hash_of
from burnish.policies.language.policy import load_policy
from burnish.recipes.answers import writer
from burnish.recipes.compare import LONGEST_TIMEOUT, is_url
from burnish.recipes.constitution import labels
from burnish.recipes.constitution.calls import ENDING, Call, CallFile
from burnish.recipes.constitution.principles import checked, drawn, principles_in
from burnish.recipes.label.pairs import different, pairs_in
from burnish.recipes.train.models import loading_of, pick_device, say
from burnish.recipes.train.run import prepare_torch
from burnish.run import UserError, writable_file, write_atomically
from burnish.run.web import address
from burnish.training.progress import Progress

SUMMARY = ".summary.json"


@dataclass(frozen=True)
class Feedback:
    """`rows` are the labels, `found` what became of the pairs: see `labels.summary`."""

    rows: list[dict[str, Any]]
    found: dict[str, Any]


def constitution(
    data: Any,
    principles: str | Path | Sequence[str],
    judge: str | Path,
    out: str | Path,
    *,
    budget: int | None = None,
    prompts: int | None = None,
    judge_model: str | None = None,
    judge_timeout: float = 60.0,
    base: Settings | None = None,
) -> Feedback:
    """Let a judge compare the two answers to each prompt of `data` by a principle drawn at random, and write soft
    labels to `out`.

    The judge is a language model, or the URL of a server that speaks OpenAI's protocol and gives log-probabilities. Its
    answers are appended to a file beside `out`, so that the same call goes on where a killed one ended. It is asked at
    most `budget` times in all, which counts what is in that file and requests that failed. Raises UserError for invalid
    input, and where the judge does not answer.
    """
    base = base or Settings()
    check(judge, judge_model, judge_timeout, budget)
    written = principles_in(principles) if isinstance(principles, str | Path) else checked(list(principles), "the list")
    path = writable_file(out)
    calls = path.with_name(path.name.removesuffix(".jsonl") + ENDING)
    if path.exists() and not calls.exists():
        raise UserError(f"{path} exists, without the calls that labels are made from: choose another --out")
    pairs = different(pairs_in(data, prompts))
    if not pairs:
        raise UserError(f"{data} has no pair of answers that differ: there is nothing to compare")
    file = CallFile(calls, {pair.key for pair in pairs})
    try:
        judging = resolved(judge, judge_model, judge_timeout, base)
        asked: list[tuple[Call, Call]] = []
        for pair in pairs:
            principle = drawn(written, base.seed, pair.key)
            asked.append((Call(pair, principle, 0, judging.identity), Call(pair, principle, 1, judging.identity)))
        ask(judging, asked, file, budget, base)
        made = [one for both in asked if (one := labels.judged(both, file.readings))]
        found = {"judge": judging.name} | labels.summary(asked, made, file.readings, file.requests)
    finally:
        file.close()
    rows = [labels.row(one, judging.name) for one in made]
    write(rows, found, path)
    for line in labels.sentences(found):
        say(base, line)
    return Feedback(rows, found)


def check(judge: str | Path, judge_model: str | None, judge_timeout: float, budget: int | None) -> None:
    """Raise UserError for invalid arguments, before anything is loaded."""
    if judge_model is not None and not is_url(judge):
        raise UserError(f"--judge-model {judge_model} is for a judge at a URL: give --judge http://…, or leave it out")
    if not 0 < judge_timeout <= LONGEST_TIMEOUT:
        raise UserError(f"--judge-timeout must lie in (0, {LONGEST_TIMEOUT}] seconds, not {judge_timeout:g}")
    if budget is not None and budget < 1:
        raise UserError(f"--budget must be at least 1, not {budget}")
    if is_url(judge):
        address(str(judge), JUDGE)


def resolved(judge: str | Path, model: str | None, timeout: float, base: Settings) -> OptionJudge:
    """The judge for `--judge`. Raises UserError for one that does not respond, or that is not a language model."""
    if is_url(judge):
        found = server_judge(str(judge), model, timeout=timeout)
        return ServerOptions(found.url, found.model, timeout)
    prepare_torch(base)
    policy = load_policy(writer(judge), pick_device(base.device), base.precision, loading=loading_of(base))
    identity = hash_of(fingerprint(policy))
    return PolicyOptions(f"{judge} ({identity[:12]})", policy, identity)


def ask(
    judge: OptionJudge, asked: Sequence[tuple[Call, Call]], file: CallFile, budget: int | None, base: Settings
) -> None:
    """Ask what the file has no answer to, pair by pair, as far as the budget goes.

    Raises UserError where a question fails for a reason that may pass, and where a judge that has never been read
    refuses all that it is asked at once; what was read is on disk.
    """
    waiting = list({call.key: call for calls in asked for call in calls if call.key not in file.readings}.values())
    with Progress("judging", len(waiting), quiet=base.quiet) as progress:
        while waiting:
            left = len(waiting) if budget is None else max(0, budget - file.requests)
            now, waiting = waiting[: min(judge.at_once, left)], waiting[min(judge.at_once, left) :]
            if not now:
                return
            answers = judge([call.question for call in now], None if budget is None else left)
            problem = ""
            for number, reading in answers if file.read else all_refused(answers):
                file.add(now[number], reading)
                problem = problem or (reading.problem if reading.failed else "")
                progress.step()
            if problem:
                raise stopped(judge, problem, file)


def all_refused(answers: Iterable[tuple[int, Reading]]) -> list[tuple[int, Reading]]:
    """The first answers of a judge, as failures if it refuses every question: then it is not asked the others."""
    found = list(answers)
    failed = all(reading.refused for _, reading in found)
    return [(number, replace(reading, failed=reading.failed or failed)) for number, reading in found]


def stopped(judge: OptionJudge, problem: str, file: CallFile) -> UserError:
    """The sentence for a judge that does not answer."""
    return UserError(
        f"the judge {judge.name} failed ({problem}): {len(file.readings):,} answers are kept in {file.path}; give the "
        "same command again to go on"
    )


def write(rows: Sequence[dict[str, Any]], found: dict[str, Any], path: Path) -> None:
    """Write the labels, and beside them what became of the pairs."""
    beside = path.with_name(path.name.removesuffix(".jsonl") + SUMMARY)
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_atomically(beside, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
