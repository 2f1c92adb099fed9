"""Asks a model what its file of calls has no answer to, as far as the budget goes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from burnish.evaluation.readings import READ, Answerer, Reading
from burnish.recipes.constitution.calls import Call, CallFile
from burnish.run import UserError
from burnish.training.progress import Progress


class Task(Protocol):
    """Protocol of what needs several calls, of which later ones may depend on the answers to earlier ones."""

    def reached(self, readings: Mapping[str, Reading]) -> Sequence[Call]:
        """The calls that have been made or can be made now."""
        ...


def waiting(task: Task, readings: Mapping[str, Reading]) -> list[Call]:
    """The calls of a task that can be made now; none where one of its answers cannot be read."""
    reached = task.reached(readings)
    if any(unreadable(readings.get(one.key)) for one in reached):
        return []
    return [one for one in reached if one.key not in readings]


def unreadable(reading: Reading | None) -> bool:
    """Whether a call was made and has no answer that can be used."""
    return reading is not None and reading.kind != READ


def totals(tasks: Sequence[Task], done: int, readings: Mapping[str, Reading], requests: int) -> dict[str, Any]:
    """What became of tasks of which so many are `done`: how many have an answer that cannot be read, and how many are
    not asked to their end, with the calls and the commonest problems."""
    answers = [[readings.get(call.key) for call in one.reached(readings)] for one in tasks]
    every = [one for each in answers for one in each if one is not None]
    unread = [one for one in every if unreadable(one)]
    stuck = sum(any(unreadable(one) for one in each) for each in answers)
    found: dict[str, Any] = {"unread": stuck, "not_asked": len(tasks) - done - stuck}
    found |= {"calls": len(every), "unread_calls": len(unread), "requests": requests}
    return found | {"problems": dict(Counter(one.problem for one in unread).most_common(5))}


@dataclass(frozen=True)
class Asking:
    """Asks `who` answers each kind of call, with at most `budget` requests in the whole file; a task needs `calls`."""

    who: Mapping[str, Answerer[Any]]
    file: CallFile
    budget: int | None
    calls: int

    @property
    def left(self) -> int:
        return 2**62 if self.budget is None else max(0, self.budget - self.file.requests)

    def go_on(self, tasks: Sequence[Task], at_once: int, name: str, quiet: bool) -> None:
        """Finish the tasks, at most `at_once` at a time, and no more than the budget can finish.

        Raises UserError where a question fails for a reason that may pass, and where a model that has never been read
        refuses all that it is asked at once; what was read is on disk.
        """
        readings = self.file.readings
        undone = [one for one in tasks if waiting(one, readings)]
        with Progress(name, len(undone), quiet=quiet) as progress:
            while undone:
                count = max(1, min(at_once, self.left // self.calls))
                part, undone = undone[:count], undone[count:]
                while calls := {call.key: call for one in part for call in waiting(one, readings)}:
                    if not self.left:
                        return
                    self.ask(list(calls.values()))
                for _ in part:
                    progress.step()

    def ask(self, calls: Sequence[Call]) -> None:
        """Ask those of the calls that the first one's answerer takes at a time."""
        wants, most = calls[0].wants, None if self.budget is None else self.left
        who = self.who[wants]
        now = [one for one in calls if one.wants == wants][: min(who.at_once, self.left)]
        answers = who([one.asked for one in now], most)
        problem = ""
        for number, reading in answers if (wants, who.identity) in self.file.read else all_refused(answers):
            self.file.add(now[number], reading)
            problem = problem or (reading.problem if reading.failed else "")
        if problem:
            raise UserError(
                f"{'the judge' if self.file.about == 'pair' else 'the model'} {who.name} failed ({problem}): "
                f"{len(self.file.readings):,} answers are kept in {self.file.path}; give the same command again to go "
                "on"
            )


def all_refused(answers: Iterable[tuple[int, Reading]]) -> list[tuple[int, Reading]]:
    """The first answers of a model, as failures if it refuses every question, or fails: then it is not asked the
    others."""
    found = list(answers)
    failed = all(reading.refused or reading.failed for _, reading in found)
    return [(number, replace(reading, failed=reading.failed or failed)) for number, reading in found]
