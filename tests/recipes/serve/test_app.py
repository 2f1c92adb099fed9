"""The server's endpoints over HTTP, as any client sees them."""

import http.client
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from served import Server, serving

from burnish.evaluation.judge_server import server_judge
from burnish.policies.language.handed import weights_of, weights_sha256, write_weights
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.rewards.completed import Completed

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(LanguagePolicy(tiny.make_model("llama"), tiny.make_chat_tokenizer("a"))) as found:
        yield found


@pytest.mark.parametrize("streamed", [False, True])
def test_alternatives_are_those_of_a_forward_pass(server: Server, streamed: bool) -> None:
    """After `film` (5) behind the BOS: the three likeliest words of the model's own distribution, at temperature 0."""
    body = {"prompt": [0, 5], "max_tokens": 1, "temperature": 0, "logprobs": 3, "stream": streamed}
    status, found = ask(server, "/v1/completions", body)
    assert status == 200
    if streamed:
        found = json.loads(found.split("\n\n")[0].removeprefix("data: "))
    policy = server.engine.policy
    with torch.no_grad():
        own = policy.model(input_ids=torch.tensor([[0, 5]])).logits[0, -1].double().log_softmax(-1)
    values, ids = own.topk(3)
    top = {policy.tokenizer.decode([i]): value for i, value in zip(ids.tolist(), values.tolist(), strict=True)}
    logprobs = found["choices"][0]["logprobs"]
    assert logprobs["top_logprobs"] == [pytest.approx(top, abs=1e-5)]
    assert logprobs["tokens"] == list(top)[:1]
    assert logprobs["token_logprobs"] == pytest.approx([values[0].item()], abs=1e-5)
    assert found["logprobs_mode"] == "raw_logprobs"


def ask(server: Server, path: str, body: Any = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method or ("GET" if body is None else "POST"), path, data, JSON | headers)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    kind = reply.headers["content-type"]
    return reply.status, json.loads(content) if kind.startswith("application/json") else content.decode()


def test_the_model_is_listed(server: Server) -> None:
    status, found = ask(server, "/v1/models")
    assert status == 200
    (one,) = found["data"]
    assert (one["id"], one["object"], one["max_model_len"], one["weights_version"]) == ("tiny", "model", 48, 0)
    assert one["weights_sha256"] == weights_sha256(server.engine.policy.model)
    assert (one["dtype"], one["other_dtypes"], one["ends"]) == ("float32", {}, [1, 6])


def test_a_completion_with_a_seed_is_the_samplers(server: Server) -> None:
    body = {"prompt": [0, 5], "seed": 7, "max_tokens": 6, "logprobs": 0, "return_token_ids": True, "n": 2}
    status, found = ask(server, "/v1/completions", body)
    own = sample(server.engine.policy, [[0, 5]] * 2, seed=7, max_new_tokens=6)
    assert status == 200
    assert [one["token_ids"] for one in found["choices"]] == own.tokens
    assert [one["logprobs"]["token_logprobs"] for one in found["choices"]] == own.logprobs
    assert found["seed"] == 7
    assert found["weights_sha256"] == server.engine.sha256
    assert ask(server, "/v1/completions", body)[1]["choices"] == found["choices"]


def test_a_message_is_answered(server: Server) -> None:
    body = {"messages": [{"role": "user", "content": "film"}], "seed": 1, "max_tokens": 5, "temperature": 0}
    status, found = ask(server, "/v1/chat/completions", body)
    own = sample(server.engine.policy, [[8, 5, 6, 7]], seed=1, max_new_tokens=5, top_k=1).tokens[0]
    said = server.engine.decoder.responses([own])[0]
    assert (status, found["choices"][0]["message"]) == (200, {"role": "assistant", "content": said})


