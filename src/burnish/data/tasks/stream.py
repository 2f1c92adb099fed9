"""Rows of tasks: which prompts are trained on, which are held out, and how answers are checked.

The questions of a task are an endless stream that seed and options determine. A prompt is held out where its SHA-256
says so, one in ten, whatever seed and options: so no held-out prompt is ever trained on. Row i of a split is the i-th
of the stream's questions that fall into it; a larger `rows` continues a smaller one.
"""

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from random import Random
from typing import Any

from datasets import Dataset

from burnish.data import columns
from burnish.data.names import TASK_SPLITS
from burnish.data.tasks import gym, own
from burnish.data.tasks.gym import Gym
from burnish.data.tasks.own import Question, Task
from burnish.run import UserError, warn

ROWS = {"train": 10_000, "held_out": 256}
GYM_ROWS = {"train": 1_000, "held_out": 100}
"""Rows by default; some tasks of reasoning_gym take seconds for one."""

SHARE = 10
TRIES = 5_000
"""Questions in a row of which none is new to its split before the split counts as exhausted."""


def load(name: str, suffixes: Sequence[str], row_limit: int | None = None) -> Dataset:
    """The rows of `task:NAME[:options][:split]`, given by the words after `task:`.

    Columns: prompt, completion (a space and the answer), answer, task, difficulty, metadata. Options of every task are
    `seed` (0), `rows` (training prompts), `held_out` (held-out prompts, all different), and `chat` (false): prompt and
    completion are then messages, of the user and of the assistant, for a model that has a chat template.

    Raises UserError for a task, an option or a split that does not exist.
    """
    asked = read(name, suffixes)
    known, split = asked.task, asked.split
    count = asked.counts[split] if row_limit is None else min(asked.counts[split], row_limit)
    made = maker(known, asked.options, name)
    questions = list(islice(drawn(made, known, asked.seed, split), count))
    if isinstance(made, Gym) and made.skipped:
        warn(f"{name}: {made.skipped} rows of reasoning_gym whose own answer is wrong were left out")
    if not questions:
        raise UserError(f"{name} has no prompt in its split {split}: make the task larger.")
    if split == "held_out" and len(questions) < count and asked.counted:
        warn(f"{name}: there are only {len(questions)} different held-out prompts")
    keyed = any(one.answer for one in questions)
    prompts: list[Any] = [one.prompt for one in questions]
    completions: list[Any] = [f" {one.answer}" for one in questions]
    if asked.chat:
        prompts = [message("user", one.prompt) for one in questions]
        completions = [message("assistant", one.answer) for one in questions]
    return columns.table(
        {"prompt": prompts}
        | ({"completion": completions} if keyed else {})
        | {
            "answer": [one.answer for one in questions],
            "task": [known] * len(questions),
            "difficulty": [one.difficulty for one in questions],
            "metadata": [one.metadata for one in questions],
        }
    )


