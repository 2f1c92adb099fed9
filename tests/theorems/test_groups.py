"""The mean gradient of every method of groups, over all pairs of responses, is that of the objective that it names.

The objectives are written out in `enumerated`; nothing is sampled. In one language a word may end a response: it has 15
responses of up to three words. In the other all have three: these are 27.
"""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from grouped import World, per_pair, world
from phases import ready
from torch import Tensor

from burnish.algorithms.cispo import CISPO
from burnish.algorithms.group import GroupGradient
from burnish.algorithms.grpo import GRPO
from burnish.algorithms.gspo import GSPO
from burnish.algorithms.reinforce_plus_plus import ReinforcePlusPlus
from burnish.algorithms.rloo import RLOO
from burnish.experience.language.correction import weights
from burnish.experience.language.group_completions import GroupCompletions
from burnish.training.step import gradient

from .bandits import close
from .enumerated import (
    Named,
    alone,
    centred,
    clipped,
    elsewhere,
    half_square,
    importance,
    left_out,
    logprobs_of,
    objective_gradient,
    plain_losses,
    sequence_clipped,
    standardised,
    visits_of,
    weighted,
    words_of,
)

BETA = 0.3
BOTH = pytest.mark.parametrize("ending", [True, False], ids=["15 responses", "27 responses"])


def mean_gradient(algorithm: GroupGradient, found: World, knobs: GroupCompletions | None = None) -> Tensor:
    """Gradient of Σ_pairs p(pair)·loss(pair), with the probabilities held; `knobs` correct for another sampler."""
    batch, chances = found.pairs()
    if knobs is not None:
        used = weights(knobs, batch.old_logprobs, batch.sampler_logprobs, batch.mask)
        batch = dataclasses.replace(batch, weights=used)
    prepared = ready(algorithm, found.models, batch)
    terms = algorithm.loss(found.models, prepared).terms.values()
    total = sum((chances * per_pair(term, batch)).sum() for term in terms)
    return torch.autograd.grad(total, found.policy.logits)[0]  # type: ignore[arg-type]


BASELINE = {key: value for key, value in ReinforcePlusPlus.presets["baseline"].items() if "completions" not in key}
CASES: dict[str, tuple[GroupGradient, Named]] = {
    "rloo": (RLOO(beta=BETA), Named(plain_losses, "sum", left_out, in_score=BETA)),
    "rloo, price in the reward": (
        RLOO(beta=BETA, kl_in="reward"),
        Named(plain_losses, "sum", left_out, in_reward=BETA),
    ),
    "rloo, ratio of completions": (
        RLOO(beta=BETA, ratio="sequence", clip_low=0.1, clip_high=0.3),
        Named(sequence_clipped(0.1, 0.3, mean=False), "sequence", left_out, in_score=BETA),
    ),
    "rloo, ratio of tokens": (
        RLOO(beta=0.0, ratio="token", over="token"),
        Named(clipped(0.2, 0.2), "token", left_out),
    ),
    "grpo": (GRPO(), Named(clipped(0.2, 0.2), "sequence", standardised, in_loss=0.04)),
    "grpo, k2": (
        GRPO(beta=BETA, kl_estimator="k2"),
        Named(clipped(0.2, 0.2), "sequence", standardised, in_loss=BETA, price=half_square),
    ),
    "grpo, no price": (GRPO(beta=0.0), Named(clipped(0.2, 0.2), "sequence", standardised)),
    "grpo, another deviation": (
        GRPO(beta=0.0, std_correction=0, std_eps=0.5, clip_low=0.1, clip_high=0.4, dual_clip=1.5),
        Named(clipped(0.1, 0.4, 1.5), "sequence", lambda own, other: standardised(own, other, 0, 0.5)),
    ),
    "grpo, left out": (GRPO(beta=0.0, advantage="leave_one_out"), Named(clipped(0.2, 0.2), "sequence", left_out)),
    "grpo, price in the score": (
        GRPO(beta=BETA, kl_in="score"),
        Named(clipped(0.2, 0.2), "sequence", standardised, in_score=BETA),
    ),
    "grpo, price in the reward": (
        GRPO(beta=BETA, kl_in="reward"),
        Named(clipped(0.2, 0.2), "sequence", standardised, in_reward=BETA),
    ),
    "dr_grpo": (GRPO(**GRPO.presets["dr_grpo"]), Named(clipped(0.2, 0.2), "constant", centred)),
    "dapo": (
        GRPO(over="token", clip_high=0.28, beta=0.0),
        Named(clipped(0.2, 0.28), "token", standardised),
    ),
    "gspo": (
        GSPO(clip_low=0.05, clip_high=0.1),
        Named(sequence_clipped(0.05, 0.1, mean=True), "sequence", standardised),
    ),
    "cispo": (CISPO(), Named(weighted(math.inf, 4.0), "token", standardised)),
    "cispo, narrow": (CISPO(clip_low=0.1, clip_high=0.1), Named(weighted(0.1, 0.1), "token", standardised)),
    "reinforce_plus_plus": (
        ReinforcePlusPlus(),
        Named(clipped(0.2, 0.2), "token", alone, in_reward=0.01, whole=True),
    ),
    "reinforce_plus_plus, dear": (
        ReinforcePlusPlus(beta=BETA, group_mean=True, dual_clip=1.5),
        Named(clipped(0.2, 0.2, 1.5), "token", centred, in_reward=BETA, whole=True),
    ),
    "reinforce_plus_plus, baseline": (
        ReinforcePlusPlus(**BASELINE),
        Named(clipped(0.2, 0.2), "token", centred, in_loss=0.01, price=half_square, whole=True),
    ),
}


