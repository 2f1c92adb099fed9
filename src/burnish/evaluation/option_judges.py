"""Judges that say how probable each of two options is: the log-probabilities of exactly the two option tokens.

A question ends where the option's letter comes next. A judge without an answer says why, and never guesses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy.special import expit

from burnish.batches import Demonstrations
from burnish.data import tokenise
from burnish.evaluation.judge_server import JUDGE
from burnish.evaluation.readings import Reading, not_logprobs, number_of
from burnish.evaluation.served_model import ServedModel, brief
from burnish.evaluation.writers import Talk
from burnish.functional import action_logprobs
from burnish.policies.language.policy import LanguagePolicy
from burnish.run import UserError
from burnish.run.web import Peer

OPTIONS = ("A", "B")
BEGUN = "The answer is: ("
"""How the judge's own answer begins, before the letter."""
THINK = "Which option is better, and why? Let's think step by step."
STEPS = "Let's think step by step:"
SAY = "Which option is better? Say A or B, and nothing else."
TOP = 20
"""The likeliest tokens that a server is asked for: the most that OpenAI's protocol allows."""


@dataclass(frozen=True)
class Question:
    """A question with two options; `thought` is what the judge has said about it, if it reasons first."""

    text: str
    thought: str | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        if self.thought is None:
            return [{"role": "user", "content": f"{self.text}\n\n{SAY}"}]
        begun = [*reasoning(self.text).messages, {"role": "assistant", "content": self.thought}]
        return [*begun, {"role": "user", "content": SAY}]

    @property
    def plain(self) -> str:
        """The question for a model without a chat template."""
        return self.text if self.thought is None else reasoning(self.text).text + self.thought


def reasoning(text: str) -> Talk:
    """What a judge is asked for its reasoning about a question."""
    return Talk([{"role": "user", "content": f"{text}\n\n{THINK}"}], f"{text}\n\n{STEPS}")


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
    def __call__(self, questions: Sequence[Question], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        longest = self.policy.context
        rows: dict[int, tuple[list[int], list[int]]] = {}
        for number, row in enumerate(self.rows(questions)):
            if isinstance(row, str):
                yield number, Reading(None, row, requests=0)
            elif longest is not None and len(row[0]) > longest:
                problem = f"the question has {len(row[0])} tokens, and the judge reads {longest}"
                yield number, Reading(None, problem, requests=0)
            else:
                rows[number] = row
        yield from zip(rows, self.read(list(rows.values())), strict=True)

    def rows(self, questions: Sequence[Question]) -> list[tuple[list[int], list[int]] | str]:
        """The ids of each question with either option, or why it has none. Raises UserError where the options are not
        one token each."""
        tokenizer = self.policy.tokenizer
        texts: list[Any] = [self.answered(question, option) for question in questions for option in OPTIONS]
        ids = tokenise.questions(texts, tokenizer)
        found: list[tuple[list[int], list[int]] | str] = []
        for first, second in zip(ids[::2], ids[1::2], strict=True):
            if isinstance(first, str) or isinstance(second, str):
                found.append(first if isinstance(first, str) else str(second))
                continue
            if len(first) != len(second) or first[:-1] != second[:-1] or first[-1] == second[-1]:
                raise UserError(
                    f"the tokenizer of {self.name} does not write the options A and B as one token each: choose "
                    "another --judge"
                )
            found.append((first, second))
        return found

    def answered(self, question: Question, option: str) -> str | list[dict[str, str]]:
        """The question with the answer that begins with this option."""
        if self.policy.tokenizer.chat_template:
            return [*question.messages, {"role": "assistant", "content": BEGUN + option}]
        return f"{question.plain}\n\n{BEGUN}{option}"

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
            problem = not_logprobs(one[0], one[1])
            yield Reading(None if problem else (one[0], one[1]), problem)


@dataclass(frozen=True)
class ServerOptions(ServedModel):
    """Judges with a served model, whose server has to give the likeliest first tokens."""

    peer: Peer = field(default=JUDGE, kw_only=True)

    def __call__(self, questions: Sequence[Question], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        tries = self.tries_for(len(questions), most)
        return self.each(lambda question: self.ask(question, tries), questions)

    def ask(self, question: Question, tries: int) -> Reading:
        """What the server says to a question."""
        wanted: dict[str, Any] = {"temperature": 0, "max_tokens": 1, "logprobs": True, "top_logprobs": TOP}
        return self.answer(question.messages, tries, in_reply, **wanted)


def in_reply(reply: Any, requests: int = 1) -> Reading:
    """The log-probabilities of the tokens `A` and `B` at the first place of a reply."""
    try:
        listed = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found = {str(one["token"]): number_of(one["logprob"]) for one in reversed(listed)}
    except (KeyError, IndexError, TypeError, ValueError):
        return Reading(None, f"a reply without the likeliest tokens: {brief(reply)}", requests, refused=True)
    missing = [option for option in OPTIONS if option not in found]
    if missing:
        likeliest = ", ".join(map(repr, list(found)[::-1][:5])) or "none"
        problem = f"{' and '.join(missing)} not among the {len(listed)} likeliest tokens ({likeliest})"
        return Reading(None, problem, requests)
    problem = not_logprobs(found["A"], found["B"])
    return Reading(None if problem else (found["A"], found["B"]), problem, requests)
