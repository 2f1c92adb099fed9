"""A model behind HTTP: any server that implements OpenAI's chat-completions API, with what all of its users share."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, TypeVar

from burnish.evaluation.readings import Reading
from burnish.run import UserError, without_keys
from burnish.run.background import as_they_come
from burnish.run.web import FailedRequestError, Peer, api, endpoint, request

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True)
class ServedModel:
    """The `model` on the server at `url` (up to `/v1`).

    Each request may take `timeout` seconds; each question gets up to `tries` requests, with pauses after failures that
    start at `pause` seconds and double. `at_once` questions are asked concurrently.
    """

    url: str
    model: str
    timeout: float = 60.0
    tries: int = 3
    pause: float = 1.0
    at_once: int = 4
    peer: Peer = field(kw_only=True)
    """What errors call the server, and the environment variable with its key."""
    stopped: Event = field(default_factory=Event, init=False, repr=False, compare=False)
    """Set where whoever asked does not wait for the answers any more."""

    @property
    def name(self) -> str:
        return f"{self.model} at {without_keys(self.url)}"

    @property
    def identity(self) -> str:
        """Which model it is, as far as can be known."""
        return self.name

    def reply(self, messages: Sequence[dict[str, Any]], **options: Any) -> Any:
        """The JSON of a reply. Raises FailedRequestError for a failed request, UserError if every one would fail.

        Whether a message is `train`ed concerns Burnish alone, and is not sent.
        """
        told = [{key: value for key, value in one.items() if key != "train"} for one in messages]
        body = {"model": self.model, "messages": told, "stream": False} | options
        return request(endpoint(self.url, "chat/completions"), self.timeout, self.peer, body)

    def rest(self, failures: int, least: float = 0.0) -> None:
        """Pause after so many failures, for at `least` so many seconds, unless nobody waits any more."""
        if failures:
            self.stopped.wait(max(least, self.pause * 2 ** (failures - 1)))

    def answer(
        self,
        messages: Sequence[dict[str, Any]],
        tries: int,
        read: Callable[[Any, int], Reading],
        **options: Any,
    ) -> Reading:
        """What `read` makes of the reply and the number of requests that it took, at most `tries`, with its tokens.

        Only a refusal that the text may be the cause of is UNREAD; others are FAILED, as the server may be put right.
        """
        problem, wait = "", 0.0
        for number in range(1, tries + 1):
            self.rest(number - 1, wait)
            if self.stopped.is_set():
                return Reading(None, problem or "nobody waits for the answer", number - 1, failed=True)
            try:
                reply = self.reply(messages, **options)
                return replace(read(reply, number), tokens=tokens_in(reply))
            except FailedRequestError as error:
                problem, wait = str(error), error.wait
                if not error.again:
                    refused = error.of_the_text
                    return Reading(None, problem, number, failed=not refused, refused=refused)
            except UserError as error:  # a refused key or a wrong URL
                return Reading(None, str(error), number, failed=True)
        return Reading(None, problem, tries, failed=True)

    def tries_for(self, questions: int, most: int | None) -> int:
        """How many requests each of the questions gets, so that all have at most `most`."""
        return self.tries if most is None else min(self.tries, most // questions)

    def each(self, ask: Callable[[A], T], questions: Sequence[A]) -> Iterator[tuple[int, T]]:
        """The position of each question and what `ask` gives for it, as soon as it is there.

        Whoever stops reading ends the asking, without waiting for replies. A KeyboardInterrupt is raised behind what
        has been answered, and what a pause was before.
        """
        self.stopped.clear()
        yield from as_they_come(ask, questions, self.at_once, self.stopped)


def tokens_in(reply: Any) -> int | None:
    """How many tokens a reply says that its request took, those that were read and those that were written; None where
    it does not say."""
    usage = reply.get("usage") if isinstance(reply, dict) else None
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if type(total) is int and total >= 0 else None


def brief(reply: Any) -> str:
    """The beginning of a reply's JSON, for a sentence about it."""
    text = json.dumps(reply, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def found_at(url: str, model: str | None, timeout: float, peer: Peer, option: str) -> tuple[str, str]:
    """The address of the API at a URL and the model there; without `model` the server's only one.

    Raises UserError if the server does not respond, refuses the key, or does not list exactly one model and none is
    named by the command's `option`.
    """
    shown, url = without_keys(url), api(url, peer, "/chat/completions")
    models: list[str] = []
    try:
        listed = request(endpoint(url, "models"), timeout, peer)
        models = [str(one["id"]) for one in listed["data"]]
    except FailedRequestError as error:
        if not error.answered:  # a server that responds without a list of models may still answer
            raise UserError(
                f"{peer.who} at {shown} does not respond ({error}): start it or correct {peer.option}"
            ) from error
    except (KeyError, TypeError):
        pass
    if model is None and len(models) != 1:
        listed_models = f"it has {', '.join(models[:8])}" if models else "it does not list its models"
        raise UserError(f"{peer.who} at {shown} needs a {option}: {listed_models}")
    return url, model or models[0]
