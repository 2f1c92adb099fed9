"""The label server over real HTTP: what its own page gets, and that nobody else gets anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labelling
import pytest
from labelling import Server, reply, rows, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    with serving(labelling.session(path, raters=("anna", "ben")), "Prefer what is true.") as found:
        yield found


def written(server: Server) -> list[dict[str, Any]]:
    return rows(server.pages.session.file.path)


def test_the_page_is_one_file_that_runs_its_own_script_alone(server: Server) -> None:
    status, page, headers = server.ask("")
    policy = headers["content-security-policy"]
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert status == 200
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert page.count(f'<script nonce="{nonce}">') == page.count("<script") == 1
    assert page.count(f'<style nonce="{nonce}">') == page.count("<style") == 1
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
    assert nonce not in server.ask("")[1]
    assert "question" not in page
    for words in ('lang="en"', 'role="alert"', 'role="status"', 'name="viewport"', "prefers-color-scheme:dark"):
        assert words in page


def test_what_the_page_asks_for(server: Server) -> None:
    status, about, headers = server.ask("about")
    assert (status, about["raters"], about["guideline"]) == (200, ["anna", "ben"], "Prefer what is true.")
    assert headers["cache-control"] == "no-store"
    assert not any(name.startswith("access-control") for name in headers)
    status, view, _ = server.ask("show?rater=anna&place=0")
    assert (status, view["places"], view["previous"]) == (200, 6, None)
    for place, said in (("x", "not a number"), ("-1", "not a number"), ("1" * 20, "not a number")):
        status, found, _ = server.ask(f"show?rater=anna&place={place}")
        assert (status, said in found["error"]) == (400, True)
    assert server.ask("show?rater=cem")[:2] == (404, {"error": "there is no rater 'cem': name one with --raters"})


def test_an_answer_is_on_disk_before_the_next_pair_is_shown(server: Server) -> None:
    before = len(written(server))
    view = server.ask("show?rater=ben")[1]
    status, following, _ = server.ask("answer", reply(view, "bad", 77))
    assert (status, following["place"]) == (200, view["place"] + 1)
    assert len(written(server)) == before + 1
    assert server.ask("answer", reply(view, "bad", 77))[:2] == (200, following)
    assert len(written(server)) == before + 1


OUTSIDE: list[tuple[dict[str, str], int]] = [
    ({"Host": "evil.example"}, 403),  # a name of another site that points to this machine
    ({"Host": "127.0.0.1.evil.example"}, 403),
    ({"Host": "localhost.evil.example:80"}, 403),
    ({"Host": "[::1].evil.example"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 403),  # another server of this machine
    ({"Sec_Fetch_Site": "cross-site"}, 403),
    ({"Sec_Fetch_Site": "same-site"}, 403),
    ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
]


@pytest.mark.parametrize(("headers", "refused"), OUTSIDE)
def test_another_sites_page_can_neither_read_nor_write(server: Server, headers: dict[str, str], refused: int) -> None:
    view, before = server.ask("show?rater=anna")[1], len(written(server))
    for path in ("", "about", "show?rater=anna"):
        status, found, said = server.ask(path, **headers)
        assert status == refused
        assert "question" not in str(found)
        assert not any(name.startswith("access-control") for name in said)
    assert server.ask("answer", reply(view, "left", 1), **headers)[0] == refused
    assert server.ask("finish", {"rater": "anna"}, **headers)[0] == refused
    assert len(written(server)) == before


def test_without_the_token_there_is_nothing(server: Server) -> None:
    view, before = server.ask("show?rater=anna")[1], len(written(server))
    for token in ("other", "sesam", "sesame1", "%C3%A9"):
        for path in ("", "about", "show?rater=anna"):
            status, found, _ = server.ask(path, token=token)
            assert (status, "open the one that burnish label printed" in found["error"]) == (403, True)
        assert server.ask("answer", reply(view, "left", 1), token=token)[0] == 403
    assert server.ask("../", token="")[0] in (403, 404)
    assert len(written(server)) == before


def test_what_a_form_of_another_site_can_send_is_refused(server: Server) -> None:
    view, before = server.ask("show?rater=anna")[1], len(written(server))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert server.ask("answer", reply(view, "left", 1), Content_Type=kind)[0] == 415
    assert server.ask("answer", [], Content_Type="Application/JSON ; charset=utf-8")[0] == 400  # of JSON, and no answer
    assert server.ask("answer", method="OPTIONS", Origin="http://evil.example")[0] == 405
    assert len(written(server)) == before


def test_the_own_page_and_a_link_to_it_are_answered(server: Server) -> None:
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec_Fetch_Site": "same-origin"}
    assert server.ask("about", **own)[0] == 200
    assert server.ask("", Host="localhost:9", Origin="http://localhost:9")[0] == 200  # through a tunnel
    assert server.ask("", Host="[::1]:9")[0] == 200
    assert server.ask("", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"note": "\\ud800"}', 400, "half of a surrogate pair"),
        (b'"' + b"x" * 2**17 + b'"', 413, "more than 131,072 bytes"),
    ],
)
def test_a_body_that_is_no_answer(server: Server, body: bytes, status: int, said: str) -> None:
    found = server.ask("answer", body)
    assert found[0] == status
    assert said in found[1]["error"]


def test_it_ends_when_everybody_is_finished(tmp_path: Path) -> None:
    with serving(labelling.session(tmp_path / "labels.jsonl", count=1, raters=("anna", "ben"))) as server:
        assert server.ask("finish", {"rater": "anna"})[0] == 409
        assert server.ask("finish", [])[0] == 404
        for number, rater in enumerate(("anna", "ben")):
            server.ask("answer", reply(server.ask(f"show?rater={rater}")[1], "tie", number))
        assert server.ask("finish", {"rater": "anna"})[:2] == (200, {"waiting": ["ben"]})
        assert not server.ended.is_set()
        assert server.ask("finish", {"rater": "ben"})[:2] == (200, {"waiting": []})
        assert server.ended.wait(20)


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(labelling.session(tmp_path / "labels.jsonl")) as server:

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        view = server.ask("show?rater=anna")[1]
        with monkeypatch.context() as patched:
            patched.setattr("burnish.recipes.journal.write_whole", full)
            status, found, _ = server.ask("answer", reply(view, "left", 1))
        assert (status, "No space left on device): make room there" in found["error"]) == (507, True)
        assert server.ask("answer", reply(view, "left", 1))[0] == 200
        assert len(rows(tmp_path / "labels.jsonl")) == 1
