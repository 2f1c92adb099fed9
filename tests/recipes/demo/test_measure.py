"""Measuring the embedded model on real prefixes."""

import numpy as np
import pytest

from burnish.data import builtin
from burnish.evaluation.text import word_lengths
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.recipes.assets import resolve_model
from burnish.recipes.demo.measure import gold_judge, measure, preference_margins


@pytest.fixture(scope="module")
def policy() -> LanguagePolicy:
    return load_policy(resolve_model("builtin"))


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    return list(builtin.prefixes("validation", 6)["prompt"])


def test_a_model_is_at_no_distance_from_itself(policy: LanguagePolicy, prompts: list[str]) -> None:
    found = measure(policy, policy, prompts, seed=0)
    np.testing.assert_allclose(found.kl, 0.0, atol=1e-4)
    assert found.gold.shape == found.words.shape == (6,)


def test_a_text_is_prefix_and_continuation_and_is_scored_as_one(policy: LanguagePolicy, prompts: list[str]) -> None:
    found = measure(policy, policy, prompts, seed=0)
    assert all(text.startswith(p) for text, p in zip(found.continuations.texts, prompts, strict=True))
    np.testing.assert_array_equal(found.gold, gold_judge().score(found.continuations.texts))
    written = [text.removeprefix(p) for text, p in zip(found.continuations.texts, prompts, strict=True)]
    np.testing.assert_array_equal(found.words, word_lengths(written))


def test_a_seed_repeats_and_another_differs(policy: LanguagePolicy, prompts: list[str]) -> None:
    one, same, other = (measure(policy, policy, prompts, seed).continuations.texts for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_no_margin_without_training(policy: LanguagePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """More comparisons than a batch of 64, so that the last batch is another size."""
    first = builtin.comparisons("validation").select(range(70))
    monkeypatch.setattr(builtin, "comparisons", {"validation": first}.__getitem__)
    margins = preference_margins(policy, policy, "validation", beta=0.1)
    assert len(margins) == len(first) == 70
    np.testing.assert_allclose(margins, 0.0, atol=1e-4)


def test_the_judge_knows_praise_from_blame() -> None:
    praise, blame = gold_judge().score(["a warm, funny and moving film", "a dull, witless and boring mess"])
    assert praise > 0.5 > -0.5 > blame