@pytest.mark.parametrize("endpoint", ["completions", "chat/completions"])
def test_a_stream_says_the_same(server: Server, endpoint: str) -> None:
    prompt = {"prompt": "film"} if endpoint == "completions" else {"messages": [{"role": "user", "content": "film"}]}
    body = prompt | {"seed": 5, "max_tokens": 6}
    whole = ask(server, f"/v1/{endpoint}", body)[1]["choices"][0]
    status, text = ask(server, f"/v1/{endpoint}", body | {"stream": True})
    assert status == 200
    assert text.endswith("data: [DONE]\n\n")
    choices = [json.loads(line[6:])["choices"][0] for line in text.split("\n\n")[:-2]]
    pieces = [one["text"] if endpoint == "completions" else one["delta"]["content"] for one in choices]
    assert "".join(pieces) == (whole["text"] if endpoint == "completions" else whole["message"]["content"])
    assert choices[-1]["finish_reason"] == whole["finish_reason"]


def test_weights_are_loaded_on_request(server: Server, tmp_path: Path) -> None:
    first = weights_of(server.engine.policy, torch.float32)
    other = tiny.make_policy("llama", 1, double=False)
    sums = [weights_sha256(server.engine.policy.model), weights_sha256(other.model)]
    for version, (tensors, digest) in enumerate(
        zip([weights_of(other, torch.float32), first], sums[::-1], strict=True), 1
    ):
        write_weights(tmp_path / "w", tensors, digest)
        status, found = ask(server, "/v1/load_model", {"path": str(tmp_path / "w"), "weights_version": version})
        assert (status, found["weights_sha256"], found["weights_version"]) == (200, digest, version)
        status, found = ask(server, "/v1/completions", {"prompt": "film"})
        assert (found["weights_sha256"], found["weights_version"]) == (digest, version)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/completions", b"{", 400, "the request is not JSON"),
        ("/v1/completions", b"[" * 100_000, 400, "the request is not JSON"),
        ("/v1/completions", b"\xff", 400, "the request is not JSON"),
        ("/v1/completions", [], 400, "must be a JSON object"),
        ("/v1/completions", {"prompt": "film", "n": 0}, 400, "n must be a whole number"),
        ("/v1/completions", {"prompt": "film", "model": "x"}, 404, "there is no model 'x' here"),
        ("/v1/completions", {"prompt": [0] * 48}, 400, "the model's context 48"),
        ("/v1/completions", {"prompt": [0, 99]}, 400, "99"),
        ("/v1/completions", {"prompt": [0], "temperature": -1}, 400, "temperature must be at least"),
        ("/v1/completions", {"prompt": [0], "temperature": -1, "stream": True}, 400, "temperature must be at least"),
        ("/v1/completions", {"prompt": [0], "top_p": 3}, 400, "top_p must lie above 0"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages must be a list"),
        ("/v1/load_model", {"path": "/nowhere", "weights_version": 1}, 400, "/nowhere has no weights"),
        ("/v1/load_model", {"path": "/\ud800", "weights_version": 1}, 400, "half of a surrogate pair"),
        ("/v1/completions", {"prompt": "a film\udc00"}, 400, "half of a surrogate pair"),
        ("/v1/completions", {"prompt": "film", "stop": ["\ud800"], "stream": True}, 400, "half of a surrogate pair"),
        ("/v1/completions", b'{"prompt": "\xed\xa0\x80"}', 400, "the request is not JSON"),
        ("/v1/completions", {"prompt": "film", "temperature": 10**309}, 400, "give a smaller number"),
        ("/v1/completions", {"prompt": "film", "top_p": -(10**309)}, 400, "give a smaller number"),
        ("/v1/completions", {"prompt": "film", "max_tokens": 10**6, "n": 17}, 400, "more than 16,777,216 tokens"),
        ("/v1/load_model", {"path": 3, "weights_version": 1}, 400, "path must be a text"),
        ("/v1/load_model", {"path": "a\0b", "weights_version": 1}, 400, "path must be a text"),
        ("/v1/load_model", {"path": "/nowhere"}, 400, "weights_version must be a whole number"),
        ("/v1/load_model", {"weights_version": 1}, 400, "give the path of a folder"),
        ("/v1/load_model", {"weights_version": 1, "more": 1}, 400, "unknown field 'more'"),
        ("/v1/load_model", {"weights_version": 1, "weights_sha256": "0" * 64}, 400, "have the checksum"),
        ("/v1/none", None, 404, "there is no GET /v1/none: this server has /v1/models"),
        ("/v1/completions", None, 405, "there is no GET /v1/completions"),
    ],
)
def test_what_is_wrong_is_an_error_in_openais_form(
    server: Server, path: str, body: Any, status: int, said: str
) -> None:
    code, found = ask(server, path, body)
    assert code == status
    assert said in found["error"]["message"]
    assert "Traceback" not in found["error"]["message"]
    assert found["error"]["code"] == status