@BOTH
@pytest.mark.parametrize("name", CASES)
def test_the_mean_gradient_is_that_of_the_objective(name: str, ending: bool) -> None:
    """After the policy has moved from the one that sampled, so that ratios are clipped on either side."""
    algorithm, named = CASES[name]
    found = world(moved=0.4, ending=ending)
    assert len(found.tokens) == (15 if ending else 27)
    error = (mean_gradient(algorithm, found) - named.gradient(found)).abs().max()
    assert error < 1e-10


# Where another distribution sampled --------------------------------------------------------------------------------


CORRECTED = ("grpo", "gspo", "reinforce_plus_plus")


@BOTH
@pytest.mark.parametrize("level", ["token", "sequence", "sequence_mean"])
@pytest.mark.parametrize("kind", ["truncate", "mask"])
@pytest.mark.parametrize("name", CORRECTED)
def test_corrected_for_another_sampler(name: str, kind: Any, level: Any, ending: bool) -> None:
    """A response is drawn from μ, and the policy's losses of its words are multiplied by the limited π_old/μ; a price
    in the loss is not. The policy has moved, so that ratios to π_old are clipped too."""
    algorithm, named = CASES[name]
    low, high = 0.8, 1.2
    knobs = GroupCompletions(
        reward="a test", sampler_correction=kind, correction_level=level, correction_low=low, correction_high=high
    )
    found = elsewhere(world(moved=0.4, ending=ending))
    expected = dataclasses.replace(named, weights=importance(kind, level, low, high)).gradient(found)
    assert (mean_gradient(algorithm, found, knobs) - expected).abs().max() < 1e-10
    assert (mean_gradient(algorithm, found) - expected).abs().max() > 1e-3


@BOTH
def test_unlimited_weights_of_completions_give_the_policys_own_gradient(ending: bool) -> None:
    """E_μ[π/μ·f] = E_π[f]; the others' mean is a baseline, whoever drew the others. Weights of words do not."""
    found = elsewhere(world(ending=ending))
    knobs = GroupCompletions(
        reward="a test", sampler_correction="truncate", correction_level="sequence", correction_high=math.inf
    )
    close(mean_gradient(RLOO(beta=BETA), found, knobs), -objective_gradient(found, BETA), tolerance=1e-10)
    of_words = dataclasses.replace(knobs, correction_level="token")
    assert (mean_gradient(RLOO(beta=BETA), found, of_words) + objective_gradient(found, BETA)).abs().max() > 1e-3


# Where the policy has not moved ------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "algorithm",
    [
        RLOO(beta=BETA),
        RLOO(beta=BETA, kl_in="reward"),
        RLOO(beta=BETA, ratio="token"),
        GRPO(beta=BETA, kl_in="score", advantage="leave_one_out", over="sum"),
        GRPO(beta=BETA, kl_in="reward", advantage="leave_one_out", over="sum"),
    ],
    ids=str,
)
def test_with_the_others_mean_the_gradient_is_that_of_reward_less_kl(algorithm: GroupGradient, ending: bool) -> None:
    found = world(ending=ending)
    close(mean_gradient(algorithm, found), -objective_gradient(found, BETA), tolerance=1e-10)


@BOTH
def test_a_mean_of_all_shrinks_it(ending: bool) -> None:
    """By (G − 1)/G: one half."""
    algorithm, found = GRPO(beta=0.0, advantage="centre", over="sum"), world(ending=ending)
    close(mean_gradient(algorithm, found), -objective_gradient(found, 0.0) / 2, tolerance=1e-10)


@BOTH
@pytest.mark.parametrize(("estimator", "forward"), [("k2", False), ("k3", True), (None, True)])
def test_a_penalty_in_the_loss_is_of_the_divergence_that_it_names(estimator: Any, forward: bool, ending: bool) -> None:
    """Of the distribution of each word, with the states that the policy visits held."""
    found = world(ending=ending)
    leaf = found.policy.logits.detach().clone().requires_grad_()
    policy, reference = leaf.log_softmax(1), found.reference.logits.detach().log_softmax(1)
    one, other = (reference, policy) if forward else (policy, reference)
    kl = (one.exp() * (one - other)).sum(1)
    visits = visits_of(found)
    slope = torch.autograd.grad((visits * kl).sum(), leaf)[0]
    with_price = GRPO(beta=BETA, kl_estimator=estimator, over="sum")
    difference = mean_gradient(with_price, found) - mean_gradient(
        dataclasses.replace(with_price, beta=0.0, kl_estimator=None), found
    )
    close(difference, BETA * slope, tolerance=1e-10)


