"""Answers of a model to a task's held-out prompts, each right or wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from burnish.data import sources
from burnish.data.tasks.stream import is_answer
from burnish.data.tokenise import prompts as prompt_ids
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample

AT_ONCE = 1024
LONGEST = 2**20


@dataclass(frozen=True)
class Exam:
    """The held-out prompts of a task, `samples` answers of at most `tokens` tokens to each."""

    prompts: Sequence[str]
    answers: Sequence[str]
    tokens: int
    samples: int = 1


@dataclass(frozen=True)
class Graded:
    """How many of a prompt's `samples` answers are right, their mean length in tokens, and their entropy.

    The entropy is −log π of a sampled token, averaged over all of them: an unbiased estimate of the mean entropy of the
    distributions that tokens are drawn from.
    """

    samples: int
    right: tuple[int, ...]
    length: float
    entropy: float

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.right)) / self.samples

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Graded":
        """From what `dataclasses.asdict` and JSON made of it."""
        return cls(found["samples"], tuple(found["right"]), found["length"], found["entropy"])


@cache
def held_out(task: str, prompts: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first held-out prompts of a task, and their answers."""
    rows = sources.load(f"{with_options(task, held_out=prompts, seed=seed)}:held_out")
    return tuple(rows["prompt"]), tuple(rows["answer"])


def with_options(task: str, **options: int) -> str:
    """A task's name with more options."""
    more = ",".join(f"{key}={value}" for key, value in options.items())
    return f"{task},{more}" if "=" in task else f"{task}:{more}"


def graded(policy: LanguagePolicy, exam: Exam, seed: int) -> Graded:
    """The answers of a policy, sampled at temperature 1; one that reaches the limit without an end is wrong.

    Answer k to prompt i has random stream i·samples + k of the seed, whatever the model.
    """
    ids = prompt_ids(list(exam.prompts), policy.tokenizer, LONGEST)
    decoder, n = Decoder.of(policy), exam.samples
    right, tokens, surprise = np.zeros(len(ids), dtype=int), 0, 0.0
    every = range(len(ids) * n)
    for first in range(0, len(every), AT_ONCE):
        streams = every[first : first + AT_ONCE]
        found = sample(policy, [ids[s // n] for s in streams], seed=seed, max_new_tokens=exam.tokens, streams=streams)
        texts = decoder.responses(found.tokens)
        for stream, text, ended in zip(streams, texts, found.ended, strict=True):
            right[stream // n] += ended and is_answer(text, exam.answers[stream // n])
        tokens += sum(map(len, found.tokens))
        surprise -= sum(map(sum, found.logprobs))
    return Graded(n, tuple(right.tolist()), tokens / len(every), surprise / tokens)
