"""The page in a real browser: whole sessions by keyboard and by mouse, two at once, and a server that is killed."""

import json
from collections.abc import Iterator
from pathlib import Path

import labelling
import pytest
from browser import CHROMIUM, Browser, Tab, browser
from labelling import EVIL, rows, serving

from burnish.report import theme

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"), pytest.mark.slow]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def ready(tab: Tab, number: int, of: int) -> None:
    """Wait until a comparison is shown that takes answers."""
    tab.wait(f"document.querySelector('#where').textContent === 'Comparison {number} of {of}'")
    tab.wait("!document.querySelector('[data-verdict=skip]').disabled")
    tab.value("new Promise((done) => setTimeout(done, 350))")  # so long a new pair takes no answer


def test_two_raters_at_once_with_keys_and_mouse(chromium: Browser, tmp_path: Path) -> None:
    """Anna types, Ben clicks, in turn; what was pressed is what is in the file, whatever stood on which side."""
    path = tmp_path / "labels.jsonl"
    one = labelling.session(path, count=5, raters=("anna", "ben"))
    with serving(one, "Prefer <i>what</i> is true.") as server:
        anna = chromium.open(server.url)
        anna.wait("document.querySelectorAll('#names button').length === 2")
        anna.press("Tab")
        anna.press("Enter")  # the first name
        ben = chromium.open(f"{server.url}?rater=ben", width=390, height=800, phone=True, dark=True)
        keys = ["ArrowLeft", "ArrowRight", "e", "x", "s"]
        for number, key in enumerate(keys, 1):
            ready(anna, number, 5)
            ready(ben, number, 5)
            if number == 1:
                assert anna.value("document.activeElement.id") == "where"
                assert anna.text("#guideline").strip() == "Prefer <i>what</i> is true."
                assert EVIL in anna.text("#left") + anna.text("#right")
                assert "print(" in anna.text("pre code")
                assert anna.value("document.querySelectorAll('.text b, .text img, .text script').length") == 0
                assert anna.value("document.documentElement.scrollWidth <= innerWidth")
                assert ben.value("document.documentElement.scrollWidth <= innerWidth")
                anna.press("n")
                anna.type("sx left <b>")  # in a note these are letters
                anna.press("Escape")
            anna.press(key)
            ben.click(f"[data-verdict={['right', 'left', 'tie', 'bad', 'skip'][number - 1]}]")
        for tab in (anna, ben):
            tab.wait("!document.querySelector('#done').hidden")
            assert "All comparisons are answered" in tab.text("#done")
            assert tab.complaints() == []
            assert tab.value("document.title") == "All comparisons are answered"
        anna.press("z")  # back to the last one: it is marked, and answered again
        ready(anna, 5, 5)
        assert anna.value("document.querySelector('[aria-pressed=true]').dataset.verdict") == "skip"
        anna.press("ArrowRight")
        anna.wait("!document.querySelector('#done').hidden")
        for tab in (anna, ben):
            tab.click("#finish")
            tab.wait("document.querySelector('#done-text').textContent.startsWith('Thank you')")
        assert server.ended.wait(20)
    found = rows(path)
    sides = {rater: [one.plan.left(rater, at) for at in one.orders[rater]] for rater in ("anna", "ben")}
    other = {"a": "b", "b": "a"}
    mine, bens = ([row for row in found if row["rater"] == rater] for rater in ("anna", "ben"))
    left = sides["anna"]
    assert [row["verdict"] for row in mine] == [left[0], other[left[1]], "tie", "bad", "skip", other[left[4]]]
    assert [row["verdict"] for row in bens] == [other[sides["ben"][0]], sides["ben"][1], "tie", "bad", "skip"]
    assert [row["note"] for row in mine] == ["sx left <b>", "", "", "", "", ""]
    assert mine[5]["revises"] == mine[4]["id"]
    assert len({row["id"] for row in found}) == 11
    assert all(0.3 < row["seconds"] < 600 for row in found)


def spoken(tab: Tab) -> list[tuple[str, str]]:
    """What a screen reader is told, from the browser's accessibility tree: the role and the name of each element."""
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    found = [one for one in nodes if not one["ignored"]]
    return [(one["role"]["value"], " ".join(str(one.get("name", {}).get("value", "")).split())) for one in found]


