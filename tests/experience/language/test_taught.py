"""Completions that a teacher judges: no reward is needed, and one that is given is only measured."""

import dataclasses
import math
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import Foreign, source_of

from burnish.experience.language.taught import TaughtCompletions
from burnish.policies.interface import Models
from burnish.rewards.function import function_reward

KNOBS = TaughtCompletions(teacher="a test", rollout=4, max_new_tokens=6)


def models() -> Models:
    pair = [tiny.make_policy("llama", seed=seed, double=False) for seed in (1, 2)]
    return Models(policy=pair[0], teacher=pair[1])


def test_a_rollout_has_no_scores() -> None:
    found = models()
    drawn = KNOBS.draw(source_of(found, 9, None), 0, {})
    assert len(drawn.batch) == 4
    assert (drawn.batch.rewards == 0).all()
    with torch.no_grad():  # by the policy's own pass, even where the sampler is exact
        assert torch.equal(drawn.batch.old_logprobs, found.policy.logprobs(drawn.batch))
    assert not [name for name in (*drawn.metrics, *drawn.samples[0]) if "score" in name]
    assert drawn.samples[0].keys() == {"row", "prompt", "response", "ended"}
    assert (KNOBS.needs, KNOBS.teacher_model) == ((), "a test")


def test_a_reward_is_measured() -> None:
    counted = function_reward(lambda prompts, responses, **columns: [float(len(r.split())) for r in responses])
    knobs: Any = dataclasses.replace(KNOBS, reward="a test")
    drawn = knobs.draw(source_of(models(), 9, counted), 0, {})
    assert knobs.needs == ("reward",)
    assert drawn.metrics["objective/scores"] > 0
    assert (drawn.batch.rewards == 0).all()


def test_held_out_prompts_measure_the_divergence() -> None:
    """By loops, per token and per completion; a sampler that is wrong about its numbers changes nothing."""
    found = models()
    source = source_of(found, 9, None)
    metrics = KNOBS.evaluate(source, 5)
    batch = dataclasses.replace(KNOBS, rollout=5).draw(source, 0, {}).batch
    total, count = 0.0, 0
    for row in range(5):
        ids, mask = batch.tokens[row, : batch.lengths[row]].tolist(), batch.mask[row, : batch.lengths[row]].tolist()
        with torch.no_grad():
            own, other = (
                sum(x.item() for x in tiny.naive_logprobs(m.model, ids, mask)) for m in (found.policy, found.teacher)
            )
        total, count = total + own - other, count + sum(mask)
    assert metrics["loss"] == pytest.approx(total / count, abs=1e-4)
    assert metrics["teacher_kl"] == pytest.approx(total / 5, abs=1e-3)
    foreign = dataclasses.replace(source, sampler=Foreign(found.policy))
    assert KNOBS.evaluate(foreign, 5)["loss"] == pytest.approx(metrics["loss"], abs=1e-5)


def test_a_foreign_sampler_is_measured_and_corrected() -> None:
    """It says a quarter of a nat too little of each token: ρ = e^¼ everywhere."""
    found = models()
    source = source_of(found, 9, None)
    foreign = dataclasses.replace(source, sampler=Foreign(found.policy))
    plain, ratio = KNOBS.draw(foreign, 0, {}), math.exp(0.25)
    assert plain.batch.weights is None
    assert plain.metrics["sampler/ratio_max"] == pytest.approx(ratio, rel=1e-4)
    assert plain.metrics["sampler/kl"] == pytest.approx(ratio - 1 - 0.25, rel=1e-3)
    fixed = dataclasses.replace(KNOBS, sampler_correction="truncate", correction_high=1.1).draw(foreign, 0, {})
    assert (fixed.batch.weights[fixed.batch.mask] == 1.1).all()
    assert (fixed.metrics["sampler/kept"], fixed.metrics["sampler/limited"]) == (1, 1)
    masked = dataclasses.replace(KNOBS, sampler_correction="mask", correction_high=1.1).draw(foreign, 0, {})
    assert (masked.batch.weights[masked.batch.mask] == 0).all()
    assert masked.metrics["sampler/kept"] == 0
    exact = KNOBS.draw(source, 0, {})
    assert exact.batch.weights is None
    assert not [name for name in exact.metrics if name.startswith("sampler/")]
