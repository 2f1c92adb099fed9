"""The mean gradient of distillation, over all responses, is that of the divergence that it names: see `test_groups`."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from grouped import World, world
from phases import ready
from torch import Tensor

from burnish.algorithms.distil import Distil
from burnish.experience.language.correction import weights
from burnish.experience.language.taught import TaughtCompletions
from burnish.policies.interface import Models
from burnish.training.step import gradient

from .bandits import close
from .enumerated import clipped, elsewhere, importance, logprobs_of, numbers_of, objective_gradient, visits_of, words_of

BOTH = pytest.mark.parametrize("ending", [True, False], ids=["15 responses", "27 responses"])


def distilled(algorithm: Distil, found: World, knobs: TaughtCompletions | None = None) -> Tensor:
    """The mean gradient of the sum of a response's losses, the reference being the teacher; `knobs` correct for another
    sampler."""
    batch = found.episodes(torch.arange(len(found.tokens))[:, None])
    if knobs is not None:
        used = weights(knobs, batch.old_logprobs, batch.sampler_logprobs, batch.mask)
        batch = dataclasses.replace(batch, weights=used)
    models = Models(policy=found.policy, teacher=found.reference)
    (term,) = algorithm.loss(models, ready(algorithm, models, batch)).terms.values()
    chances = batch.sampler_logprobs.sum(1).exp()
    total = (chances[:, None] * torch.where(batch.mask, term.losses, 0.0)).sum()
    return torch.autograd.grad(total, found.policy.logits)[0]  # type: ignore[arg-type]


@BOTH
def test_the_teachers_advantages_have_the_gradient_of_the_reverse_kl(ending: bool) -> None:
    """Of whole responses where a token answers for all that follow; of single words where only for itself."""
    found = world(ending=ending)
    zero = dataclasses.replace(found, scores=torch.zeros_like(found.scores))
    close(distilled(Distil(gamma=1.0), found), -objective_gradient(zero, 1.0), tolerance=1e-10)
    leaf = found.policy.logits.detach().clone().requires_grad_()
    policy, teacher = leaf.log_softmax(1), found.reference.logits.detach().log_softmax(1)
    kl = (visits_of(found) * (policy.exp() * (policy - teacher)).sum(1)).sum()
    close(distilled(Distil(), found), torch.autograd.grad(kl, leaf)[0], tolerance=1e-10)


@BOTH
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_the_reverse_kl_of_a_policy_that_has_moved(clip: float | None, gamma: float, ending: bool) -> None:
    """Σ_y π_old(y) Σ_t −min(ρ_t A_t, clip(ρ_t) A_t), A_t the discounted log π_T/π_old from t on."""
    found = world(moved=0.4, ending=ending)
    leaf = found.policy.logits.detach().clone().requires_grad_()
    limit, total = math.inf if clip is None else clip, torch.zeros((), dtype=torch.float64)
    teachers = numbers_of(found.reference.logits, found)
    for words, old, teacher in zip(words_of(found), numbers_of(found.old.logits, found), teachers, strict=True):
        ratios = [t - o for t, o in zip(teacher, old, strict=True)]
        credits = [sum(gamma**k * x for k, x in enumerate(ratios[t:])) for t in range(len(words))]
        losses = clipped(limit, limit)(logprobs_of(leaf, words), old, credits)
        total = total + math.exp(sum(old)) * sum(losses)
    close(distilled(Distil(clip=clip, gamma=gamma), found), torch.autograd.grad(total, leaf)[0], tolerance=1e-10)


@BOTH
@pytest.mark.parametrize("level", ["token", "sequence", "sequence_mean"])
@pytest.mark.parametrize("kind", ["truncate", "mask"])
def test_the_reverse_kl_corrected_for_another_sampler(kind: Any, level: Any, ending: bool) -> None:
    """Each word's loss times the limited π_old/μ, written out; the policy has moved."""
    found = elsewhere(world(moved=0.4, ending=ending))
    leaf = found.policy.logits.detach().clone().requires_grad_()
    total, weigh = torch.zeros((), dtype=torch.float64), importance(kind, level, 0.8, 1.2)
    numbers = zip(*(numbers_of(m.logits, found) for m in (found.old, found.reference, found.sampler)), strict=True)
    for words, (old, teacher, sampler) in zip(words_of(found), numbers, strict=True):
        credits = [t - o for t, o in zip(teacher, old, strict=True)]
        losses = clipped(0.2, 0.2)(logprobs_of(leaf, words), old, credits)
        total = total + math.exp(sum(sampler)) * sum(w * x for w, x in zip(weigh(old, sampler), losses, strict=True))
    knobs = TaughtCompletions(sampler_correction=kind, correction_level=level, correction_low=0.8, correction_high=1.2)
    close(distilled(Distil(clip=0.2), found, knobs), torch.autograd.grad(total, leaf)[0], tolerance=1e-10)


@BOTH
@pytest.mark.parametrize("algorithm", [Distil(gamma=1.0), Distil(), Distil(divergence="js", js_beta=0.3)], ids=str)
def test_unlimited_weights_of_completions_give_the_policys_own_gradient(algorithm: Distil, ending: bool) -> None:
    """Whatever sampled: E_μ[π_old/μ·f] = E_π_old[f]."""
    found = world(moved=0.4, ending=ending)
    knobs = TaughtCompletions(sampler_correction="truncate", correction_level="sequence", correction_high=math.inf)
    close(distilled(algorithm, elsewhere(found), knobs), distilled(algorithm, found), tolerance=1e-10)


@BOTH
@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_js_has_the_gradient_of_its_divergence(beta: float, ending: bool) -> None:
    """Written out, in the states that the old policy visits; at 0 and 1 the two KL divergences."""
    found = world(moved=0.4, ending=ending)
    leaf = found.policy.logits.detach().clone().requires_grad_()
    q, p = leaf.softmax(1), found.reference.logits.detach().softmax(1)
    if beta in (0, 1):
        one, other = (q, p) if beta else (p, q)
        js = (one * (one / other).log()).sum(1)
    else:
        m = beta * p + (1 - beta) * q
        js = (beta * p * (p / m).log() + (1 - beta) * q * (q / m).log()).sum(1)
    slope = torch.autograd.grad((visits_of(found) * js).sum(), leaf)[0]
    close(distilled(Distil(divergence="js", js_beta=beta), found), slope, tolerance=1e-10)


@pytest.mark.parametrize(
    "algorithm",
    [
        Distil(),
        Distil(gamma=1.0),
        Distil(divergence="js"),
        Distil(divergence="js", js_beta=0.0),
        Distil(divergence="js", js_beta=1.0),
    ],
    ids=str,
)
def test_a_teacher_that_is_the_policy_teaches_nothing(algorithm: Distil) -> None:
    found = world()
    found = dataclasses.replace(found, reference=found.policy)
    batch = found.episodes(torch.arange(15)[:, None])
    models = Models(policy=found.policy, teacher=found.reference)
    metrics = gradient(algorithm, models, ready(algorithm, models, batch))
    assert metrics["loss"] == metrics["policy/teacher_kl"] == 0
    assert found.policy.logits.grad is not None
    assert found.policy.logits.grad.abs().max() < 1e-15
