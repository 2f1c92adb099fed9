"""Judges that say how probable each of two options is: the log-probabilities of exactly the two option tokens.

A question ends where the option's letter comes next. A judge without an answer says why, and never guesses.
"""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from scipy.special import expit

from burnish.batches import Demonstrations
from burnish.data import tokenise
from burnish.evaluation.judge_server import JUDGE
from burnish.functional import action_logprobs
from burnish.policies.language.policy import LanguagePolicy
from burnish.run import UserError, without_keys
from burnish.run.web import FailedRequestError, endpoint, request

OPTIONS = ("A", "B")
BEGUN = "The answer is: ("
"""How the judge's own answer begins, before the letter."""
SAY = "Which option is better? Say A or B, and nothing else."
TOP = 20
"""The likeliest tokens that a server is asked for: the most that OpenAI's protocol allows."""
UNCUT = 2**31

READ, UNREAD, FAILED = "read", "unread", "failed"


@dataclass(frozen=True)
class Reading:
    """What a judge said to one question.

    `logprobs` are those of the two option tokens, in the order of `OPTIONS`, among all tokens; None where it has no
    answer. Then `problem` says why: the question is UNREAD if asking again would not help, and FAILED if it may.
    `requests` is how often the judge was asked. A question is `refused` if what it asks for may be at fault, rather
    than its text: a judge that refuses all questions will not answer others.
    """

    logprobs: tuple[float, float] | None
    problem: str = ""
    requests: int = 1
    failed: bool = False
    refused: bool = False

    @property
    def kind(self) -> str:
        return READ if self.logprobs is not None else FAILED if self.failed else UNREAD


