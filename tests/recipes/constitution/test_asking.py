"""Tasks of several calls within a budget, with answerers in this file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from burnish.evaluation.readings import Reading
from burnish.recipes.constitution.asking import (
    Asking,
    first_unread,
    spent,
    totals,
    unless_all_refused,
    unreadable,
    waiting,
)
from burnish.recipes.constitution.calls import OPTIONS, SUPERVISED, TEXT, CallFile
from burnish.run import UserError


@dataclass(frozen=True)
class Asked:
    asked: str
    wants: str = TEXT

    @property
    def key(self) -> str:
        return self.asked

    @property
    def facts(self) -> dict[str, Any]:
        return {"prompt": "p", "source": "f.jsonl", "row": 3, "model": "scribe"}


@dataclass(frozen=True)
class Two:
    """Two calls, the second of which has the answer to the first."""

    name: str

    def reached(self, readings: Mapping[str, Reading]) -> list[Asked]:
        first = Asked(self.name)
        said = readings[self.name].text if self.name in readings else None
        return [first] if said is None else [first, Asked(f"{self.name}+{said}", OPTIONS)]


@dataclass
class Writer:
    """Answers with the number of its questions so far, or with what is `told` of a question."""

    told: dict[str, Reading] = field(default_factory=dict)
    wants: str = TEXT
    at_once: int = 2
    name: str = "scribe"
    identity: str = "scribe"
    seen: list[list[str]] = field(default_factory=list)

    def __call__(self, questions: Sequence[str], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        assert most is None or most >= len(questions)
        self.seen.append(list(questions))
        for number, one in reversed(list(enumerate(questions))):  # in any order
            read = Reading(None, text="t") if self.wants == TEXT else Reading((-1.0, -2.0))
            yield number, self.told.get(one, read)


def asking(path: Path, budget: int | None = None, **told: Reading) -> tuple[Asking, Writer, Writer]:
    writer, judge = Writer(told), Writer(told, OPTIONS)
    return Asking({TEXT: writer, OPTIONS: judge}, CallFile(path, {"p"}, SUPERVISED), budget, 2), writer, judge


TASKS = [Two(name) for name in "abcde"]


def test_tasks_are_finished_a_few_at_a_time_and_never_asked_twice(tmp_path: Path) -> None:
    one, writer, judge = asking(tmp_path / "c.jsonl")
    one.go_on(TASKS, 2, "asking", quiet=True)
    assert writer.seen == [["a", "b"], ["c", "d"], ["e"]]
    assert judge.seen == [["a+t", "b+t"], ["c+t", "d+t"], ["e+t"]]
    one.file.close()
    again, *others = asking(tmp_path / "c.jsonl")
    again.go_on(TASKS, 2, "asking", quiet=True)
    assert [other.seen for other in others] == [[], []]
    assert not any(waiting(task, again.file.readings) for task in TASKS)


def test_a_budget_finishes_as_many_tasks_as_it_can(tmp_path: Path) -> None:
    """Of seven requests, three tasks are finished and the fourth is begun."""
    one, writer, judge = asking(tmp_path / "c.jsonl", 7)
    one.go_on(TASKS, 4, "asking", quiet=True)
    assert (writer.seen, judge.seen) == ([["a", "b"], ["c"], ["d"]], [["a+t", "b+t"], ["c+t"]])
    assert (one.left, one.file.requests) == (0, 7)
    one.file.close()
    more, writer, judge = asking(tmp_path / "c.jsonl", 9)
    more.go_on(TASKS, 4, "asking", quiet=True)
    assert (writer.seen, judge.seen) == ([["e"]], [["d+t"]])
    assert more.left == 0


def test_tokens_end_the_asking_and_more_go_on(tmp_path: Path) -> None:
    """An answer takes 10 tokens, and two are asked for at a time: with 25 the third and fourth are the last ones."""
    told = {name: Reading(None, text="t", tokens=10) for name in "abcde"}
    told |= {f"{name}+t": Reading((-1.0, -2.0), tokens=10) for name in "abcde"}
    one, writer, judge = asking(tmp_path / "c.jsonl", **told)
    replace(one, tokens=25).go_on(TASKS, 2, "asking", quiet=True)
    assert (one.file.tokens, writer.seen) == (40, [["a", "b"]])
    assert [len(each) for each in judge.seen] == [2]
    replace(one, tokens=40).go_on(TASKS, 2, "asking", quiet=True)
    assert one.file.tokens == 40
    replace(one, tokens=41).go_on(TASKS, 2, "asking", quiet=True)
    assert writer.seen == [["a", "b"], ["c", "d"]]
    one.file.close()
    again = CallFile(tmp_path / "c.jsonl", {"p"}, SUPERVISED)
    assert again.tokens == one.file.tokens > 40
    again.close()


def test_a_bound_on_tokens_needs_a_model_that_counts_them(tmp_path: Path) -> None:
    """Nothing more is asked, and what was read is kept; without the bound nobody has to count."""
    one, writer, _ = asking(tmp_path / "c.jsonl")
    with pytest.raises(UserError, match="scribe does not say how many tokens an answer took: give --budget in place"):
        replace(one, tokens=1000).go_on(TASKS, 2, "asking", quiet=True)
    assert (writer.seen, len(one.file.readings)) == ([["a", "b"]], 2)
    one.go_on(TASKS, 2, "asking", quiet=True)
    assert len(one.file.readings) == 10


def test_what_the_calls_took_in_words() -> None:
    assert spent({"requests": 1200}) == spent({"requests": 1200, "tokens": 0}) == "1,200 requests"
    assert spent({"requests": 12, "tokens": 3456}) == "12 requests and 3,456 tokens"


def test_what_cannot_be_used_ends_its_task_alone(tmp_path: Path) -> None:
    one, writer, judge = asking(tmp_path / "c.jsonl", b=Reading(None, "an empty answer", text=""))
    one.go_on(TASKS[:3], 2, "asking", quiet=True)
    assert writer.seen == [["a", "b"], ["c"]]
    assert judge.seen == [["a+t"], ["c+t"]]
    assert unreadable(one.file.readings["b"])
    assert not unreadable(one.file.readings["a"])
    assert not unreadable(None)
    found = totals(TASKS[:3], 2, one.file.readings, 5)
    assert found["first_unread"] == {"source": "f.jsonl", "row": 3, "problem": "an empty answer"}
    assert first_unread(found) == "the first is f.jsonl, row 3: an empty answer"
    counts = ("unread", "not_asked", "calls", "unread_calls", "requests", "problems")
    assert [found[key] for key in counts] == [1, 0, 5, 1, 5, {"an empty answer": 1}]
    assert "first_unread" not in totals(TASKS[:1], 1, one.file.readings, 5)


def test_a_failure_ends_all_and_what_was_read_is_kept(tmp_path: Path) -> None:
    one, *_ = asking(tmp_path / "c.jsonl", b=Reading(None, "HTTP 500", 3, failed=True))
    with pytest.raises(
        UserError, match=r"^the model scribe failed \(HTTP 500\): 1 answers are kept in .*c\.jsonl; give"
    ):
        one.go_on(TASKS, 2, "asking", quiet=True)
    assert (sorted(one.file.readings), one.file.requests) == (["a"], 4)


def test_a_model_that_refuses_all_at_first_is_left_and_later_it_is_not(tmp_path: Path) -> None:
    """The judge refuses everything: its first questions are failures, although the texts were read."""
    refused = Reading(None, "no top_logprobs", refused=True)
    one, *_ = asking(tmp_path / "c.jsonl", **{"a+t": refused, "b+t": refused})
    with pytest.raises(UserError, match=r"failed \(no top_logprobs\): 2 answers are kept"):
        one.go_on(TASKS, 2, "asking", quiet=True)
    assert all(reading.failed for _, reading in unless_all_refused([(0, refused), (1, refused)]))
    failed = Reading(None, "HTTP 429", 3, failed=True)
    assert all(reading.failed for _, reading in unless_all_refused([(0, refused), (1, failed), (2, refused)]))
    mixed = [(0, refused), (1, Reading(None, text="t")), (2, refused)]
    assert list(unless_all_refused(mixed)) == mixed
    one.file.close()
    other, *_ = asking(tmp_path / "d.jsonl", **{"c+t": refused, "d+t": refused})
    other.go_on(TASKS, 2, "asking", quiet=True)
    assert (unreadable(other.file.readings["c+t"]), len(other.file.readings)) == (True, 10)


def test_the_first_answers_are_given_as_they_come() -> None:
    """Whoever is killed later has them; what is broken off before any answer may be asked again."""
    refused, answer = Reading(None, "no top_logprobs", refused=True), Reading(None, text="t")

    def answers(*readings: Reading) -> Iterator[tuple[int, Reading]]:
        yield from enumerate(readings)
        raise KeyboardInterrupt

    coming = unless_all_refused(answers(refused, answer))
    assert [next(coming), next(coming)] == [(0, refused), (1, answer)]
    with pytest.raises(KeyboardInterrupt):
        next(coming)
    broken = unless_all_refused(answers(refused))
    assert next(broken) == (0, Reading(None, "no top_logprobs", refused=True, failed=True))
    with pytest.raises(KeyboardInterrupt):
        next(broken)


def test_another_model_that_refuses_all_is_left_too(tmp_path: Path) -> None:
    """The first judge has answered, the second has not: nothing is given up for its refusals."""
    one, *_ = asking(tmp_path / "c.jsonl")
    one.go_on(TASKS[:2], 2, "asking", quiet=True)
    one.file.close()
    refused = Reading(None, "no top_logprobs", refused=True)
    other, _, judge = asking(tmp_path / "c.jsonl", **{"c+t": refused, "d+t": refused})
    judge.identity = "another"
    with pytest.raises(UserError, match=r"failed \(no top_logprobs\): 6 answers are kept"):
        other.go_on(TASKS, 2, "asking", quiet=True)
    assert judge.seen == [["c+t", "d+t"]]
    assert not any(unreadable(reading) for reading in other.file.readings.values())
