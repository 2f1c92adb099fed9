"""Answers of a tiny model, drawn again by hand; who may write is tested with `burnish compare`."""

from pathlib import Path

import pytest
import tiny

from burnish.config import Settings
from burnish.data import sources
from burnish.data.mixture import read_all_prompts
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.answers import answers, writer
from burnish.run import UserError


def test_each_answer_comes_from_its_own_stream(tmp_path: Path) -> None:
    policy = load_policy(tiny.save_model(tmp_path / "tiny"))
    rows = [{"prompt": "a film"}, {"prompt": "the"}]
    prompts = read_all_prompts([("rows", sources.load(rows))], policy.tokenizer, 20)
    base = Settings(seed=5, quiet=True, device="cpu")
    found = answers(policy, prompts, "tiny", 6, 1.0, base, streams=lambda row: 10 * row + 1)
    by_hand = [
        sample(policy, [ids], seed=5, max_new_tokens=6, streams=[10 * i + 1]) for i, ids in enumerate(prompts.ids)
    ]
    texts = [policy.tokenizer.decode(one.tokens[0], skip_special_tokens=True) for one in by_hand]
    assert found.completed.responses == texts
    for mine, theirs in zip(found.logprobs, by_hand, strict=True):
        assert mine == pytest.approx(theirs.logprobs[0], rel=1e-5)  # a batch of two rounds otherwise than one alone


def test_a_folder_that_is_not_there_is_no_writer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        writer(tmp_path / "none")
