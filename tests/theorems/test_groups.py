"""The mean gradient of every method of groups, over all pairs of responses, is that of the objective that it names.

Objectives are written out with loops over responses and words, from a softmax of their own; nothing is sampled.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import grouped
import pytest
import torch
from grouped import World, per_pair, world
from phases import ready
from torch import Tensor

from burnish.algorithms.cispo import CISPO
from burnish.algorithms.distil import Distil
from burnish.algorithms.group import GroupGradient
from burnish.algorithms.grpo import GRPO
from burnish.algorithms.gspo import GSPO
from burnish.algorithms.reinforce_plus_plus import ReinforcePlusPlus
from burnish.algorithms.rloo import RLOO
from burnish.policies.interface import Models
from burnish.training.step import gradient

from .bandits import close

BETA = 0.3
Losses = Callable[[list[Tensor], list[float], float], list[Tensor]]


# What the methods do -----------------------------------------------------------------------------------------------


def mean_gradient(algorithm: GroupGradient, found: World) -> Tensor:
    """Gradient of Σ_pairs p(pair)·loss(pair), with the probabilities held."""
    batch, chances = found.pairs()
    prepared = ready(algorithm, found.models, batch)
    terms = algorithm.loss(found.models, prepared).terms.values()
    total = sum((chances * per_pair(term, batch)).sum() for term in terms)
    return torch.autograd.grad(total, found.policy.logits)[0]  # type: ignore[arg-type]


# What they should do -----------------------------------------------------------------------------------------------


def words_of(found: World) -> list[list[int]]:
    return [
        [t for t, real in zip(*row, strict=True) if real]
        for row in zip(found.tokens.tolist(), found.mask.tolist(), strict=True)
    ]


def logprobs_of(logits: Tensor, words: list[int]) -> list[Tensor]:
    """log π of each word, by a walk from state to state."""
    found, state, first = [], 0, 0
    for t, word in enumerate(words):
        row = logits[first + state]
        found.append(row[word] - row.exp().sum().log())
        first, state = first + grouped.WORDS**t, state * grouped.WORDS + word
    return found


def averaged(losses: list[list[Tensor]], over: str) -> Tensor:
    """The token losses of two responses as one number."""
    sums = [sum(row, torch.zeros(())) for row in losses]
    if over == "sequence":
        return sum(s / len(row) for s, row in zip(sums, losses, strict=True)) / 2
    count = {"sum": 2, "token": sum(map(len, losses)), "constant": 2 * (grouped.LENGTH + 1)}[over]
    return (sums[0] + sums[1]) / count


def expected(
    found: World, token_losses: Losses, over: str, credit: Callable[[float, float], float], beta: float = 0
) -> Tensor:
    """The gradient of Σ_{y,z} π_old(y) π_old(z)·average of both responses' losses. `credit(own, other)` is what a
    response with this score gets, `beta` the price of its log-ratio to the reference in that score."""
    leaf = found.policy.logits.detach().clone().requires_grad_()
    texts, total = words_of(found), torch.zeros((), dtype=torch.float64)
    new, old, ref = (
        [logprobs_of(logits, words) for words in texts]
        for logits in (leaf, found.old.logits.detach(), found.reference.logits.detach())
    )
    plain = [[x.item() for x in row] for row in old]
    scores = [
        s - beta * (sum(o) - sum(x.item() for x in r))
        for s, o, r in zip(found.scores.tolist(), plain, ref, strict=True)
    ]
    for y in range(len(texts)):
        for z in range(y + 1):  # a pair and its mirror image have one loss
            chance = math.exp(sum(plain[y]) + sum(plain[z])) * (2 if z < y else 1)
            rows = [
                token_losses(new[one], plain[one], credit(scores[one], scores[other]))
                for one, other in ((y, z), (z, y))
            ]
            total = total + chance * averaged(rows, over)
    return torch.autograd.grad(total, leaf)[0]


def clipped(low: float, high: float, dual: float = math.inf) -> Losses:
    def losses(new: list[Tensor], old: list[float], credit: float) -> list[Tensor]:
        ratios = [(n - o).exp() for n, o in zip(new, old, strict=True)]
        gains = [torch.minimum(r * credit, r.clamp(1 - low, 1 + high) * credit) for r in ratios]
        return [-(gain if credit >= 0 else gain.clamp(min=dual * credit)) for gain in gains]

    return losses


def sequence_clipped(low: float, high: float, mean: bool) -> Losses:
    def losses(new: list[Tensor], old: list[float], credit: float) -> list[Tensor]:
        ratio = ((sum(new) - sum(old)) / (len(old) if mean else 1)).exp()  # type: ignore[operator, union-attr]
        return [-torch.minimum(ratio * credit, ratio.clamp(1 - low, 1 + high) * credit)] * len(old)

    return losses


def weighted(low: float, high: float) -> Losses:
    def losses(new: list[Tensor], old: list[float], credit: float) -> list[Tensor]:
        ratios = [math.exp(n.item() - o) for n, o in zip(new, old, strict=True)]
        return [-min(max(r, 1 - low), 1 + high) * credit * n for r, n in zip(ratios, new, strict=True)]

    return losses


def plain_losses(new: list[Tensor], old: list[float], credit: float) -> list[Tensor]:
    return [-credit * n for n in new]


def standardised(own: float, other: float, correction: int = 1, eps: float = 1e-6) -> float:
    mean = (own + other) / 2
    deviation = math.sqrt(((own - mean) ** 2 + (other - mean) ** 2) / (2 - correction))
    return (own - mean) / (deviation + eps) if own != other else 0.0


CENTRE: Any = lambda own, other: (own - other) / 2  # noqa: E731
LEFT_OUT: Any = lambda own, other: own - other  # noqa: E731
CASES: dict[str, tuple[GroupGradient, tuple[Any, ...]]] = {
    "rloo": (RLOO(beta=BETA), (plain_losses, "sum", LEFT_OUT, BETA)),
    "rloo, ratio of completions": (
        RLOO(beta=BETA, ratio="sequence", clip_low=0.1, clip_high=0.3),
        (sequence_clipped(0.1, 0.3, mean=False), "sequence", LEFT_OUT, BETA),
    ),
    "rloo, ratio of tokens": (
        RLOO(beta=0.0, ratio="token", over="token"),
        (clipped(0.2, 0.2), "token", LEFT_OUT),
    ),
    "grpo": (GRPO(beta=0.0), (clipped(0.2, 0.2), "sequence", standardised)),
    "grpo, another deviation": (
        GRPO(beta=0.0, std_correction=0, std_eps=0.5, clip_low=0.1, clip_high=0.4, dual_clip=1.5),
        (clipped(0.1, 0.4, 1.5), "sequence", lambda own, other: standardised(own, other, 0, 0.5)),
    ),
    "grpo, left out": (GRPO(beta=0.0, advantage="leave_one_out"), (clipped(0.2, 0.2), "sequence", LEFT_OUT)),
    "grpo, price in the score": (
        GRPO(beta=BETA, kl_in="score"),
        (clipped(0.2, 0.2), "sequence", standardised, BETA),
    ),
    "dr_grpo": (
        GRPO(**GRPO.presets["dr_grpo"]),
        (clipped(0.2, 0.2), "constant", CENTRE),
    ),
    "dapo": (
        GRPO(over="token", clip_high=0.28, beta=0.0),
        (clipped(0.2, 0.28), "token", standardised),
    ),
    "gspo": (
        GSPO(clip_low=0.05, clip_high=0.1),
        (sequence_clipped(0.05, 0.1, mean=True), "sequence", standardised),
    ),
    "cispo": (CISPO(), (weighted(math.inf, 4.0), "token", standardised)),
    "cispo, narrow": (CISPO(clip_low=0.1, clip_high=0.1), (weighted(0.1, 0.1), "token", standardised)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_mean_gradient_is_that_of_the_objective(name: str) -> None:
    """After the policy has moved from the one that sampled, so that ratios are clipped on either side."""
    algorithm, arguments = CASES[name]
    found = world(moved=0.4)
    error = (mean_gradient(algorithm, found) - expected(found, *arguments)).abs().max()
    assert error < 1e-10


def test_the_27_sequences_of_one_length() -> None:
    found = world(moved=0.4, ending=False)
    assert len(found.tokens) == 27
    error = mean_gradient(GRPO(beta=0.0), found) - expected(found, clipped(0.2, 0.2), "sequence", standardised)
    assert error.abs().max() < 1e-10


# Where the policy has not moved ------------------------------------------------------------------------------------


def objective_gradient(found: World, beta: float) -> Tensor:
    """∇ of E[r] − β KL(π‖π_ref) over whole responses, exactly."""
    leaf = found.policy.logits.detach().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for words, score in zip(words_of(found), found.scores.tolist(), strict=True):
        one = sum(logprobs_of(leaf, words), torch.zeros(()))
        other = sum(logprobs_of(found.reference.logits.detach(), words), torch.zeros(()))
        total = total + one.exp() * (score - beta * (one - other))
    return torch.autograd.grad(total, leaf)[0]


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
def test_with_the_others_mean_the_gradient_is_that_of_reward_less_kl(algorithm: GroupGradient) -> None:
    close(mean_gradient(algorithm, world()), -objective_gradient(world(), BETA), tolerance=1e-10)


def test_a_mean_of_all_shrinks_it() -> None:
    """By (G − 1)/G: one half."""
    algorithm = GRPO(beta=0.0, advantage="centre", over="sum")
    close(mean_gradient(algorithm, world()), -objective_gradient(world(), 0.0) / 2, tolerance=1e-10)


def visits_of(found: World) -> Tensor:
    """How often each state chooses a word, in a response of the old policy."""
    visits, total = torch.zeros(grouped.STATES, dtype=torch.float64), found.old.logits.detach().log_softmax(1)
    visits[0] = 1
    visits[1:3] = total[0, :2].exp()  # of the three words one is an end
    for a in range(2):
        visits[4 + 3 * a : 6 + 3 * a] = (total[0, a] + total[1 + a, :2]).exp()
    return visits


@pytest.mark.parametrize(("estimator", "forward"), [("k2", False), ("k3", True), (None, True)])
def test_a_penalty_in_the_loss_is_of_the_divergence_that_it_names(estimator: Any, forward: bool) -> None:
    """Of the distribution of each word, with the states that the policy visits held."""
    found = world()
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


@pytest.mark.parametrize("group_mean", [False, True])
def test_global_advantages_scale_the_gradient(group_mean: bool) -> None:
    """A mean over the whole batch is a baseline and its deviation a factor; a group's mean shrinks the score's part."""
    found = world()
    algorithm = ReinforcePlusPlus(beta=BETA, over="sum", group_mean=group_mean)
    batch, _ = found.pairs()
    credits = []
    for k, words in enumerate(
        [words_of(found)[int(i)] for i in torch.cartesian_prod(torch.arange(15), torch.arange(15)).flatten()]
    ):
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


# Distillation ------------------------------------------------------------------------------------------------------


def distilled(algorithm: Distil, found: World) -> Tensor:
    """The mean gradient of the sum of a response's losses, the reference being the teacher."""
    batch = found.episodes(torch.arange(len(found.tokens))[:, None])
    models = Models(policy=found.policy, teacher=found.reference)
    (term,) = algorithm.loss(models, ready(algorithm, models, batch)).terms.values()
    chances = batch.old_logprobs.sum(1).exp()
    total = (chances[:, None] * torch.where(batch.mask, term.losses, 0.0)).sum()
    return torch.autograd.grad(total, found.policy.logits)[0]  # type: ignore[arg-type]


def test_the_teachers_advantages_have_the_gradient_of_the_reverse_kl() -> None:
    """Of whole responses where a token answers for all that follow; of single words where only for itself."""
    found = world()
    zero = dataclasses.replace(found, scores=torch.zeros_like(found.scores))
    close(distilled(Distil(gamma=1.0), found), -objective_gradient(zero, 1.0), tolerance=1e-10)
    leaf = found.policy.logits.detach().clone().requires_grad_()
    policy, teacher = leaf.log_softmax(1), found.reference.logits.detach().log_softmax(1)
    kl = (visits_of(found) * (policy.exp() * (policy - teacher)).sum(1)).sum()
    close(distilled(Distil(), found), torch.autograd.grad(kl, leaf)[0], tolerance=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_js_has_the_gradient_of_its_divergence(beta: float) -> None:
    """Written out, in the states that the old policy visits; at 0 and 1 the two KL divergences."""
    found = world(moved=0.4)
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