def message(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


OPTION = {"train": "rows", "held_out": "held_out"}


def is_answer(response: str, answer: str) -> bool:
    """Whether a response is the answer of one of Burnish's own tasks, whatever its white space."""
    return response.split() == answer.split()


@dataclass(frozen=True)
class Asked:
    """What the name of a task says: `counts` are the rows of each split, `options` those of the task itself; `counted`
    is True where the number of held-out prompts is given, `chat` where prompts are messages."""

    task: str
    split: str
    counts: dict[str, int]
    seed: int
    options: dict[str, str]
    counted: bool
    chat: bool


def check(name: str, suffixes: Sequence[str]) -> None:
    """Raise UserError for a task, an option or a split that does not exist."""
    asked = read(name, suffixes)
    maker(asked.task, asked.options, name)


def read(name: str, suffixes: Sequence[str]) -> Asked:
    """What the words after `task:` say. Raises UserError for what is no task, option or split."""
    if not suffixes:
        raise UserError(f"{name} names no task: write task:NAME; the tasks are {', '.join(own.TASKS)}.")
    known, *rest = suffixes
    check_name(known, name)
    split = "train"
    if rest and "=" not in rest[-1]:
        split = rest.pop()
    if split not in TASK_SPLITS:
        raise UserError(f"{name} has no split {split!r}; it has train and held_out.")
    if len(rest) > 1 or any("=" not in piece for word in rest for piece in word.split(",")):
        raise UserError(f"{name}: write the options of a task as in task:{known}:rows=200,seed=1.")
    pairs = pairs_of(rest)
    options = dict(pairs)
    if len(options) < len(pairs):
        raise UserError(f"{name}: an option is given twice; leave one of them out.")
    default, counted = GYM_ROWS if known.startswith(gym.PREFIX) else ROWS, OPTION["held_out"] in options
    counts = {key: positive(options.pop(option, str(default[key])), option, name) for key, option in OPTION.items()}
    seed = positive(options.pop("seed", "0"), "seed", name, least=0)
    chat = options.pop("chat", "false")
    if chat not in ("true", "false"):
        raise UserError(f"{name}: chat must be true or false, not {chat!r}.")
    return Asked(known, split if split == "train" else "held_out", counts, seed, options, counted, chat == "true")


def pairs_of(words: Sequence[str]) -> list[tuple[str, str]]:
    pieces = [piece.partition("=") for word in words if "=" in word for piece in word.split(",")]
    return [(key.strip().replace("-", "_"), value.strip()) for key, _, value in pieces]


def check_name(known: str, where: str) -> None:
    """Raise UserError, with near names, where there is no such task."""
    if known in own.TASKS:
        return
    if known.startswith(gym.PREFIX):
        package = gym.package()
        names, asked, place = sorted(package.DATASETS), known.removeprefix(gym.PREFIX), "reasoning_gym"
    else:
        names, asked, place = list(own.TASKS), known, "Burnish"
    if asked in names:
        return
    near = difflib.get_close_matches(asked.lower(), names, n=3)
    elsewhere = gym.PREFIX + asked if asked in gym.names() else ""
    hint = f"did you mean {elsewhere or ' or '.join(near)}?" if near or elsewhere else f"it has {', '.join(names)}."
    raise UserError(f"{where}: {place} has no task {asked!r}; {hint}")


def maker(known: str, options: dict[str, str], where: str) -> Task | Gym:
    """What makes the questions of a task. Raises UserError for an option that it does not have."""
    if known.startswith(gym.PREFIX):
        return Gym(known.removeprefix(gym.PREFIX), options, where)
    allowed = [one.name for one in fields(own.TASKS[known])]
    for key in options:
        if key not in allowed:
            every = [*allowed, "rows", "held_out", "seed", "chat"]
            near = difflib.get_close_matches(key, every, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(every)}."
            raise UserError(f"{where}: the task {known} has no option {key}; {hint}")
    return own.task(known, options, where)


def drawn(made: Task | Gym, known: str, seed: int, split: str) -> Iterator[Question]:
    """The questions of a split, each held-out prompt once; ends where a split is exhausted."""
    seen: set[str] = set()
    lost = 0
    for question in made.questions(seed) if isinstance(made, Gym) else endless(made, known, seed):
        new = is_held_out(question.prompt) == (split == "held_out") and question.prompt not in seen
        lost = 0 if new else lost + 1
        if lost == TRIES:
            return
        if new:
            if split == "held_out":
                seen.add(question.prompt)
            yield question


def endless(task: Task, known: str, seed: int) -> Iterator[Question]:
    """Every question of a task, in the order of the seed: number i comes from a generator of its own."""
    number = 0
    while True:
        yield task.question(Random(f"{known} {seed} {number}"))
        number += 1


def is_held_out(prompt: str) -> bool:
    """Whether a prompt is kept from training: a function of its text alone."""
    return int.from_bytes(hashlib.sha256(f"held out {prompt}".encode()).digest()[:8], "big") % SHARE == 0


def positive(text: str, key: str, where: str, least: int = 1) -> int:
    """A number of rows, or a seed."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or int(text) < least:
        raise UserError(f"{where}: {key} must be a whole number of at least {least}, not {text!r}.")
    return int(text)
