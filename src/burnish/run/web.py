"""Requests to servers that speak JSON over HTTP: judges, served samplers, models to talk with.

A key is sent to the address that was given and to no other, and is taken out of error messages and replies.
"""

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from burnish.run.addresses import without_keys
from burnish.run.atomic import UserError
from burnish.run.hidden import basic, forms_of, without, without_in

MOST_OF_AN_ERROR = 2**16
"""The most bytes that are read of an error."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine: a server there is reached without the environment's proxy."""

PASSING = (408, 409, 425, 429)
"""Statuses after which a request is worth another try, as are those of 500 and above."""

LONGEST_WAIT = 60.0
"""The most seconds that a server's Retry-After is waited for."""

OF_THE_TEXT = (400, 413, 422)
"""Statuses that the text of a request may be the cause of, such as one that is too long for the model."""


def is_loopback(host: str) -> bool:
    """Whether a request's Host header names this machine, with or without a port. A page of another site whose name
    points here sends that name."""
    named = re.fullmatch(r"\[([^\]]*)\](:\d+)?|([^:]*)(:\d+)?", host)
    return named is not None and (named[1] if named[1] is not None else named[3]) in LOOPBACK


class FailedRequestError(Exception):
    """A failed request; `again`: a retry may succeed; `answered`: the server responded at all; `of_the_text`: what the
    request says may be at fault, and another one may be answered; `wait`: for how many seconds a server that is asked
    too often (HTTP 429) wants to be left alone, at most `LONGEST_WAIT`."""

    def __init__(
        self, problem: str, again: bool, answered: bool = True, of_the_text: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(problem)
        self.wait = wait
        self.again, self.answered, self.of_the_text = again, answered, of_the_text


@dataclass(frozen=True)
class Peer:
    """A server as error messages call it: `who` ("the judge"), the `option` that names it, and the environment
    variable with its key."""

    who: str
    option: str
    key: str


def address(url: str, peer: Peer) -> SplitResult:
    """The parts of a server's URL. Raises UserError for a text that no request can be sent to."""
    shown = without_keys("".join(url.split()))
    try:
        if not url.isprintable() or " " in url:
            raise ValueError("it contains a space or a control character")
        parts = urlsplit(url)
        known = bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")  # as a request would; its labels have at most 63 characters
        (parts.path + parts.query).encode("ascii")
    except ValueError as error:
        raise UserError(
            f"{peer.option} {shown} is not a URL ({error}): give one such as http://127.0.0.1:8000/v1"
        ) from error
    if not known:
        raise UserError(f"{peer.option} {shown} has no host: give a URL such as http://127.0.0.1:8000/v1")
    return parts


def api(url: str, peer: Peer, *endings: str) -> str:
    """The address of an API, `/v1` included where the URL names the server alone; `endings`, such as the path of an
    endpoint, are left out. Raises UserError as `address` does."""
    parts = address(url, peer)
    base = parts.path.rstrip("/")
    for ending in endings:
        base = base.removesuffix(ending)
    return urlunsplit(parts._replace(path=base or "/v1", fragment=""))


def endpoint(url: str, name: str) -> str:
    """The address of an endpoint of the API at `url`; a query, such as a key, follows it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path}/{name}"))


def request(url: str, timeout: float, peer: Peer, body: dict[str, Any] | None = None, empty: bool = False) -> Any:
    """Send a GET request, or a POST request with `body`, and return the response's JSON.

    With `empty`, None is returned for a response that has no text. Redirects are not followed. A user name and password
    in the URL are sent as basic authentication. Raises FailedRequestError, also for a response that is an error
    whatever its status, or UserError for a refused key or a wrong URL. A key of eight letters or more that the server
    repeats is not in what is returned.
    """
    with opened(url, timeout, peer, body) as reply:
        content = reply.read()
    if empty and not content.strip():
        return None
    try:
        found = json.loads(content)
    except ValueError as error:
        raise FailedRequestError(f"the response is not JSON ({error})", again=True) from error
    hidden = hidden_for(url, peer)
    if isinstance(found, dict) and found.get("error"):
        raise FailedRequestError(f"the response is an error: {shown(content, hidden)}", again=True)
    return without_in(found, hidden)


def events(url: str, timeout: float, peer: Peer, body: dict[str, Any]) -> Iterator[Any]:
    """The JSON of each server-sent event of a streamed reply, up to `[DONE]`. Raises as `request` does, also where the
    stream ends before."""
    hidden = hidden_for(url, peer)
    with opened(url, timeout, peer, body) as reply:
        for line in reply:
            text = line.decode("utf-8", "replace").strip()
            if text == "data: [DONE]":
                return
            if text.startswith("data:"):
                try:
                    yield without_in(json.loads(text[5:]), hidden)
                except ValueError as error:
                    raise FailedRequestError(f"an event is not JSON ({error})", again=True) from error
    raise FailedRequestError("the reply was cut off", again=True)


def key_of(peer: Peer) -> str:
    """The key for a server; empty if there is none. Raises UserError, without the key, for one that cannot be sent."""
    key = os.environ.get(peer.key, "")
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"the key in the environment variable {peer.key} has a line break or a letter that no header can carry: "
            "correct it"
        )
    return key


def hidden_for(url: str, peer: Peer) -> list[str]:
    """What nothing that the server says may be kept or shown with: the key, and the user and password in the URL."""
    parts = urlsplit(url)
    user = None if parts.username is None else unquote(parts.username)
    return forms_of(os.environ.get(peer.key, ""), user, unquote(parts.password or ""))


@contextmanager
def opened(url: str, timeout: float, peer: Peer, body: dict[str, Any] | None) -> Iterator[Any]:
    """The response to a request, to be read within the block, in which errors of reading are those of the request."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    parts, hidden = urlsplit(url), hidden_for(url, peer)
    if parts.username is not None:
        headers["Authorization"] = f"Basic {basic(unquote(parts.username), unquote(parts.password or ''))}"
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if key := key_of(peer):
        headers["Authorization"] = f"Bearer {key}"
    handlers: list[urllib.request.BaseHandler] = [_NoRedirection()]
    if parts.hostname in LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.build_opener(*handlers).open(asked, timeout=timeout) as reply:
            yield reply
    except urllib.error.HTTPError as error:
        raise _refusal(url, error, body is not None, peer, hidden) from error
    except TimeoutError as error:
        raise FailedRequestError(f"no answer in {timeout:g} s", again=True, answered=False) from error
    except urllib.error.URLError as error:
        late = isinstance(error.reason, TimeoutError)
        reason = f"no answer in {timeout:g} s" if late else str(getattr(error.reason, "strerror", None) or error.reason)
        raise FailedRequestError(reason, again=True, answered=False) from error
    except http.client.IncompleteRead as error:
        raise FailedRequestError("the reply was cut off", again=True, answered=False) from error
    except (OSError, http.client.HTTPException) as error:
        raise FailedRequestError(str(error) or type(error).__name__, again=True, answered=False) from error


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Return None, so that a redirect is an error."""


def _refusal(url: str, error: urllib.error.HTTPError, asked: bool, peer: Peer, hidden: Sequence[str]) -> Exception:
    """The exception for a status other than 2xx; `asked` is False for a list of models, which a server may lack."""
    try:
        message = shown(error.read(MOST_OF_AN_ERROR), hidden)
    except (OSError, http.client.HTTPException):
        message = ""
    problem = f"HTTP {error.code}{': ' + message if message else ''}"
    if error.code in (401, 403) or (asked and error.code == 404):
        correct = "the URL" if error.code == 404 else f"the key in the environment variable {peer.key}"
        return UserError(f"{peer.who} at {without_keys(url)} refused the request ({problem}): correct {correct}")
    again = error.code >= 500 or error.code in PASSING
    said_wait = (error.headers.get("Retry-After") or "").strip() if error.code == 429 else ""
    wait = min(float(said_wait), LONGEST_WAIT) if said_wait.isascii() and said_wait.isdigit() else 0.0
    return FailedRequestError(problem, again, of_the_text=error.code in OF_THE_TEXT, wait=wait)


def shown(content: bytes, hidden: Sequence[str]) -> str:
    """The beginning of what an error says, without what is to be `hidden`, which some servers repeat."""
    return " ".join(without(said(content), hidden).split())[:300]


def said(content: bytes) -> str:
    """The message of an error in OpenAI's format, or else the text itself."""
    text = content.decode(errors="replace")
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return text
