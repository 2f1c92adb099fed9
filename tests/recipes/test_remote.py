"""A conversation with a served model is the conversation with the model."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from served import Server, edited, serving

from burnish.config import Settings
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.recipes.chat import chat
from burnish.recipes.remote import remote
from burnish.run import UserError

BASE = Settings(seed=3, threads=1, quiet=True, device="cpu")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(LanguagePolicy(tiny.make_model("llama"), tiny.make_chat_tokenizer("a"))) as found:
        yield found


def talk(server: Server, *lines: str, **options: Any) -> str:
    waiting, out = iter(lines), io.StringIO()

    def read(_: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    chat(None, server=server.url, max_new_tokens=5, base=BASE, read=read, write=out.write, **options)
    return out.getvalue()


def test_answers_are_those_of_the_model(server: Server) -> None:
    """The film plot a, then what was answered; the second turn has the next seed."""
    policy, decoder = server.engine.policy, server.engine.decoder
    first = decoder.responses(sample(policy, [[8, 5, 6, 7]], seed=3, max_new_tokens=5).tokens)[0]
    prompt = server.engine.ids
    said = talk(server, "film", "bad", "/undo")
    from burnish.recipes.serve.requests import Asked

    talked = [{"role": "user", "content": "film"}, {"role": "assistant", "content": first}]
    talked.append({"role": "user", "content": "bad"})
    (ids,) = prompt(Asked("chat", [talked], 5, 0))
    second = decoder.responses(sample(policy, [ids], seed=4, max_new_tokens=5).tokens)[0]
    greeting, *rest = said.splitlines()
    assert greeting.startswith("tiny: /help")
    assert rest == [first, second, "(taken back: bad)"]


def test_a_model_without_a_template_goes_on_with_the_text() -> None:
    policy = tiny.make_policy("gpt2", double=False)
    with serving(policy) as server:
        said = talk(server, "a film")
    own = policy.tokenizer.decode(
        sample(policy, [[0, 7, 5]], seed=3, max_new_tokens=5).tokens[0], skip_special_tokens=True
    )
    assert "has no chat template" in said
    assert said.splitlines()[-1].split() == own.split()


def test_what_fails_is_said_and_the_conversation_goes_on(server: Server, tmp_path: Path) -> None:
    assert "(HTTP 400: prompt 0 has" in talk(server, "film " * 60, "/exit")

    def broken(path: str, body: bytes) -> bytes:
        return body.split(b"\n\n")[0] + b"\n\n" if "chat" in path else body

    server.endpoints.change = broken
    try:
        assert "(the reply was cut off)" in talk(server, "film", "/exit")
    finally:
        server.well()


def test_the_model_has_to_be_there(server: Server) -> None:
    assert remote(server.url, None, None).max_new_tokens == 24
    assert remote(f"{server.url}/v1/chat/completions", "tiny", 7).max_new_tokens == 7
    with pytest.raises(UserError, match="has no big: it has tiny"):
        remote(server.url, "big", None)
    for edit, said in (
        (lambda content: content.update(data=[]), "has no model: give one of them as MODEL"),
        (lambda content: content.update(data=None), "does not list its models"),
    ):
        server.endpoints.change = edited(edit, "/v1/models")
        try:
            with pytest.raises(UserError, match=said):
                remote(server.url, None, None)
        finally:
            server.well()
    with pytest.raises(UserError, match="--against needs models in this process"):
        chat(None, "other", server=server.url, base=BASE)
