"""The input of rewards, and the check of their output: one finite score per completion or an error naming the row."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from burnish.run import UserCodeError, UserError, user_code

ROWS_NAMED = 8  # an error message lists at most this many rows
MOST_SCORES = 1_000_000  # read of what a reward returns, which may never end


@dataclass(frozen=True)
class Completed:
    """A batch of completions; each list has one entry per completion.

    `prompts` are as the user wrote them, text or messages; `responses` are the decoded completions; `texts` are prompt
    and response decoded together (`policies.language.decode` says with which special tokens). `columns` are the other
    columns of the rows, `rows` their positions in the data. `batch` has the sampled ids (tokens `[N, T]`, mask,
    lengths), and `ended` is True if the completion ended by itself rather than at the length limit. In dialogues with
    an environment, `responses` are the policy's last messages, and `turns` all messages behind the opening.
    """

    prompts: list[Any]
    responses: list[str]
    texts: list[str]
    columns: dict[str, list[Any]]
    rows: list[int]
    batch: Any
    ended: list[bool]
    turns: list[list[dict[str, Any]]] | None = None

    def __len__(self) -> int:
        return len(self.responses)

    def select(self, index: Sequence[int]) -> "Completed":
        """The completions at `index`, in this order."""
        lists = ("prompts", "responses", "texts", "rows", "ended")
        chosen: dict[str, Any] = {name: [getattr(self, name)[i] for i in index] for name in lists}
        chosen["columns"] = {name: [values[i] for i in index] for name, values in self.columns.items()}
        if self.turns is not None:
            chosen["turns"] = [self.turns[i] for i in index]
        if self.batch is not None:
            chosen["batch"] = self.batch.select(torch.tensor(list(index), dtype=torch.long))
        return replace(self, **chosen)

    def copy(self) -> "Completed":
        """A deep copy in which no two completions share anything, even if they answer the same prompt."""

        def each(values: list[Any]) -> list[Any]:
            return [copy.deepcopy(value) for value in values]

        columns = {name: each(values) for name, values in self.columns.items()}
        return Completed(
            prompts=each(self.prompts),
            responses=list(self.responses),
            texts=list(self.texts),
            columns=columns,
            rows=list(self.rows),
            batch=copy.deepcopy(self.batch),
            ended=list(self.ended),
            turns=None if self.turns is None else each(self.turns),
        )


@runtime_checkable
class Reward(Protocol):
    """Protocol of rewards: scores completions, each alone or relative to the others in the batch."""

    @property
    def name(self) -> str:
        """The name used in messages and metrics: the text after --reward."""
        ...

    def __call__(self, completed: Completed) -> Sequence[float]:
        """One score per completion, in order."""
        ...


class BadRewardError(UserError):
    """A reward raised an exception or returned an invalid score. `rows` are the rows of the data concerned."""

    def __init__(self, sentence: str, rows: Sequence[int]) -> None:
        super().__init__(sentence)
        self.rows = list(rows)

    def __reduce__(self) -> Any:
        """As it is sent to another process."""
        return BadRewardError, (str(self), self.rows)


def lacks_column(reward: str, column: str, completed: Completed, rows: Sequence[int], advice: str) -> BadRewardError:
    """The error of a reward whose column the data lack; `rows` are named, and `advice` ends the sentence."""
    have = ", ".join(f"`{name}`" for name in completed.columns) or "none"
    return BadRewardError(
        f"the reward {reward} needs the column `{column}`, but besides the prompt the data has {have} (in "
        f"{named(rows)}): {advice}",
        completed.rows,
    )


def checked_scores(reward: Reward, completed: Completed) -> list[float]:
    """The reward's scores as finite floats, one per completion.

    A reward may return Python, NumPy or PyTorch numbers in any sequence, array or tensor; True and False are 1 and 0.
    Raises BadRewardError, naming the rows, if the reward raises or returns a wrong number of scores, None, NaN,
    infinity or anything else that is not a number. A reward that raised is called again with single completions to find
    the row. The reward gets a copy of everything, so that it may change what it is given.
    """
    try:
        with user_code():
            found = reward(completed.copy())
            scores = listed(found)
            numbers = [number(score) for score in scores or ()]
    except UserCodeError as error:
        rows = rows_that_raise(reward, completed, error.cause)
        raise BadRewardError(
            f"the reward {reward.name} failed for {named(rows)} ({error}): fix it and try again", rows
        ) from error.cause
    if scores is None:
        raise BadRewardError(
            f"the reward {reward.name} returned {brief(found)} for {named(completed.rows)}: return a list with one "
            "number per completion",
            completed.rows,
        )
    if len(scores) != len(completed):
        raise BadRewardError(
            f"the reward {reward.name} returned {len(scores)} scores for {len(completed)} completions of "
            f"{named(completed.rows)}: return one number per completion",
            completed.rows,
        )
    if bad := [i for i, value in enumerate(numbers) if value is None or not math.isfinite(value)]:
        rows = [completed.rows[i] for i in bad]
        raise BadRewardError(
            f"the reward {reward.name} returned {brief(scores[bad[0]])} for {named(rows)}: return a finite number for "
            "every completion",
            rows,
        )
    return [value for value in numbers if value is not None]


def listed(found: Any) -> list[Any] | None:
    """A reward's return value as a list, cut if it never ends; None if it is not a sequence."""
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu()
    single = isinstance(found, torch.Tensor | np.ndarray) and found.ndim == 0
    if single or isinstance(found, str | bytes | Mapping | set | frozenset) or not isinstance(found, Iterable):
        return None
    return list(islice(found, MOST_SCORES))


def number(score: Any) -> float | None:
    """One score as a float; None if it is not a number."""
    if isinstance(score, torch.Tensor | np.ndarray):
        score = score.item() if math.prod(score.shape) == 1 else None
    elif isinstance(score, np.generic):
        score = score.item()
    if not isinstance(score, Real):
        return None
    try:
        return float(score)
    except OverflowError:  # an integer too large for a float
        return math.inf


def rows_that_raise(reward: Reward, completed: Completed, error: BaseException) -> list[int]:
    """The row of the first completion for which the reward alone raises the same type of error; otherwise all rows."""
    if len(completed) == 1:
        return completed.rows
    for i in range(len(completed)):
        try:
            with user_code():
                listed(reward(completed.select([i]).copy()))
        except UserCodeError as again:
            if type(again.cause) is type(error):
                return [completed.rows[i]]
    return completed.rows


def named(rows: Sequence[int]) -> str:
    """The rows for an error message, without repetitions."""
    distinct = list(dict.fromkeys(rows))
    first = ", ".join(map(str, distinct[:ROWS_NAMED]))
    if len(distinct) == 1:
        return f"row {first}"
    return f"rows {first}" + (f" and {len(distinct) - ROWS_NAMED} more" if len(distinct) > ROWS_NAMED else "")


def brief(value: Any) -> str:
    try:
        with user_code():
            text = " ".join(repr(value).split())
    except UserCodeError:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:59]}…"