@BOTH
@pytest.mark.parametrize("group_mean", [False, True])
def test_global_advantages_scale_the_gradient(group_mean: bool, ending: bool) -> None:
    """A mean over the whole batch is a baseline and its deviation a factor; a group's mean shrinks the score's part."""
    found = world(ending=ending)
    algorithm = ReinforcePlusPlus(beta=BETA, over="sum", group_mean=group_mean)
    batch, _ = found.pairs()
    credits, texts = [], words_of(found)
    for k, words in enumerate([words for pair in itertools.product(texts, texts) for words in pair]):
        old, ref = (logprobs_of(m.logits.detach(), words) for m in (found.old, found.reference))
        own, other = batch.peers[k, k % 2].item(), batch.peers[k, 1 - k % 2].item()
        base = (own + other) / 2 if group_mean else 0.0
        for t in range(len(words)):
            credits.append(own - base - BETA * sum((o - r).item() for o, r in zip(old[t:], ref[t:], strict=True)))
    mean = math.fsum(credits) / len(credits)
    deviation = math.sqrt(math.fsum((c - mean) ** 2 for c in credits) / len(credits) + 1e-8)
    reward, price = objective_gradient(found, 0.0), objective_gradient(found, 0.0) - objective_gradient(found, BETA)
    close(mean_gradient(algorithm, found), -(reward / (2 if group_mean else 1) - price) / deviation, tolerance=1e-10)


# Relatives ---------------------------------------------------------------------------------------------------------


def step(algorithm: GroupGradient, found: World, index: Tensor, pieces: int = 1) -> tuple[dict[str, float], Tensor]:
    """The step on groups of four."""
    found.policy.logits.grad = None
    metrics = gradient(algorithm, found.models, ready(algorithm, found.models, found.episodes(index)), pieces)
    assert found.policy.logits.grad is not None
    return metrics, found.policy.logits.grad.clone()


INDEX = torch.tensor([[0, 3, 7, 11], [2, 2, 9, 14], [5, 1, 13, 4]])


@pytest.mark.parametrize(
    ("one", "other", "factor", "moved"),
    [
        (GRPO(advantage="centre", over="sum", beta=0.0), RLOO(beta=0.0), 3 / 4, 0.0),
        (GRPO(advantage="leave_one_out", over="sum", beta=0.0), RLOO(beta=0.0, ratio="token"), 1.0, 0.4),
        (GRPO(**GRPO.presets["dr_grpo"]), GRPO(advantage="centre", over="sum", beta=0.0), 1 / 4, 0.4),
        (GSPO(), GRPO(beta=0.0), 1.0, 0.0),
        (GSPO(clip_low=math.inf, clip_high=math.inf, over="sum"), GRPO(beta=0.0, over="sum"), 1.0, 0.0),
        (CISPO(), GRPO(beta=0.0, over="token"), 1.0, 0.0),
        (CISPO(clip_high=math.inf), GRPO(beta=0.0, over="token", clip_low=math.inf, clip_high=math.inf), 1.0, 0.4),
        (GRPO(clip_low=math.inf, clip_high=math.inf, beta=0.0), GRPO(beta=0.0), 1.0, 0.0),
    ],
)
def test_relatives_have_one_loss_and_gradient(
    one: GroupGradient, other: GroupGradient, factor: float, moved: float
) -> None:
    """On three groups of four, up to a factor: G/(G − 1) between the means, 1/4 for a limit of four words. The losses
    too, where both have a ratio: that of REINFORCE has no meaning."""
    (metrics, slope), (beside, expected) = (step(method, world(moved), INDEX) for method in (one, other))
    close(slope, factor * expected)
    if one.name != "cispo" and getattr(other, "ratio", "token") != "none":
        assert metrics["loss"] == pytest.approx(factor * beside["loss"], rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("algorithm", [case[0] for case in CASES.values()] + [ReinforcePlusPlus(), GRPO()], ids=str)
def test_parts_order_and_company_change_nothing(algorithm: GroupGradient) -> None:
    """Rows carry their group: in five micro-batches, in another order and wherever they stand."""
    metrics, slope = step(algorithm, world(0.4), INDEX)
    for index, pieces in ((INDEX, 5), (INDEX[[2, 0, 1]], 1)):
        again, other = step(algorithm, world(0.4), index, pieces)
        close(other, slope)
        assert again == pytest.approx(metrics, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("algorithm", [RLOO(), GRPO(), GSPO(), CISPO(), ReinforcePlusPlus()], ids=lambda a: a.name)
def test_the_first_ratio_is_one(algorithm: GroupGradient) -> None:
    metrics, _ = step(algorithm, world(), INDEX)
    if algorithm.name != "rloo":
        assert (metrics["val/ratio"], metrics["policy/clipfrac_avg"], metrics["policy/approxkl_avg"]) == (1, 0, 0)
