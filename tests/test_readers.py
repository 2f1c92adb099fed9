"""Damaged and arbitrary files: every reader ends in success or in a UserError, and takes no damage for the original.

`pytest tests/test_readers.py --hypothesis-profile=long` tries other and many more examples.
"""

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from burnish.algorithms.dpo import DPO
from burnish.algorithms.ppo import PPO
from burnish.config import as_dict, build, read_config
from burnish.config.build import algorithm_of
from burnish.data import sources, tokenise
from burnish.data.names import single
from burnish.data.prompts import read_prompts
from burnish.data.streams import stream
from burnish.recipes.evaluate.run import build_from
from burnish.report.language.training import _steps, comparison, evaluated, sampled
from burnish.report.runs import read_runs, series
from burnish.report.wording import flatten
from burnish.run import RunFolder, UserError, read_jsonl
from burnish.training import checkpoint

one_folder = settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

SCALAR = re.compile(rb'"[^"\n]*"|[\w.+-]+')
ODD = [
    b"null", b"true", b"0", b"-1", b"1e999", b"NaN", b"9" * 5000, b"1e3", b'""', b'"x"', b'"\\ud800"', b"[]", b"{}",
    b'[{"role": "user"}]', b'[{"role": "assistant", "content": [{"type": "image"}]}]', b'{"content": 1}', b"[null]",
    b"[" * 3000, b'{"a":' * 3000, b"\xff", b"\x00", b"\r", b"\xef\xbb\xbf", b"'", b'"', b"&a", b"*a", b"!!timestamp x",
    b"!!int x", b"!!python/name:os.system",
    b"2001-99-99", b"99:99:99", b"0o9", b"? [1]", b"<<", b"|", b"- ", b"%", b"\t",
]  # fmt: skip
TEXTS = st.text(max_size=6) | st.sampled_from(["good film", " bad", "user", "assistant", "true", "1", '[{"role": 1}]'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(["role", "content"]), inner),
    max_leaves=6,
)
COLUMNS = ["text", "messages", "prompt", "completion", "chosen", "rejected", "label", "responses", "ranks", "tools"]
ROWS = st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=4), max_size=4)
TALK = [{"role": "user", "content": "good ?"}, {"role": "assistant", "content": "very good"}]
DATA = [
    {"prompt": "the film", "completion": " is good", "text": "a film", "label": True, "messages": TALK},
    {"prompt": "a plot", "completion": " was dull", "text": "the plot", "label": False, "messages": TALK * 2},
    {"prompt": TALK[:1], "chosen": TALK[1:], "rejected": TALK[1:], "responses": ["a", "b"], "ranks": [2, 1]},
]
LINES = "".join(json.dumps(row) + "\n" for row in DATA).encode()
CSV = b'prompt,completion,label\n"a ""plot""","is, good",1\na film,is bad,0\n'
READ = {
    "demonstrations": tokenise.demonstrations,
    "preferences": tokenise.preferences,
    "feedback": tokenise.feedback,
    "prompts": read_prompts,
}


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content after one to three changes: a bit, a cut, a piece lost, doubled or inserted, a value replaced."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), place + draw(st.integers(1, 40)))
        kind = draw(st.sampled_from(["value", "value", "bit", "cut", "lost", "doubled", "inserted"]))
        if kind == "bit" and content:
            content = content[:place] + bytes([content[place] ^ (1 << draw(st.integers(0, 7)))]) + content[place + 1 :]
        elif kind == "value" and (found := list(SCALAR.finditer(content))):
            one = draw(st.sampled_from(found))
            content = content[: one.start()] + draw(st.sampled_from(ODD)) + content[one.end() :]
        else:
            new = {"cut": b"", "lost": content[end:], "doubled": content[place:end] * 2 + content[end:]}
            odd = draw(st.sampled_from(ODD)) if kind == "inserted" else b""
            content = content[:place] + new.get(kind, odd + content[place:])
    return content


