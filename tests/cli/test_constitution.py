"""`burnish constitution` at the command line."""

import json
from collections.abc import Callable
from math import log
from pathlib import Path

import pytest
from judge_servers import judge_server

Run = Callable[..., tuple[int, str, str]]
PAIR = {"prompt": "p", "a": "x", "b": "y"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(PAIR) + "\n")
    (tmp_path / "rules.yaml").write_text("- Be kind.\n")
    (tmp_path / "empty.yaml").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing option '--data'"),
        (["--data", "{tmp}/pairs.jsonl"], "Missing option '--principles'"),
        (["--principles", "{tmp}/empty.yaml"], "empty.yaml has no principles"),
        (["--judge", "http://"], "--judge http:// has no host"),
        (["--judge", "{tmp}/none"], "no such folder"),
        (["--judge-model", "m"], "--judge-model m is for a judge at a URL"),
        (["--judge", "http://h", "--judge-timeout", "0"], "--judge-timeout must lie in (0, 86400] seconds, not 0"),
        (["--budget", "0"], "0 is not in the range x>=1"),
        (["--data", "{tmp}/none.jsonl"], "none.jsonl does not exist"),
        (["--out", "{tmp}"], "is a folder: name a file in it"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str, folder: Path, burnish: Run) -> None:
    """What is not given is right, but for the first two."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    right = {"--data": "{tmp}/pairs.jsonl", "--principles": "{tmp}/rules.yaml", "--judge": "builtin"}
    whole = (right | {"--out": "{tmp}/l.jsonl"} | given) if "Missing" not in said else given
    status, out, err = burnish("constitution", *(one.format(tmp=folder) for pair in whole.items() for one in pair))
    assert (status, out) == (2, "")
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert not (folder / "l.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", None], "--part feedback needs a --judge: a language model, or the URL of a server"),
        (["--revisions", "2"], "--revisions is for --part supervised: leave it out, or give that part"),
        (["--server", "http://h"], "--server is for --part supervised"),
        (["--part", "supervised"], "--judge is for --part feedback: leave it out, or give that part"),
        (["--part", "supervised", "--judge", None], "--part supervised needs a --model that answers"),
        (["--part", "supervised", "--judge", None, "--reason", ""], "--reason is for --part feedback"),
        (["--part", "supervised", "--judge", None, "--model", "{tmp}/none"], "no such folder"),
        (
            ["--part", "supervised", "--judge", None, "--server", "http://h", "--load-in-4bit", ""],
            "--load-in-4bit is for a model in this process: leave it out, or --server",
        ),
        (["--judge", "http://h", "--load-in-4bit", ""], "--load-in-4bit is for a model in this process: leave it out"),
        (["--judge", "http://h", "--precision", "bfloat16"], "--precision is for a model in this process"),
        (["--judge", "http://h", "--threads", "1"], "--threads is for a model in this process"),
        (["--judge-timeout", "5"], "--judge-timeout is for a judge at a URL: give --judge http://…, or leave it out"),
        (
            ["--part", "supervised", "--judge", None, "--model", "builtin", "--server-timeout", "5"],
            "--server-timeout is for a --server: give its URL, or leave it out",
        ),
        (["--budget-tokens", "9"], "--budget-tokens is for a model on a server, which counts its tokens"),
        (
            ["--judge", None, "--part", "supervised", "--model", "builtin", "--budget-tokens", "9"],
            "--budget-tokens is for a model on a server, which counts its tokens",
        ),
        (["--part", "other"], "'other' is not one of 'feedback', 'supervised'"),
        (["--clamp", "0.1 0.6"], "--clamp 0.1 0.6 must lie around 0.5 evenly"),
        (["--people", "{tmp}/pairs.jsonl"], "--people needs an --ai-share in [0, 1]"),
        (["--max-new-tokens", "4"], "--max-new-tokens 4 is for --reason"),
    ],
)
def test_an_option_of_the_other_part_is_one_sentence(
    arguments: list[str | None], said: str, folder: Path, burnish: Run
) -> None:
    """What is None is not given."""
    right = {"--data": "{tmp}/pairs.jsonl", "--principles": "{tmp}/rules.yaml", "--judge": "builtin"}
    whole = right | {"--out": "{tmp}/l.jsonl"} | dict(zip(arguments[::2], arguments[1::2], strict=True))
    given = [word for name, value in whole.items() if value is not None for word in (str(name), *value.split(" "))]
    status, out, err = burnish("constitution", *(one.format(tmp=folder) for one in given if one))
    assert (status, out) == (2, "")
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_answers_are_revised_and_what_became_of_them_is_said(folder: Path, burnish: Run) -> None:
    with judge_server(lambda seen: f"said {len(seen.body['messages'])}") as server:
        options = ["--data", folder / "pairs.jsonl", "--principles", folder / "rules.yaml", "--server", server.url]
        options += ["--part", "supervised", "--revisions", 2, "--temperature", 0, "--max-new-tokens", 7]
        status, out, err = burnish("constitution", *options, "--out", folder / "r.jsonl")
    assert (status, out) == (0, f"{folder / 'r.jsonl'}\n")
    assert "1 of 1 answers are revised (5 requests)" in err
    assert (
        "0 last revisions are equal to the first answer, and 0 to the critique before them; the mean length goes from "
        "6 to 6 characters" in err
    )
    row = json.loads((folder / "r.jsonl").read_text())
    assert (row["completion"], row["principles"]) == ([{"role": "assistant", "content": "said 5"}], ["Be kind."] * 2)
    assert {(seen.body["temperature"], seen.body["max_tokens"]) for seen in server.requests} == {(0.0, 7)}


def test_labels_are_written_and_what_became_of_them_is_said(folder: Path, burnish: Run) -> None:
    listed = [{"token": "A", "logprob": log(0.6)}, {"token": "B", "logprob": log(0.2)}]
    with judge_server(lambda _: {"choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}]}) as server:
        options = ["--data", folder / "pairs.jsonl", "--principles", folder / "rules.yaml", "--judge", server.url]
        status, out, err = burnish("constitution", *options, "--out", folder / "l.jsonl", "--budget", 2)
    assert (status, out) == (0, f"{folder / 'l.jsonl'}\n")
    assert "1 of 1 pairs are labelled (2 requests)" in err
    assert "position bias: the option shown first has 75.0% [75.0%, 75.0%]" in err
    assert "the orders disagree in 1 pairs" in err
    assert json.loads((folder / "l.jsonl").read_text())["confidence"] == pytest.approx(0.5)
