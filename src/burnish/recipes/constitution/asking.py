"""Asks a model what its file of calls has no answer to, as far as the budget goes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from burnish.evaluation.readings import READ, Answerer, Reading
from burnish.recipes.constitution.calls import FEEDBACK, Call, CallFile
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
    """What became of tasks of which so many are `done`: how many have an answer that cannot be read, the first of them
    with its row, and how many are not asked to their end, with the calls and the commonest problems."""
    asked = [[(call, readings[call.key]) for call in one.reached(readings) if call.key in readings] for one in tasks]
    stuck = [unread for each in asked if (unread := [one for one in each if unreadable(one[1])])]
    problems = [reading.problem for each in stuck for _, reading in each]
    found: dict[str, Any] = {"unread": len(stuck), "not_asked": len(tasks) - done - len(stuck)}
    if stuck:
        call, reading = stuck[0][0]
        found["first_unread"] = {key: call.facts[key] for key in ("source", "row")} | {"problem": reading.problem}
    found |= {"calls": sum(map(len, asked)), "unread_calls": len(problems), "requests": requests}
    return found | {"problems": dict(Counter(problems).most_common(5))}


def spent(found: Mapping[str, Any]) -> str:
    """What the calls took, in words."""
    tokens = f" and {found['tokens']:,} tokens" if found.get("tokens") else ""
    return f"{found['requests']:,} requests{tokens}"


def first_unread(found: Mapping[str, Any]) -> str:
    """The first of what has an answer that cannot be used, in words."""
    one = found["first_unread"]
    return f"the first is {one['source']}, row {one['row']}: {one['problem']}"


@dataclass(frozen=True)
class Asking:
    """Asks `who` answers each kind of call, with at most `budget` requests in the whole file; a task needs `calls`.

    Nothing more is asked once the server has counted `tokens` in the whole file.
    """

    who: Mapping[str, Answerer[Any]]
    file: CallFile
    budget: int | None
    calls: int
    tokens: int | None = None

    @property
    def left(self) -> int:
        if self.tokens is not None and self.file.tokens >= self.tokens:
            return 0
        return 2**62 if self.budget is None else max(0, self.budget - self.file.requests)

    @property
    def kept(self) -> str:
        return f"{len(self.file.readings):,} answers are kept in {self.file.path}; give the same command again to go on"

    def go_on(self, tasks: Sequence[Task], at_once: int, name: str, quiet: bool) -> None:
        """Finish the tasks, at most `at_once` at a time, and no more than the budget can finish.

        Raises UserError where a question fails for a reason that may pass, where a model that has never been read
        refuses all that it is asked at once, and where its tokens are bounded and it does not say how many an answer
        took; what was read is on disk.
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
        problem, uncounted = "", False
        try:
            for number, reading in answers if (wants, who.identity) in self.file.read else unless_all_refused(answers):
                self.file.add(now[number], reading)
                problem = problem or (reading.problem if reading.failed else "")
                uncounted = uncounted or (reading.kind == READ and reading.tokens is None)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(self.kept) from error
        if problem:
            part = "the judge" if self.file.part == FEEDBACK else "the model"
            raise UserError(f"{part} {who.name} failed ({problem}): {self.kept}")
        if uncounted and self.tokens is not None:
            raise UserError(
                f"{who.name} does not say how many tokens an answer took: give --budget in place of --budget-tokens"
            )


def unless_all_refused(answers: Iterable[tuple[int, Reading]]) -> Iterator[tuple[int, Reading]]:
    """The first answers of a model, as they come. Refusals wait for one that is none: if there is none, or the asking
    is broken off before, they are failures, and the model is asked again."""
    refusals: list[tuple[int, Reading]] = []
    answered = False
    problem: BaseException | None = None
    try:
        for number, reading in answers:
            if not answered and reading.refused and not reading.failed:
                refusals.append((number, reading))
                continue
            answered = answered or not reading.failed
            while answered and refusals:
                yield refusals.pop()
            yield number, reading
    except (Exception, KeyboardInterrupt) as error:
        problem = error
    for number, reading in refusals:
        yield number, replace(reading, failed=True)
    if problem is not None:
        raise problem