def ends(act: Callable[..., Any], *arguments: Any) -> Any:
    """What `act` returns; None where it raises a UserError, whose message has to be one sentence on one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return act(*arguments)
        except UserError as error:
            sentence = str(error)
    assert sentence and "\n" not in sentence, sentence  # noqa: PT018
    return None


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny.make_chat_tokenizer()


def read_all(path: Path, tokenizer: Any) -> None:
    """Read a data file whole and as a stream, for every kind of method."""
    dataset = ends(sources.load, path)
    for kind, read in READ.items() if dataset is not None else ():
        ends(read, dataset, tokenizer, 40, kind)
    ends(lambda: list(stream(single(str(path))).rows(0)))


@one_folder
@given(
    content=damaged("".join(json.dumps(row) + "\n" for row in DATA).encode()), ending=st.sampled_from(["jsonl", "json"])
)
def test_damaged_json(content: bytes, ending: str, tmp_path: Path, tokenizer: Any) -> None:
    read_all(write(tmp_path / f"rows.{ending}", content), tokenizer)


@one_folder
@given(rows=ROWS, ending=st.sampled_from(["jsonl", "json"]))
def test_any_rows(rows: list[dict[str, Any]], ending: str, tmp_path: Path, tokenizer: Any) -> None:
    text = json.dumps(rows) if ending == "json" else "".join(json.dumps(row) + "\n" for row in rows)
    read_all(write(tmp_path / f"rows.{ending}", text.encode()), tokenizer)


@one_folder
@given(content=damaged(CSV))
def test_damaged_csv(content: bytes, tmp_path: Path, tokenizer: Any) -> None:
    read_all(write(tmp_path / "rows.csv", content), tokenizer)


@one_folder
@given(data=st.data())
def test_damaged_parquet(data: st.DataObject, tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "rows.parquet"
    pd.DataFrame([{"prompt": "a plot", "completion": " is good", "label": True}] * 3).to_parquet(path)
    read_all(write(path, data.draw(damaged(path.read_bytes()))), tokenizer)


def config_of(method: Any) -> bytes:
    """The default configuration of a method, as a run writes it."""
    chosen = build(method, {"reward": "gold"} if method is PPO else {})
    return yaml.safe_dump(as_dict(*chosen), sort_keys=False).encode()


@one_folder
@given(data=st.data(), method=st.sampled_from([DPO, PPO]))
def test_damaged_configurations(data: st.DataObject, method: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", data.draw(damaged(config_of(method))))
    ends(lambda: build(method, {k: v for k, v in read_config(path).items() if k != "algorithm"}))
    ends(lambda: algorithm_of(str(read_config(path).get("algorithm"))))
    ends(build_from, tmp_path)


FILES = {
    "config.yaml": config_of(DPO),
    "environment.json": b'{"python": "3.11", "packages": {"torch": "2"}, "seed": 0, "model_sha256": "a"}',
    "metrics.jsonl": b"".join(b'{"step": %d, "loss": 0.5, "eval_loss": 0.6}\n' % step for step in (1, 2, 3)),
    "samples.jsonl": json.dumps({"step": 1, "prompt": TALK[:1], "response": "good", "score": 0.5}).encode() + b"\n",
    "evaluation.json": json.dumps(
        {
            "rows": 3,
            "warnings": ["few"],
            "accuracy": {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 3},
            "calibration": {
                "error": 0.1,
                "bins": [{"mean": 0.6, "low": 0.5, "high": 0.7, "count": 3,
                          "agreement": {"mean": 0.5, "low": 0.4, "high": 0.6}}],
            },
            "score": {"demonstrations": {"mean": 0.1, "low": 0.0, "high": 0.2}},
        }
    ).encode(),
    "evaluation_samples.jsonl": json.dumps({"prompt": "a", "response": "b", "gold": 1.0}).encode() + b"\n",
}  # fmt: skip


@one_folder
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_damaged_run_folders(data: st.DataObject, name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    for file, content in FILES.items():
        (run / file).write_bytes(content)
    (run / name).write_bytes(data.draw(damaged(FILES[name])))
    ends(report, run)
    ends(resume, run)


def report(run: Path) -> None:
    """What `burnish report` reads and says, without the drawing, which takes half a second."""
    (found,) = read_runs([run])
    _steps(found)
    series({"run": found.metrics}, "loss")
    evaluated([found])
    comparison([flatten(found.config), flatten(found.environment)])
    sampled([found], "samples.jsonl")
    sampled([found], "evaluation_samples.jsonl")


def resume(path: Path) -> None:
    with RunFolder.open(path, resume=True) as run:
        run.claim({"algorithm": "dpo"}, free=())
        run.describe({"python": "3.11", "seed": 0})


TENSORS = {"policy/w": torch.arange(6.0).view(2, 3), "optimizer/0/step": torch.tensor(3)}
STATE: dict[str, Any] = {"step": 2, "best_loss": float("inf"), "offsets": {"metrics": 10}}


@one_folder
@given(data=st.data(), name=st.sampled_from([checkpoint.TENSORS, checkpoint.STATE, checkpoint.MANIFEST]))
def test_damaged_checkpoints(data: st.DataObject, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    for step in (1, 2):
        checkpoint.save(folder, step, {key: one + step for key, one in TENSORS.items()}, STATE | {"step": step})
    file = folder / "step-000002" / name
    content = data.draw(damaged(file.read_bytes()))
    unchanged = content == file.read_bytes()
    file.write_bytes(content)
    found = checkpoint.latest(folder, lambda sentence: None)
    assert found is not None
    assert not unchanged or found.step == 2
    assert found.state == STATE | {"step": found.step}
    assert_equal(found.tensors, {key: one + found.step for key, one in TENSORS.items()})


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@one_folder
@given(content=damaged(FILES["metrics.jsonl"]))
def test_a_line_that_was_read_was_written_or_changed_itself(content: bytes, tmp_path: Path) -> None:
    found = ends(read_jsonl, write(tmp_path / "metrics.jsonl", content))
    lines = [line for line in content.split(b"\n") if line.strip()]
    assert found is None or len(lines) - 1 <= len(found) <= len(lines)
