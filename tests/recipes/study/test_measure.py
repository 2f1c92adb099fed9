"""Measurements of a random model: the start is at no distance from itself, and the others are drawn again by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.evaluation.text import repetition
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.measure import DivergedError, Ruler, completions_of, rounded

PROMPTS = ["The film is", "A smart and", "With its"]
PAIRS = [{"prompt": "The film is", "chosen": " good.", "rejected": " a bad one.", "right": True}]


@pytest.fixture(scope="module")
def start(narrow_model: str) -> LanguagePolicy:
    return load_policy(narrow_model, "cpu")


def test_the_start_is_at_no_distance_from_itself(start: LanguagePolicy) -> None:
    found = Ruler(start, PROMPTS, PAIRS, 5, 4, 32).measured(start)
    drawn = completions_of(start, PROMPTS, 1, 5, 4, 32)
    assert found["kl"] == [0.0] * 3
    assert found["gold"] == rounded(study_judge().score(drawn.texts))
    assert found["length"] == np.mean([len(row) for row in drawn.tokens])
    assert found["entropy"] == pytest.approx(-np.mean([one for row in drawn.logprobs for one in row]))
    assert found["repetition"] == np.mean([repetition(text) for text in drawn.responses])
    assert found["chosen"] > found["rejected"]  # it is shorter


def test_another_policy_has_its_log_ratios_and_a_broken_one_is_an_error(
    start: LanguagePolicy, narrow_model: str
) -> None:
    other = load_policy(narrow_model, "cpu")
    with torch.no_grad():
        other.model.lm_head.weight.mul_(0.8)
    ruler = Ruler(start, PROMPTS, PAIRS, 5, 4, 32)
    found = ruler.measured(other)
    drawn = completions_of(other, PROMPTS, 1, 5, 4, 32)
    expected = [
        sum(row) - masked
        for row, masked in zip(drawn.logprobs, start.logprobs(drawn.batch).sum(-1).tolist(), strict=True)
    ]
    assert found["kl"] == pytest.approx(expected, abs=1e-3)
    with torch.no_grad():
        other.model.lm_head.weight.mul_(torch.nan)
    with pytest.raises(DivergedError, match="a log-probability is not finite"):
        ruler.measured(other)


def test_a_completion_has_a_stream_of_its_own(start: LanguagePolicy) -> None:
    two = completions_of(start, PROMPTS, 2, 5, 4, 32)
    assert len(two.tokens) == 6
    assert two.tokens[::2] != two.tokens[1::2]
    assert completions_of(start, PROMPTS[:1], 2, 5, 4, 32).tokens == two.tokens[:2]


def test_a_proxy_scores_the_same_completions_and_all_are_kept(start: LanguagePolicy, tmp_path: Path) -> None:
    """A proxy whose score is the number of tokens, prompt and response."""

    class Longer:
        device = torch.device("cpu")

        def dropout(self, on: bool) -> None: ...

        def scores(self, batch: Any) -> torch.Tensor:
            return torch.tensor([len(row) for row in rows[: len(batch)]], dtype=torch.float32)

    drawn = completions_of(start, PROMPTS, 1, 5, 4, 32)
    rows = [[*ids, *tokens] for ids, tokens in zip(drawn.ids, drawn.tokens, strict=True)]
    found = Ruler(start, PROMPTS, PAIRS, 5, 4, 32, Longer(), True).measured(start)  # type: ignore[arg-type]
    assert found["proxy"] == [len(row) for row in rows]
    assert found["texts"] == drawn.responses
    assert found["cut"] == [i for i, tokens in enumerate(drawn.tokens) if tokens[-1] != start.tokenizer.eos_token_id]
    assert found["tokens"] == drawn.tokens
    assert len(found["margins"]) == len(PAIRS)
    assert np.mean(found["margins"]) == pytest.approx(found["chosen"] - found["rejected"], abs=1e-5)
    parts = found["parts"]
    assert parts["own"] - parts["strange"] - parts["repeated"] == pytest.approx(np.mean(found["gold"]), abs=1e-4)
    bare = Ruler(start, PROMPTS, PAIRS, 5, 4, 32).measured(start)
    assert not {"proxy", "parts", "texts", "cut", "tokens", "margins"} & set(bare)


def test_a_proxy_whose_score_is_not_finite_is_a_divergence(start: LanguagePolicy) -> None:
    class Broken:
        device = torch.device("cpu")

        def dropout(self, on: bool) -> None: ...

        def scores(self, batch: Any) -> torch.Tensor:
            return torch.full((len(batch),), torch.inf)

    with pytest.raises(DivergedError, match="a score of the proxy is not finite"):
        Ruler(start, PROMPTS, PAIRS, 5, 4, 32, Broken()).measured(start)  # type: ignore[arg-type]
