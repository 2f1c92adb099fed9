"""Trainings of a language model: their options, and the completions that weights are measured on.

The trainings themselves are in test_study.py.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from burnish.algorithms.table import load
from burnish.config import build
from burnish.policies.language.policy import load_policy
from burnish.recipes.study.onoff import language
from burnish.recipes.study.onoff.language import drawn, held_out, late_completions, options_of, prompts
from burnish.recipes.study.onoff.plan import HIGH, NO_LIMIT
from burnish.run import UserError
from burnish.training.step import NonFiniteLossError

from .worlds import TINY


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        ("none", ("none", "token", HIGH)),
        ("action", ("truncate", "token", NO_LIMIT)),
        ("product", ("truncate", "sequence", NO_LIMIT)),
        ("truncated", ("truncate", "sequence", HIGH)),
    ],
)
def test_options_of_a_correction(correction: str, expected: tuple[str, str, float], tmp_path: Path) -> None:
    """A turn is one update: as many prompts as give a batch."""
    algorithm, settings = build(load("rloo"), options_of(TINY, 7, tmp_path, 1, correction))
    knobs = settings.experience
    assert (knobs.sampler_correction, knobs.correction_level, knobs.correction_high) == expected
    assert (settings.staleness, settings.seed, algorithm.beta) == (1, 7, 0.0)
    assert (knobs.rollout or TINY.texts // TINY.group) * knobs.completions_per_prompt == settings.batch_size


def test_completions_to_weigh_are_as_many_as_episodes(narrow_model: str) -> None:
    """8 of 6 prefixes: two of each are sampled, and the first eight kept; another turn has others."""
    policy = load_policy(narrow_model, "cpu")
    batch = drawn(policy, 1, TINY, 0)
    assert len(batch) == TINY.episodes == 8
    assert batch.mask.any(-1).all()
    assert int(batch.mask.sum(-1).max()) <= TINY.max_new_tokens
    other = drawn(policy, 2, TINY, 0)
    assert batch.tokens.shape != other.tokens.shape or not batch.tokens.equal(other.tokens)


def test_prefixes_are_of_their_parts() -> None:
    assert (len(prompts(TINY)), len(held_out(TINY))) == (6, 6)
    assert not {*prompts(TINY)} & {*held_out(TINY)}
    assert prompts(replace(TINY, prefixes=9))[:6] == prompts(TINY)


def test_a_training_that_diverges_is_found_so_and_other_mistakes_are_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: object) -> None:
        raise UserError("step 3: the loss is nan") from NonFiniteLossError("the loss is nan", [])

    monkeypatch.setattr(language, "run_training", breaks)
    found = late_completions(TINY, 0, 1, "product", tmp_path)
    assert (found["value"], found["failed"]) == (None, "step 3: the loss is nan")

    def mistaken(*given: object) -> None:
        raise UserError("no such model")

    monkeypatch.setattr(language, "run_training", mistaken)
    with pytest.raises(UserError, match="no such model"):
        late_completions(TINY, 0, 1, "product", tmp_path)
