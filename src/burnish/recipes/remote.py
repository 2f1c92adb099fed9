"""A conversation with a model behind a server that speaks OpenAI's protocol: `burnish chat --server URL`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from burnish.policies.language.connection import KEY
from burnish.recipes.conversation import Talk
from burnish.run import UserError, without_keys
from burnish.run.web import FailedRequestError, Peer, api, endpoint, events, request

SERVER = Peer("the server", "--server", KEY)
SECONDS = 600.0
MOST = 256


@dataclass
class Remote(Talk):
    """A conversation with the model `name` of the server at `url`, which is sent all that was said each time."""

    url: str
    template: bool

    @property
    def has_template(self) -> bool:
        return self.template

    def answer(self, seed: int, turn: int, temperature: float, top_p: float | None) -> Iterator[str]:
        """The answer in pieces, as the server streams it. A failed request is said in its place."""
        said: list[str] = []
        body = {"model": self.name, "max_tokens": self.max_new_tokens, "temperature": temperature, "stream": True}
        body |= {"seed": (seed + turn) % 2**32} | ({} if top_p is None else {"top_p": top_p})
        name = "chat/completions" if self.template else "completions"
        body |= {"messages": self.messages} if self.template else {"prompt": self.text}
        try:
            for event in events(endpoint(self.url, name), SECONDS, SERVER, body):
                for piece in pieces_of(event):
                    said.append(piece)
                    yield piece
        except (FailedRequestError, UserError) as error:
            yield f" ({error})"
        finally:
            self.turns.append((self.question or "", "".join(said)))
            self.question = None


def pieces_of(event: Any) -> list[str]:
    """The text of an event of a stream. Raises FailedRequestError for an error that the server sends in one."""
    if isinstance(event, dict) and isinstance(problem := event.get("error"), dict):
        raise FailedRequestError(str(problem.get("message")), again=False)
    try:
        found = [one["delta"].get("content") if "delta" in one else one["text"] for one in event["choices"]]
    except (LookupError, TypeError, AttributeError) as error:
        raise FailedRequestError("an event of the stream has no text", again=False) from error
    return [piece for piece in found if piece]


def remote(url: str, model: str | None, max_new_tokens: int | None) -> Remote:
    """The conversation with a server's model; without `model`, with its only one.

    Raises UserError where the server does not respond, or the model is not there.
    """
    shown, url = without_keys(url), api(url, SERVER, "/chat/completions")
    try:
        listed = request(endpoint(url, "models"), 60.0, SERVER)
        models = {str(one["id"]): one for one in listed["data"]}
    except FailedRequestError as error:
        raise UserError(f"the server at {shown} does not respond ({error}): start it or correct --server") from error
    except (LookupError, TypeError) as error:
        raise UserError(f"the server at {shown} does not list its models: correct --server") from error
    if model is None and len(models) != 1:
        raise UserError(f"the server at {shown} has {', '.join(models) or 'no model'}: give one of them as MODEL")
    name = model or next(iter(models))
    if name not in models:
        raise UserError(f"the server at {shown} has no {name}: it has {', '.join(models) or 'none'}")
    context = models[name].get("max_model_len")
    longest = min(MOST, context // 2) if isinstance(context, int) and max_new_tokens is None else max_new_tokens or MOST
    return Remote(name, longest, url, bool(models[name].get("chat_template", True)))