def test_what_the_server_does_wrong_is_an_error_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(server.engine, "complete", broken)
    status, found = ask(server, "/v1/completions", {"prompt": "film"})
    assert (status, found["error"]["type"]) == (500, "server_error")
    assert found["error"]["message"] == "the server failed (ZeroDivisionError: by zero)"


def test_what_nobody_waits_for_is_not_drawn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clients lose patience while another request is answered."""
    engine, drawn, first = server.engine, [], threading.Event()
    pieces = engine.pieces

    def noting(*arguments: Any) -> Iterator[Any]:
        for piece in pieces(*arguments):
            drawn.append(piece)
            yield piece

    monkeypatch.setattr(engine, "pieces", noting)
    engine.worker.submit(first.wait)
    for streamed in (False, True):
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=0.2)
        body = json.dumps({"prompt": "film", "stream": streamed})
        connection.request("POST", "/v1/completions", body, JSON)
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
        ask(server, "/v1/models")  # answered after the server has seen that the connection is closed
        ask(server, "/v1/models")
    first.set()
    engine.worker.submit(lambda: None).result(30)
    assert drawn == []
    assert ask(server, "/v1/completions", {"prompt": "film"})[0] == 200
    assert drawn


def test_a_page_of_the_web_cannot_send_requests(server: Server) -> None:
    """A browser names the page's host, and sends text without asking."""
    assert ask(server, "/v1/models", Host="evil.example")[0] == 403
    assert ask(server, "/v1/models", Host="[::1]:80")[0] == 200
    status, found = ask(server, "/v1/completions", {"prompt": "film"}, **{"Content-Type": "text/plain"})
    assert (status, found["error"]["message"]) == (415, "the content type must be application/json")
    kind = "Application/JSON ; charset=utf-8"
    assert ask(server, "/v1/completions", {"prompt": "film"}, **{"Content-Type": kind})[0] == 200


def test_with_a_token_every_request_has_to_bring_it(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(tiny.make_policy("llama", double=False), token="sesame") as server:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "sesame!"},
            {"Authorization": "Bearer é"},
        ):
            status, found = ask(server, "/v1/models", **headers)
            assert (status, "the token is missing or wrong" in found["error"]["message"]) == (401, True)
        assert ask(server, "/v1/models", Authorization="Bearer sesame", Host="elsewhere.example")[0] == 200
        assert "sesame" not in json.dumps(ask(server, "/v1/models", Authorization="Bearer sesame"))
    assert "sesame" not in "".join(capfd.readouterr())


def test_the_server_can_judge(server: Server) -> None:
    """A model that knows no FIRST or SECOND gives no verdict, but every question is answered."""
    assert "BURNISH_JUDGE_KEY" not in os.environ
    batch = torch.zeros(1, 1)
    written = Completed(["a film"], ["good"], ["a film good"], {}, [0], batch, [True])  # type: ignore[arg-type]
    judge = server_judge(f"{server.url}/v1", tries=2, pause=0.001, tokens=4)
    assert judge.name == f"tiny at {server.url}/v1"
    # Its 48 tokens of context are too few for the question, which the server says.
    found = judge(written, written)
    assert found[0].winner is None
    assert "the model's context 48" in found[0].problem
