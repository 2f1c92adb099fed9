"""People as the judge of `burnish compare`: they see the pairs on the page of `burnish label`."""

import socket
from collections.abc import Sequence
from pathlib import Path

from burnish.config import Settings
from burnish.data.labels import BAD, Tally, tallies
from burnish.evaluation.judges import TIE, Verdict, winner_by
from burnish.recipes.label.pairs import Pair, different
from burnish.recipes.label.run import HOST, PORT, opened_session, plan_of, serve
from burnish.recipes.web import opened, web_server
from burnish.rewards.completed import Completed
from burnish.run import UserError

PEOPLE = "people"
LABELS = "labels.jsonl"


class PeopleJudge:
    """Asks people on a page, and waits until they are finished or press Ctrl-C in the terminal.

    Their answers are appended to `labels`, so that a comparison that was broken off goes on when it is started again.
    The port is opened at once. Raises UserError for one in use, and for raters' names with odd characters.
    """

    name = PEOPLE

    def __init__(self, labels: Path, raters: Sequence[str], port: int | None, base: Settings) -> None:
        self.labels, self.base = labels, base
        self.plan = plan_of(raters, shared=1.0, repeat=0.0, seed=base.seed)
        self.web = web_server()
        port = PORT if port is None else port
        self.listening: socket.socket = opened(HOST, port, f"--port {port}")

    def __call__(self, a: Completed, b: Completed) -> list[Verdict]:
        pairs = [Pair(*one) for one in zip(a.rows, a.prompts, a.responses, b.responses, strict=True)]
        if not different(pairs):
            return [Verdict(TIE)] * len(pairs)
        session = opened_session(pairs, self.plan, self.labels, strengths=False)
        try:
            with self.listening:
                if not all(session.finished(rater) for rater in self.plan.raters):
                    serve(self.web, session, self.listening, "", self.base)
            found = {one.votes[0].pair: one for one in tallies(session.file.votes)}
        finally:
            session.file.close()
        return [Verdict(TIE) if pair.a == pair.b else verdict(found.get(pair.key)) for pair in pairs]


def verdict(one: Tally | None) -> Verdict:
    """The answer with more votes; even votes are a tie, and so is a pair of which all votes say that both are bad."""
    if one is not None and one.share is not None:
        return Verdict(winner_by(one.share - 0.5))
    if one is not None and any(vote.verdict == BAD for vote in one.votes):
        return Verdict(TIE)
    return Verdict(None, problem="nobody compared it")


def check_people(judge: object, out: Path | None, raters: Sequence[str], port: int | None) -> None:
    """Raise UserError for options of people without people, and for people whose answers have no place."""
    if judge == PEOPLE:
        if out is None:
            raise UserError("--judge people needs --out, the folder in which the answers of people are kept")
    elif raters or port is not None:
        raise UserError(f"--{'raters' if raters else 'port'} is for --judge people: leave it out")
