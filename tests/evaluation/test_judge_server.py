"""The judge behind HTTP, against a real server on this machine that judges by a rule."""

import socket
import time
from typing import Any

import judge_servers
import pytest
from judge_servers import Seen, Status, longer, slowly

from burnish.evaluation.judge_server import KEY, ServerJudge, server_judge, spoken, verdict_in
from burnish.evaluation.judges import Verdict, counts, position_bias, win_rate
from burnish.rewards.completed import Completed
from burnish.run import UserError

QUICK: dict[str, Any] = {"timeout": 5.0, "pause": 0.01}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there: a server on this machine needs no proxy


def written(responses: list[str]) -> Completed:
    count = len(responses)
    prompts = [f"question {i}" for i in range(count)]
    return Completed(prompts, responses, responses, {}, list(range(count)), None, [True] * count)


A = written(["long answer", "no", "same", "a much longer one"])
B = written(["short", "longer", "four", "one"])
BY_LENGTH = ["A", "B", "tie", "A"]


def test_both_orders_are_asked_and_agree() -> None:
    with judge_servers.judge_server(longer) as log:
        found = server_judge(log.url, **QUICK)(A, B)
    assert [one.winner for one in found] == BY_LENGTH
    assert [one.orders for one in found] == [(w, w) for w in BY_LENGTH]
    asked = sorted((seen.first, seen.second) for seen in log.requests)
    pairs = list(zip(A.responses, B.responses, strict=True))
    assert asked == sorted(pairs + [(b, a) for a, b in pairs])
    assert counts(found) == {"pairs": 4, "A": 2, "B": 1, "ties": 1, "unjudged": 0, "orders_disagree": 0}
    rate, bias = win_rate(found), position_bias(found)
    assert rate is not None
    assert rate.mean == 2.5 / 4
    assert bias is not None
    assert (bias.mean, bias.low, bias.high) == (0.5, 0.5, 0.5)


def test_the_request_is_plain_and_names_the_prompt() -> None:
    with judge_servers.judge_server(longer) as log:
        server_judge(log.url + "/", **QUICK)(A, B)
    body = log.requests[0].body
    assert (body["model"], body["temperature"], body["stream"]) == ("ruler", 0, False)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    said = [seen.body["messages"][1]["content"] for seen in log.requests]
    assert all(sum(f"\nquestion {i}\n" in text for text in said) == 2 for i in range(4))
    assert "Authorization" not in log.requests[0].headers


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with judge_servers.judge_server(longer, key="secret") as log:
        with pytest.raises(UserError, match=rf"refused .*wrong key.*correct the key in .*{KEY}"):
            server_judge(log.url, **QUICK)
        monkeypatch.setenv(KEY, "secret")
        assert [one.winner for one in server_judge(log.url, **QUICK)(A, B)] == BY_LENGTH


def test_a_key_in_the_address_is_sent_and_never_shown() -> None:
    with judge_servers.judge_server(longer, key="Basic bWU6c2VjcmV0") as log:  # base64 of me:secret
        judge = server_judge(log.url.replace("://", "://me:secret@") + "/?key=hidden", **QUICK)
        assert [one.winner for one in judge(A, B)] == BY_LENGTH
        assert judge.name == f"ruler at {log.url}"
        assert set(log.queries) == {"key=hidden"}
        with pytest.raises(UserError) as caught:
            server_judge(log.url.replace("://", "://me:wrong@") + "?key=hidden", **QUICK)
    assert f"the judge at {log.url}/models refused the request" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("me:", "wrong@", "hidden"))