class OptionJudge(Protocol):
    """Protocol of these judges; `name` is its name for the user, `identity` says which judge exactly it is."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def at_once(self) -> int:
        """How many questions it takes at a time."""
        ...

    def __call__(self, questions: Sequence[str], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        """The position of each question and what was read, as soon as it is there, with at most `most` requests, which
        are as many as questions or more."""
        ...


def share(logprobs: Sequence[float]) -> float:
    """The probability of the first option among the two: σ(log p₁ − log p₂)."""
    return float(expit(logprobs[0] - logprobs[1]))


@dataclass(frozen=True)
class PolicyOptions:
    """Judges with a language model in this process.

    A model with a chat template is asked as a user asks, and its answer begins with `BEGUN`; one without continues the
    text. The option tokens are where the tokens of the two continued texts differ, which is the last place of both.
    """

    name: str
    policy: LanguagePolicy
    identity: str
    at_once: int = 8

    @torch.no_grad()
    def __call__(self, questions: Sequence[str], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        rows = [self.rows(question) for question in questions]
        longest = self.policy.context or UNCUT
        fit = [number for number, (first, _) in enumerate(rows) if len(first) <= longest]
        found = dict(zip(fit, self.read([rows[number] for number in fit]), strict=True))
        for number, (first, _) in enumerate(rows):
            problem = f"the question has {len(first)} tokens, and the judge reads {longest}"
            yield number, found.get(number) or Reading(None, problem)

    def rows(self, question: str) -> tuple[list[int], list[int]]:
        """The ids of the question with either option. Raises UserError where the options are not one token each."""
        tokenizer = self.policy.tokenizer
        if tokenizer.chat_template:
            asked = {"role": "user", "content": f"{question}\n\n{SAY}"}
            texts: list[Any] = [[asked, {"role": "assistant", "content": BEGUN + option}] for option in OPTIONS]
        else:
            texts = [f"{question}\n\n{BEGUN}{option}" for option in OPTIONS]
        first, second = tokenise.prompts(texts, tokenizer, UNCUT, "the judge's question")
        if len(first) != len(second) or first[:-1] != second[:-1] or first[-1] == second[-1]:
            raise UserError(
                f"the tokenizer of {self.name} does not write the options A and B as one token each: choose another "
                "--judge"
            )
        return first, second

    def read(self, rows: Sequence[tuple[list[int], list[int]]]) -> Iterator[Reading]:
        """What the model gives each pair of rows, which differ in their last ids alone."""
        if not rows:
            return
        self.policy.dropout(False)
        lengths = torch.tensor([len(first) for first, _ in rows])
        tokens = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
        for number, (first, _) in enumerate(rows):
            tokens[number, : len(first)] = torch.tensor(first)
        mask = torch.arange(tokens.shape[1]) == lengths[:, None] - 1
        batch = Demonstrations(tokens, mask, lengths, torch.arange(len(rows))).to(self.policy.device)
        logits = self.policy.logits(self.policy.states(batch))
        options = torch.tensor([[first[-1], second[-1]] for first, second in rows], device=logits.device)
        for one in torch.stack([action_logprobs(logits, side) for side in options.unbind(1)], 1).double().tolist():
            known = all(math.isfinite(number) for number in one)
            problem = "" if known else f"the judge's log-probabilities of A and B are {one[0]:g} and {one[1]:g}"
            yield Reading((one[0], one[1]) if known else None, problem)


@dataclass(frozen=True)
class ServerOptions:
    """Judges with `model` on the server at `url` (up to `/v1`), which has to give the likeliest first tokens.

    Each request may take `timeout` seconds; each question gets up to `tries` requests, with pauses after failures that
    start at `pause` seconds and double.
    """

    url: str
    model: str
    timeout: float = 60.0
    tries: int = 3
    pause: float = 1.0
    at_once: int = 4

    @property
    def name(self) -> str:
        return f"{self.model} at {without_keys(self.url)}"

    @property
    def identity(self) -> str:
        return self.name

    def __call__(self, questions: Sequence[str], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        tries = self.tries if most is None else min(self.tries, most // len(questions))
        workers = ThreadPoolExecutor(self.at_once)
        try:
            waiting = {workers.submit(self.ask, text, tries): number for number, text in enumerate(questions)}
            for one in as_completed(waiting):
                yield waiting[one], one.result()
        finally:
            workers.shutdown(wait=False, cancel_futures=True)

    def ask(self, question: str, tries: int) -> Reading:
        """What the server says to a question."""
        message = {"role": "user", "content": f"{question}\n\n{SAY}"}
        body = {"model": self.model, "messages": [message], "temperature": 0, "max_tokens": 1, "stream": False}
        body |= {"logprobs": True, "top_logprobs": TOP}
        problem = ""
        for number in range(1, tries + 1):
            if number > 1:
                time.sleep(self.pause * 2 ** (number - 2))
            try:
                return in_reply(request(endpoint(self.url, "chat/completions"), self.timeout, JUDGE, body), number)
            except FailedRequestError as error:
                problem = str(error)
                if not error.again:
                    return Reading(None, problem, number, refused=True)
            except UserError as error:  # a refused key or a wrong URL
                return Reading(None, str(error), number, failed=True)
        return Reading(None, problem, tries, failed=True)


def in_reply(reply: Any, requests: int = 1) -> Reading:
    """The log-probabilities of the tokens `A` and `B` at the first place of a reply."""
    try:
        listed = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found = {str(one["token"]): float(one["logprob"]) for one in reversed(listed)}
    except (KeyError, IndexError, TypeError, ValueError):
        return Reading(None, f"a reply without the likeliest tokens: {str(reply)[:200]}", requests, refused=True)
    missing = [option for option in OPTIONS if not math.isfinite(found.get(option, math.nan))]
    if missing:
        likeliest = ", ".join(map(repr, list(found)[::-1][:5])) or "none"
        problem = f"{' and '.join(missing)} not among the {len(listed)} likeliest tokens ({likeliest})"
        return Reading(None, problem, requests)
    return Reading((found["A"], found["B"]), "", requests)
