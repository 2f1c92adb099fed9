"""Distillation by hand; its objectives are enumerated in tests/theorems/test_distillation.py."""

import dataclasses
import math
from typing import Any

import pytest
import tiny
import torch
from phases import ready, sampled

from burnish.algorithms.distil import Distil
from burnish.config import build
from burnish.policies.interface import Models
from burnish.run import UserError
from burnish.training.step import gradient

MASK = torch.tensor([[False, True, True], [False, True, False]])
OLD = torch.tensor([[0.0, -1.0, -2.0], [0.0, -0.5, math.nan]], dtype=torch.float64)
TEACHER = torch.tensor([[math.nan, -0.5, -3.0], [0.0, -0.75, 0.0]], dtype=torch.float64)


def batch() -> Any:
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    inside = torch.tensor([[0, 1, 0], [0, 0, 0]]).double()
    return sampled(MASK.long(), MASK, torch.tensor([3, 3]), torch.arange(2), OLD, zeros, inside)


@pytest.mark.parametrize(("gamma", "first"), [(0.0, 0.5), (1.0, -0.5), (0.5, 0.0)])
def test_advantages_by_hand(gamma: float, first: float) -> None:
    """log π_T − log π: ½ and −1, of which the first token answers for γ of the second; −¼."""
    found = ready(Distil(gamma=gamma), Models(teacher=tiny.Table(TEACHER)), batch())
    torch.testing.assert_close(found.advantages, torch.tensor([[0, first, -1], [0, -0.25, 0]]).double())


def test_loss_by_hand() -> None:
    """Ratios 2, 1 and 1: −(2·½ − 1 − ¼) over three tokens; held at 1.2, −(0.6 − 1.25)."""
    for clip, value, slope in ((None, 0.25, -1.0), (0.2, 0.65, 0.0)):
        algorithm = Distil(clip=clip)
        prepared = ready(algorithm, Models(teacher=tiny.Table(TEACHER)), batch())
        logprobs = torch.where(MASK, OLD, 0.0)
        logprobs[0, 1] += math.log(2)
        logprobs.requires_grad_()
        found = gradient(algorithm, Models(policy=tiny.Table(logprobs)), prepared)
        assert found["loss"] == pytest.approx(value / 3)
        assert found["policy/teacher_kl"] == pytest.approx((-0.5 + 1 + 0.25) / 3)
        assert logprobs.grad is not None
        assert logprobs.grad[0, 1].item() == pytest.approx(slope / 3)


def test_weights_by_hand() -> None:
    """Of advantages ½, −1 and −¼ the losses are their negatives: 2·(−½) + 3·1 + 4·¼; masked places do not matter."""
    algorithm, models = Distil(), Models(policy=tiny.Table(OLD), teacher=tiny.Table(TEACHER))
    weights = torch.tensor([[math.nan, 2, 3], [1e30, 4, math.nan]], dtype=torch.float64)
    corrected = ready(algorithm, models, dataclasses.replace(batch(), weights=weights))
    logprobs = torch.where(MASK, OLD, 0.0).requires_grad_()
    found = gradient(algorithm, Models(policy=tiny.Table(logprobs)), corrected)
    assert found["loss"] == pytest.approx(3 / 3)
    torch.testing.assert_close(logprobs.grad, torch.tensor([[0, -1, 3], [0, 1, 0]]).double() / 3)


def test_weights_of_one_are_no_weights_to_the_bit() -> None:
    slopes = []
    for weights in (None, torch.ones(2, 3, dtype=torch.float64)):
        algorithm, models = Distil(gamma=0.7, clip=0.2), Models(teacher=tiny.Table(TEACHER))
        logprobs = torch.where(MASK, OLD + 0.1, 0.0).requires_grad_()
        prepared = ready(algorithm, models, dataclasses.replace(batch(), weights=weights))
        slopes.append((gradient(algorithm, Models(policy=tiny.Table(logprobs)), prepared), logprobs.grad))
    assert slopes[0][0] == slopes[1][0]
    assert torch.equal(slopes[0][1], slopes[1][1])


def test_a_tokens_weight_corrects_no_whole_distribution() -> None:
    given = {"teacher": "a test", "divergence": "js", "sampler_correction": "truncate"}
    with pytest.raises(UserError, match="set correction_level to sequence or sequence_mean"):
        build(Distil, given)
    build(Distil, given | {"correction_level": "sequence"})
    build(Distil, given | {"divergence": "reverse_kl"})


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_js_of_transformers_is_that_of_their_whole_logits(family: str) -> None:
    """The models' own forward passes, without padding, one token at a time; gradients by finite differences."""
    policy, teacher = tiny.make_policy(family), tiny.make_policy("llama", seed=3)
    rows = tiny.random_completions(4, seed=2)
    texts = tiny.demonstrations(rows)
    algorithm = Distil(divergence="js", js_beta=0.3)
    policy.temperature = teacher.temperature = 0.7

    def logits(model: Any, ids: list[int]) -> torch.Tensor:
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double() / 0.7

    found = policy.divergences(texts, teacher, algorithm.js)
    for row, (ids, mask) in enumerate(rows):
        p, q = (logits(model.model, ids).detach().softmax(-1) for model in (teacher, policy))
        m = 0.3 * p + 0.7 * q
        js = (0.3 * p * (p / m).log() + 0.7 * q * (q / m).log()).sum(-1)
        for t, real in enumerate(mask):
            assert found[row, t].item() == pytest.approx(js[t - 1].item() if real else 0.0, abs=1e-7)
    name, weight = next(iter(policy.parameters().items()))
    assert torch.autograd.grad(found.sum(), weight, retain_graph=True)[0].abs().max() > 0, name
    own = policy.divergences(texts, policy, algorithm.js)
    assert (own == 0).all()
    assert torch.autograd.grad(own.sum(), weight)[0].abs().max() == 0


def test_chunks_of_the_vocabulary_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, teacher = tiny.make_policy("gpt2"), tiny.make_policy("llama", seed=3)
    texts, formula = tiny.demonstrations(tiny.random_completions(4, seed=2)), Distil(divergence="js").js
    whole = policy.divergences(texts, teacher, formula)
    slope = torch.autograd.grad(whole.sum(), list(policy.parameters().values()))
    monkeypatch.setattr("burnish.policies.language.policy.LOGITS_AT_ONCE", 2 * tiny.VOCABULARY)
    parts = policy.divergences(texts, teacher, formula)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    for one, other in zip(slope, torch.autograd.grad(parts.sum(), list(policy.parameters().values())), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "distil needs a teacher: set teacher to a model"),
        ({"teacher": "a", "divergence": "js", "gamma": 0.5}, "gamma and clip only apply to the divergence reverse_kl"),
        ({"teacher": "a", "divergence": "js", "clip": 0.5}, "gamma and clip only apply to the divergence reverse_kl"),
        ({"teacher": "a", "js_beta": 0.3}, "js_beta only applies to the divergence js"),
        (
            {"teacher": "a", "missing_eos_penalty": 1.0},
            "missing_eos_penalty changes a score, from which nothing is",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(Distil, options)
    assert build(Distil, {"teacher": "a"})[1].experience.rollout == 16