def test_a_key_that_the_server_repeats_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-0123")
    with judge_servers.judge_server(longer, key="secret") as log, pytest.raises(UserError) as caught:
        server_judge(log.url, **QUICK)
    assert "wrong key Bearer …" in str(caught.value)
    assert "sk-0123" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1/v1?key=secret",
        "http://[zz]:1/v1?key=secret",
        "http://host:port/v1?key=secret",
        "http://host:99999/v1?key=secret",
        "http://a..b/v1?key=secret",
        f"http://{'a' * 300}/v1?key=secret",
        "http://127.0.0.1:9/é?key=secret",
        "http://a\x01b/v1?key=secret",
        "http://127.0.0.1:9/v1\n?key=secret",
        "http://\udcff/v1?key=secret",
    ],
)
def test_an_address_that_cannot_be_read_is_a_sentence(address: str) -> None:
    with pytest.raises(UserError, match="is not a URL") as caught:
        server_judge(address)
    assert "secret" not in str(caught.value)


def test_a_judge_that_prefers_the_first_place_ties_and_shows_its_bias() -> None:
    with judge_servers.judge_server(lambda seen: "FIRST") as log:
        found = server_judge(log.url, **QUICK)(A, B)
    assert [one.winner for one in found] == ["tie"] * 4
    assert [one.orders for one in found] == [("A", "B")] * 4
    assert counts(found)["orders_disagree"] == 4
    rate, bias = win_rate(found), position_bias(found)
    assert rate is not None
    assert rate.mean == 0.5
    assert bias is not None
    assert bias.mean == 1.0
    assert 0.5 < bias.low < 1.0  # Wilson: four pairs are few


def test_nonsense_is_asked_again_and_then_marked() -> None:
    def moody(seen: Seen) -> str:
        """Sense at the second asking, but of `no` never."""
        return (
            "I like both! The first is good." if seen.time == 0 or "no" in (seen.first, seen.second) else longer(seen)
        )

    with judge_servers.judge_server(moody) as log:
        found = server_judge(log.url, **QUICK)(A, B)
    assert [one.winner for one in found] == ["A", None, "tie", "A"]
    assert found[1].problem == "no verdict: 'I like both! The first is good.'"
    assert [seen.time for seen in log.requests if seen.first == "no"] == [0, 1, 2]  # three tries, the other order never
    assert not [seen for seen in log.requests if seen.second == "no"]
    again = next(seen for seen in log.requests if seen.time == 1)
    assert [message["role"] for message in again.body["messages"]] == ["system", "user", "assistant", "user"]
    assert again.body["messages"][3]["content"].startswith("That is no verdict")
    assert counts(found)["unjudged"] == 1
    rate = win_rate(found)
    assert rate is not None
    assert rate.mean == 2.5 / 3


def test_nonsense_in_the_second_order_alone_is_marked_too() -> None:
    rule = lambda seen: "dunno" if seen.first in B.responses else longer(seen)  # noqa: E731
    with judge_servers.judge_server(rule) as log:
        found = server_judge(log.url, **QUICK)(A, B)
    assert [one.winner for one in found] == [None] * 4
    assert [one.orders for one in found] == [(w, None) for w in BY_LENGTH]
    assert win_rate(found) is position_bias(found) is None


def test_a_server_that_stumbles_is_asked_again() -> None:
    def stumbling(seen: Seen) -> Any:
        if seen.time == 0:
            raise Status(503)
        return {"choices": []} if seen.time == 1 else longer(seen)

    with judge_servers.judge_server(stumbling) as log:
        found = server_judge(log.url, **QUICK)(A, B)
    assert [one.winner for one in found] == BY_LENGTH
    assert len(log.requests) == 3 * 8


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (429, 3), (400, 1)])
def test_what_keeps_failing_is_marked_with_its_status(status: int, tries: int) -> None:
    def failing(seen: Seen) -> str:
        if "no" in (seen.first, seen.second):
            raise Status(status)
        return longer(seen)

    with judge_servers.judge_server(failing) as log:
        found = server_judge(log.url, **QUICK)(A, B)
    assert [one.winner for one in found] == ["A", None, "tie", "A"]
    assert found[1].problem == f"HTTP {status}: not now"
    assert sum(seen.first == "no" for seen in log.requests) == tries


