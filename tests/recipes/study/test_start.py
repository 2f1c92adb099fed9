"""What studies begin with: which prefixes are whose, pairs that share no completion, and rows in files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from burnish.data import builtin
from burnish.policies.language.policy import load_policy
from burnish.recipes.study.frontier.plan import REDUCED
from burnish.recipes.study.start import START, begun, held_out, inputs_of, pairs_of, prefixes
from burnish.run import UserError, read_jsonl

from .frontier.worlds import TINY


def test_prefixes_are_of_reviews_that_the_judge_was_not_fitted_on() -> None:
    mine, other = prefixes(REDUCED), held_out(REDUCED)
    assert (len(mine), len(other)) == (512, 192)
    gold = {" ".join(text.split(" ")[:n]) for text in builtin.rated("gold")["text"] for n in range(2, 9)}
    liked = {" ".join(text.split(" ")[:n]) for text in builtin.rated("preferences")["text"] for n in range(2, 9)}
    assert set(mine) <= liked
    assert sum(one in gold for one in mine) < 60  # short ones are the same by chance
    assert not set(other) & set(mine) - gold - liked


def test_pairs_of_six_completions_that_share_none_are_three_of_fifteen(narrow_model: str) -> None:
    """The draws are one a pair, so which response is chosen may differ; the two responses are those of the pairs."""
    policy = load_policy(narrow_model, "cpu")
    every, tokens = pairs_of(policy, ["The film is"], 6, 3, TINY)
    apart, same = pairs_of(policy, ["The film is"], 6, 3, TINY, apart=True)
    assert tokens == same > 0
    assert len(apart) <= 3 < len(every)
    sides = [{one["chosen"], one["rejected"]} for one in every]
    assert all({one["chosen"], one["rejected"]} in sides for one in apart)


def test_a_start_without_pairs_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    with pytest.raises(UserError, match="no two completions of a prefix that end and differ"):
        begun(model, {"pairs": [], "held": [{"prompt": "x"}]}, tmp_path)
    assert not (tmp_path / START).exists()
    begun(model, {"pairs": [{"prompt": "x"}], "held": [{"prompt": "y"}]}, tmp_path)
    assert read_jsonl(tmp_path / START / "held.jsonl") == [{"prompt": "y"}]


def test_inputs_are_the_data_and_the_model(narrow_model: str) -> None:
    """Another model has another hash of the model, and more prefixes another hash of the data."""
    mine = replace(TINY, model=narrow_model)
    first, more = inputs_of(mine), inputs_of(replace(mine, prefixes=7))
    judge = {"judge_sha256", "judge_tokenizer_sha256"}
    assert set(first) == {"data_sha256", "model_sha256", "tokenizer_sha256"} | judge
    assert {key: first[key] for key in judge} == {key: more[key] for key in judge}
    assert first["model_sha256"] == more["model_sha256"] != inputs_of(TINY)["model_sha256"]
    assert first["data_sha256"] != more["data_sha256"]


def test_another_tokenizer_has_another_hash(narrow_model: str, tmp_path: Path) -> None:
    """A special token that takes the space before it; the weights are the same."""
    shutil.copytree(narrow_model, tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    rules = json.loads(file.read_text())
    rules["added_tokens"][0]["lstrip"] = not rules["added_tokens"][0]["lstrip"]
    file.write_text(json.dumps(rules))
    mine, other = (inputs_of(replace(TINY, model=one)) for one in (narrow_model, str(tmp_path / "other")))
    assert [key for key in mine if mine[key] != other[key]] == ["tokenizer_sha256"]
