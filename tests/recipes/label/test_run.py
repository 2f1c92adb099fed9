"""`burnish label` from its arguments to its end, with a real process that is killed."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import jobs
import labelling
import pytest
import tiny
from labelling import reply, rows

import burnish
from burnish.config import Settings
from burnish.recipes.label.pairs import Pair
from burnish.recipes.label.plan import Plan
from burnish.recipes.label.run import guideline_of, label, opened_session, own_name, places_of, plan_of, serve
from burnish.recipes.web import opened, web_server
from burnish.run import UserError

BASE = Settings(quiet=True)
PAIRS = [{"prompt": f"p{i}", "a": f"x{i}", "b": f"y{i}"} for i in range(3)]


def written(folder: Path, name: str = "pairs.jsonl", rows: list[dict[str, Any]] = PAIRS) -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_an_answer_survives_a_killed_server_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the file when the reply comes, and the process is killed right then."""
    out, log = tmp_path / "labels.jsonl", tmp_path / "log"
    monkeypatch.setenv("BURNISH_LABEL_TOKEN", labelling.TOKEN)
    command = ["label", written(tmp_path), "--out", str(out), "--raters", "anna", "--port", "0", "--repeat", "0"]
    process = jobs.start([*command, "--quiet"], log)
    said = jobs.first_line(process, log)
    assert said.startswith("anna: 3 comparisons: http://127.0.0.1:"), log.read_text()
    server = labelling.Server(int(said.split(":")[4].split("/")[0]), None)  # type: ignore[arg-type]
    view = server.ask("show?rater=anna")[1]
    following = server.ask("answer", reply(view, "left", 1))[1]
    process.kill()
    assert jobs.finish(process, 60) == -signal.SIGKILL
    assert len(rows(out)) == 1
    pairs = [Pair(i, **one) for i, one in enumerate(PAIRS)]
    session = opened_session(pairs, Plan(("anna",), repeat=0.0), out, strengths=False)
    assert session.view("anna") == following
    assert session.answer(reply(view, "left", 1)) == following  # the page that got no reply sends it again
    assert len(rows(out)) == 1
    session.file.close()


def test_ctrl_c_ends_it_with_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_LABEL_TOKEN", labelling.TOKEN)
    listening = opened("127.0.0.1", 0)
    server = labelling.Server(listening.getsockname()[1], None)  # type: ignore[arg-type]
    session = labelling.session(tmp_path / "labels.jsonl", raters=("anna", "ben"), shared=0.0, repeat=0.5)

    def interrupt() -> None:
        server.ask("answer", reply(server.ask("show?rater=anna")[1], "tie", 1))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    serve(web_server(), session, listening, "", Settings())
    thread.join(20)
    session.file.close()
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == (
        f"anna: 4 comparisons, 1 of them for the second time: http://127.0.0.1:{server.port}/sesame/?rater=anna"
    )
    assert out.splitlines()[2] == "Ctrl-C ends it; every answer is in the file at once"
    assert err == f"1 answers now, 1 in {tmp_path / 'labels.jsonl'}\n"
    assert len(rows(tmp_path / "labels.jsonl")) == 1