def test_pauses_grow() -> None:
    """Three tries have two pauses: 0.1 and 0.2 seconds."""

    def failing(seen: Seen) -> str:
        raise Status(503)

    with judge_servers.judge_server(failing) as log:
        judge = server_judge(log.url, timeout=5.0, pause=0.1)
        began = time.monotonic()
        judge(written(["a"]), written(["b"]))
        assert time.monotonic() - began > 0.29
    assert len(log.requests) == 3


def test_a_judge_that_times_out_is_asked_again_and_then_marked() -> None:
    def late(seen: Seen) -> str:
        return slowly(0.6)(seen) if "no" in (seen.first, seen.second) else longer(seen)

    with judge_servers.judge_server(late) as log:
        found = server_judge(log.url, timeout=0.2, pause=0.01)(A, B)
        assert [one.winner for one in found] == ["A", None, "tie", "A"]
        assert found[1].problem == "no answer in 0.2 s"
        assert sum(seen.first == "no" for seen in log.requests) == 3


def test_a_reply_that_is_no_json_is_no_verdict() -> None:
    with judge_servers.judge_server(lambda seen: b"<html>") as log:
        found = server_judge(log.url, **QUICK)(written(["a"]), written(["b"]))
    assert found[0].winner is None
    assert found[0].problem.startswith("the response is not JSON")
    assert len(log.requests) == 3


def test_a_redirection_is_not_followed() -> None:
    def moved(seen: Seen) -> str:
        raise Status(302)  # which the standard library would follow with a GET

    with judge_servers.judge_server(moved) as log:
        found = server_judge(log.url, **QUICK)(written(["a"]), written(["b"]))
    assert found[0].problem.startswith("HTTP 302")


def test_a_refusal_ends_it_all() -> None:
    def refusing(seen: Seen) -> str:
        raise Status(404)

    with judge_servers.judge_server(refusing) as log, pytest.raises(UserError, match=r"HTTP 404.*correct the URL"):
        server_judge(log.url, **QUICK)(A, B)


def test_nobody_there_is_a_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(UserError, match=r"does not respond \(Connection refused\): start it or correct --judge"):
            server_judge(url, **QUICK)


def test_a_url_without_a_host_is_refused() -> None:
    with pytest.raises(UserError, match="has no host"):
        server_judge("http:///v1")


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (["x", "y"], "it has x, y"),
        ([], "it does not list its models"),
        (404, "it does not list its models"),
        (500, "it does not list its models"),
    ],
)
def test_the_model_must_be_known(models: Any, said: str) -> None:
    with judge_servers.judge_server(longer, models) as log:
        with pytest.raises(UserError, match=f"needs a --judge-model: {said}"):
            server_judge(log.url, **QUICK)
        judge = server_judge(log.url, "y", **QUICK)
        assert judge.name == f"y at {log.url}"
        assert [one.winner for one in judge(A, B)] == BY_LENGTH
    assert log.requests[0].body["model"] == "y"


def test_the_callback_is_called_after_each_pair() -> None:
    passed: list[int] = []
    with judge_servers.judge_server(longer) as log:
        ServerJudge(log.url, "ruler", **QUICK, passing=lambda: passed.append(1))(A, B)
    assert len(passed) == 4


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("FIRST", "first"),
        (" second.\n", "second"),
        ("**Tie**", "tie"),
        ("Verdict: FIRST", "first"),
        ("Final answer: **SECOND**", "second"),
        ("The first is dull.\n\nSECOND", "second"),
        ("<think>FIRST</think>SECOND", "second"),
        ("", None),
        ("FIRST or SECOND", None),
        ("The first answer is better.", None),
        ("FIRST\nbecause it is long", None),
        ("firstly", None),
        ("1", None),
    ],
)
def test_a_verdict_is_one_word_or_none(reply: str, said: str | None) -> None:
    assert verdict_in(reply) == said


def test_a_conversation_is_spoken_with_its_roles() -> None:
    assert spoken("just text") == "just text"
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert spoken(messages) == "system: Be kind.\n\nuser: Hi"


def test_an_unjudged_pair_is_no_verdict() -> None:
    assert Verdict(None, orders=("A", None)).disagrees is False