def test_a_screen_reader_is_told_everything_and_the_keyboard_alone_suffices(chromium: Browser, tmp_path: Path) -> None:
    """With the keys of the verdicts turned off every button is reached by Tab, and pressed by Enter."""
    path = tmp_path / "labels.jsonl"
    with serving(labelling.session(path, count=1, strengths=True), "Be fair.") as server:
        tab = chromium.open(server.url)
        ready(tab, 1, 1)
        found = spoken(tab)
        for role, name in [
            ("heading", "Comparison 1 of 1"),
            ("progressbar", "Comparison 1 of 1"),
            ("region", "Prompt"),
            ("region", "Left answer"),
            ("region", "Right answer"),
            ("group", "Left answer is better"),
            ("group", "Right answer is better"),
            ("complementary", "Guideline"),
        ]:
            assert (role, name) in found, (role, name)
        buttons = [name for role, name in found if role == "button"]
        words = ["much", "clearly", "slightly"]
        sides = [f"Left {word} better {n}" for n, word in enumerate(words, 1)]
        sides += [f"Right {word} better {n}" for n, word in enumerate(words[::-1], 5)]
        assert sorted(buttons) == sorted([*sides, "Back z", "About the same e", "Both bad x", "Skip s"])
        assert [name.split(" (")[0] for role, name in found if role == "textbox"] == ["Note"]
        assert all(name for role, name in found if role in ("button", "checkbox", "textbox", "heading", "region"))
        tab.value("document.querySelector('#keys').click()")
        tab.press("x")
        for _ in range(40):
            if tab.value("document.activeElement.dataset.verdict") == "bad":
                break
            tab.press("Tab")
        tab.press("Enter")
        tab.wait("!document.querySelector('#done').hidden")
        assert tab.value("document.activeElement.textContent") == "All comparisons are answered"
        for _ in range(2):
            tab.press("Tab")
        tab.press("Enter")
        assert server.ended.wait(20)
    assert [row["verdict"] for row in rows(path)] == ["bad"]


def test_the_page_is_dark_where_it_is_asked_for(chromium: Browser, tmp_path: Path) -> None:
    """The colours are those of all pages, and nothing is wider than a phone."""
    with serving(labelling.session(tmp_path / "labels.jsonl", count=1, strengths=True), "Be fair.") as server:
        for dark, colours in ((False, theme.LIGHT), (True, theme.DARK)):
            tab = chromium.open(server.url, width=360, height=700, phone=True, dark=dark)
            ready(tab, 1, 1)
            for what, colour in (("backgroundColor", colours["page"]), ("color", colours["ink"])):
                rgb = ", ".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
                assert tab.value(f"getComputedStyle(document.body).{what}") == f"rgb({rgb})"
            assert tab.value("document.documentElement.scrollWidth <= innerWidth")
            assert tab.value("[...document.querySelectorAll('.verdict button')].every((one) => one.offsetHeight >= 40)")


def test_a_server_that_is_killed_loses_and_doubles_nothing(chromium: Browser, tmp_path: Path) -> None:
    """The page keeps its answer and sends it to the server that comes next; so does a page that is opened again."""
    path = tmp_path / "labels.jsonl"
    with serving(labelling.session(path, count=4, strengths=True)) as server:
        port = server.port
        tab = chromium.open(server.url)
        ready(tab, 1, 4)
        tab.press("1")  # left, much better
        ready(tab, 2, 4)
    tab.press("7")  # right, much better: there is no server
    tab.wait("document.querySelector('#problem').textContent.startsWith('The server does not respond')")
    tab.press("4")  # nothing more is taken
    assert len(rows(path)) == 1
    with serving(labelling.session(path, count=4, strengths=True), port=port):
        ready(tab, 3, 4)
        assert [row["strength"] for row in rows(path)] == [3, 3]
    tab.press("2")
    tab.wait("document.querySelector('#problem').textContent.startsWith('The server does not respond')")
    with serving(labelling.session(path, count=4, strengths=True), port=port) as server:
        tab.go(server.url)  # instead of waiting, the page is loaded again
        ready(tab, 4, 4)
    found = rows(path)
    assert [row["strength"] for row in found] == [3, 3, 2]
    assert [row["verdict"] == row["left"] for row in found] == [True, False, True]
    assert len({json.dumps([row["id"]]) for row in found}) == 3
    assert tab.complaints() == []


def test_another_sites_page_cannot_reach_it(chromium: Browser, tmp_path: Path) -> None:
    """A page of another origin that knows the address and the token, in the same browser."""
    path = tmp_path / "labels.jsonl"
    with serving(labelling.session(path, count=2)) as server, serving(labelling.session(tmp_path / "o.jsonl")) as other:
        tab = chromium.open(other.url)
        ready(tab, 1, 6)
        tab.go("data:text/html,<title>evil</title>")
        tab.wait("document.title === 'evil'")
        reach = "fetch({url}, {options}).then((reply) => 'read ' + reply.status + ' ' + reply.type, () => 'refused')"
        for options in ("{}", "{method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}"):
            assert tab.value(reach.format(url=json.dumps(server.url + "about"), options=options)) == "refused"
        blind = "{method: 'POST', mode: 'no-cors', body: '{}'}"
        said = tab.value(reach.format(url=json.dumps(server.url + "answer"), options=blind))
        assert said in ("refused", "read 0 opaque")
        frame = (
            f"document.body.append(Object.assign(document.createElement('iframe'), {{src: {json.dumps(server.url)}}}))"
        )
        tab.value(frame)
        tab.value("new Promise((done) => setTimeout(done, 300))")
        assert tab.value("(() => { try { return frames[0].document.title; } catch { return null; } })()") != (
            "Comparison 1 of 2 – Which answer is better?"
        )
    assert rows(path) == []