def test_each_start_has_a_token_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough that nobody guesses it."""
    monkeypatch.delenv("BURNISH_LABEL_TOKEN", raising=False)
    found: list[str] = []
    monkeypatch.setattr("burnish.recipes.label.run.told", lambda session, address: found.append(address) or [])
    monkeypatch.setattr("burnish.recipes.label.run.run_server", lambda server, listening: None)
    for _ in range(2):
        label([written(tmp_path)], out=tmp_path / "labels.jsonl", port=0, base=BASE)
    tokens = {address.split("/")[3] for address in found}
    assert len(tokens) == 2
    assert min(map(len, tokens)) == 32


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "there is nothing to label"),
        ({"models": ["a", "b", "c"], "data": "x.jsonl"}, "3 models are given"),
        ({"models": ["{pairs}"], "data": "x.jsonl"}, "is a data file: give it alone"),
        ({"models": ["{pairs}", "b"]}, "is a data file: give it alone"),
        ({"models": ["{pairs}"], "raters": ["a b"]}, "the rater's name 'a b' may have"),
        ({"models": ["{pairs}"], "shared": 1.1}, r"--shared must lie in \[0, 1\], not 1.1"),
        ({"models": ["{pairs}"], "repeat": 0.6}, r"--repeat must lie in \[0, 0.5\], not 0.6"),
        ({"models": ["{pairs}"], "guideline": "{pairs}.none"}, r"--guideline .*none cannot be read \(No such file"),
        ({"models": ["{prompts}"]}, "prompts.jsonl has prompts without answers"),
        ({"models": ["{equal}"]}, "the two answers are the same in all 1 pairs"),
        ({"data": "{pairs}.none"}, "does not exist"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    names = {
        "pairs": written(tmp_path),
        "prompts": written(tmp_path, "prompts.jsonl", [{"prompt": "p"}]),
        "equal": written(tmp_path, "equal.jsonl", [{"prompt": "p", "a": "x", "b": "x"}]),
    }

    def filled(value: Any) -> Any:
        return value.format(**names) if isinstance(value, str) else value

    whole = {key: [*map(filled, v)] if isinstance(v, list) else filled(v) for key, v in given.items()}
    with pytest.raises(UserError, match=said):
        label(**whole, out=tmp_path / "labels.jsonl", port=0, base=BASE)
    assert not (tmp_path / "labels.jsonl").exists()


def test_a_port_in_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with opened("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"^--port {port} cannot be opened \(Address already in use\): choose"):
            label(data="nowhere.jsonl", out=tmp_path / "labels.jsonl", port=port, base=BASE)


def test_labels_of_other_data_and_with_other_strengths_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    session = labelling.session(out, strengths=True)
    session.answer(reply(session.view("anna"), "left", 1, strength=2))
    session.file.close()
    with pytest.raises(UserError, match=r"has labels of other data \(checksum"):
        label([written(tmp_path)], out=out, port=0, base=BASE)
    with pytest.raises(UserError, match="was begun with --strength: give it again"):
        opened_session(labelling.pairs(6), Plan(("anna",)), out, strengths=False)
    opened_session(labelling.pairs(6), Plan(("anna",)), out, strengths=True).file.close()


def test_arguments() -> None:
    assert places_of(["m"], None) == (["m"], "builtin")
    assert places_of([], "x.jsonl") == ([], "x.jsonl")
    assert places_of(["x.csv"], None) == ([], "x.csv")
    assert plan_of([], 0.2, 0.1, 3) == Plan((own_name(),), 3, 0.2, 0.1)
    assert own_name()
    assert guideline_of(None) == ""


def test_a_guideline_is_text_in_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "guide.md"
    path.write_text("\n# Zoë <b>\n")
    assert guideline_of(path) == "# Zoë <b>"
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="cannot be read"):
        guideline_of(path)
    path.write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(UserError, match="has more than 1 MiB"):
        guideline_of(path)


@pytest.mark.parametrize("method", ["RewardModel", "DPO", "KTO"])
def test_the_file_is_trained_on_as_it_is(tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three pairs the votes on one are even: two comparisons remain, with margins and confidences.

    Both have z = −½·margin before DPO has learned anything: margin 2 and confidence 1 give −log σ(−1) = 1.3133, margin
    (2 + 0)/2 and confidence ¾ give −¾·log σ(−½) − ¼·log σ(½) = 0.8491. KTO's first loss is ½ for every row.
    """
    out = tmp_path / "labels.jsonl"
    words = ["a film", "the", "very dull"]
    pairs = [Pair(i, word, f" {word} good", f" {word} bad") for i, word in enumerate(words)]
    session = opened_session(pairs, Plan(("anna", "ben"), shared=1.0, repeat=0.0), out, strengths=True)
    said = {"anna": ("left", "left", "left"), "ben": ("left", "right", "tie")}
    for rater, verdicts in said.items():
        view = session.view(rater)
        while not view["finished"]:
            number = words.index(view["prompt"][0]["text"])
            side = verdicts[number]
            if view["left"][0]["text"].endswith("bad"):
                side = {"left": "right", "right": "left"}.get(side, side)
            strength = None if side == "tie" else 2
            view = session.answer(reply(view, side, len(session.file.records), strength=strength))
    session.file.close()
    model = tiny.save_model(tmp_path / "tiny")
    more = {} if method == "KTO" else {"margin_weight": 0.5}
    algorithm = getattr(burnish, method)(**more)
    burnish.train(algorithm, data=str(out), model=model, out=tmp_path / "run", steps=2, batch_size=2, max_length=32)
    metrics = rows(tmp_path / "run" / "metrics.jsonl")
    assert len(metrics) == 2
    err = capsys.readouterr().err
    assert "(prompt + a + b + rater + verdict)" in err
    first = {"DPO": (1.3133 + 0.8491) / 2, "KTO": 0.5}.get(method, metrics[0]["loss"])
    assert metrics[0]["loss"] == pytest.approx(first, abs=1e-4)
    skipped = "2 responses skipped because their votes are even" if method == "KTO" else "1 pairs skipped"
    assert skipped in err


@pytest.mark.parametrize("odd", ["a/b", "a b", "ä", "a?b", "a\n"])
def test_a_token_that_no_address_can_have_is_refused(odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_LABEL_TOKEN", odd)
    with pytest.raises(UserError, match="BURNISH_LABEL_TOKEN may have letters of English, digits, - and _ alone"):
        label(data="builtin", out=tmp_path / "labels.jsonl", port=0)
    assert not (tmp_path / "labels.jsonl").exists()
