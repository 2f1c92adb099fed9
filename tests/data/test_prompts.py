"""Prompts by hand: the byte b is the id b, BOS is 256."""

import datetime
import subprocess
import sys

import pytest
from datasets import Dataset

from burnish.data.prompts import Prompts, fingerprint, read_prompts
from burnish.data.sources import load
from burnish.run import UserError

from .tokenizers_on_the_spot import CHATML, ids, make

BOS = 256


def read(*rows, max_length=100, **kwargs) -> Prompts:
    return read_prompts(load(list(rows)), make(**kwargs), max_length, "f.jsonl")


def test_ids_end_where_the_answer_begins_and_nothing_is_lost():
    found = read({"prompt": "ab", "answer": 7, "completion": " c"}, {"prompt": "", "answer": 8, "completion": " d"})
    assert found.ids == [[BOS, 97, 98], [BOS]]
    assert found.prompts == ["ab", ""]
    assert found.columns == {"answer": [7, 8], "completion": [" c", " d"]}
    assert (found.rows, len(found)) == ([0, 1], 2)
    assert found.counts == {"rows": 2, "truncated_prompts": 0, "tokens": 4}


def test_a_conversation_is_rendered_up_to_where_the_assistant_speaks():
    talk = [{"role": "user", "content": "a"}]
    found = read({"messages": [*talk, {"role": "assistant", "content": "b"}]}, template=CHATML)
    tokenizer = make(template=CHATML)
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>"))
    assert found.ids == [[start, *ids("user\na"), end, *ids("\n"), start, *ids("assistant\n")]]
    assert found.prompts == [talk]
    assert found.columns == {}


def test_the_left_is_cut_and_counted():
    """BOS keeps its place: of `abcd` the last three ids remain in four; of five ids with BOS none is cut in five."""
    found = read({"prompt": "abcd"}, {"prompt": "xyz"}, max_length=4)
    assert found.ids == [[BOS, *ids("bcd")], [BOS, *ids("xyz")]]
    assert found.counts == {"rows": 2, "truncated_prompts": 1, "tokens": 8}
    assert read({"prompt": "abcd"}, max_length=5).counts["truncated_prompts"] == 0
    assert read({"prompt": "abcd"}, max_length=3, bos=None).ids == [ids("bcd")]


def test_a_prompt_of_no_ids_is_named():
    with pytest.raises(UserError, match=r"f\.jsonl, row 1: is empty, and the tokenizer adds no BOS"):
        read({"prompt": "a"}, {"prompt": ""}, bos=None)
    with pytest.raises(UserError, match="max_length is 0"):
        read({"prompt": "a"}, max_length=0)


def test_it_describes_itself():
    found = read({"prompt": "abcd", "answer": 1, "level": 2}, {"prompt": "xyz", "answer": 1, "level": 2}, max_length=4)
    assert found.describe() == "f.jsonl: 2 prompts, 1 cut on the left, 8 tokens, columns for rewards: answer + level"
    assert read({"prompt": "ab"}).describe() == "f.jsonl: 1 prompts, 3 tokens"


def test_whatever_a_run_depends_on_is_in_the_fingerprint():
    rows = [{"prompt": "ab", "answer": 1}, {"prompt": "c", "answer": 2}]
    first = read(*rows).fingerprint
    assert read(*rows).fingerprint == first
    others = [
        read(*rows[::-1]),
        read(*rows, rows[0]),
        read({"prompt": "a", "answer": 1}, {"prompt": "bc", "answer": 2}),
        read({"prompt": "ab", "answer": 1}, {"prompt": "c", "answer": 3}),
        read({"prompt": "ab", "reply": 1}, {"prompt": "c", "reply": 2}),
        read(*rows, max_length=2),
        read(*rows, bos=None),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_columns_of_any_kind_have_a_fingerprint():
    def dated(day: int) -> str:
        rows = {"prompt": ["a"], "when": [datetime.date(2020, 1, day)], "raw": [b"x"]}
        return read_prompts(Dataset.from_dict(rows), make(), 9, "f").fingerprint

    assert dated(1) == dated(1) != dated(2)


def test_ids_count_where_the_texts_are_the_same():
    """Another tokenizer may write other ids, or the same ones cut elsewhere."""
    ways = ([[1, 2], [3]], [[1], [2, 3]], [[1, 2], [4]])
    assert len({fingerprint(way, ["ab", "c"], {}) for way in ways}) == 3


def test_importing_prompts_and_walk_loads_no_transformers():
    """Commands that only need the types must not load them."""
    code = "import sys, burnish.data.prompts, burnish.data.walk; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "burnish.data.walk" in loaded
    assert not {"transformers", "datasets", "pandas", "pyarrow"} & set(loaded)
