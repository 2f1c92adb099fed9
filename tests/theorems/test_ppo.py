"""PPO on KL-shaped rewards is RLHF: its first step ascends E[r] − β·KL(π‖π_ref), and it rests where that is largest.

Over all responses of a language of two words, weighted by their probability: nothing is sampled.
"""

import dataclasses

import pytest
import tabular
import tiny
import torch
from phases import ready, sampled
from torch import Tensor

from burnish.algorithms.ppo import PPO
from burnish.batches import Episodes
from burnish.functional import aggregate, policy_gradient
from burnish.policies.interface import Models
from burnish.training.step import gradient

from .bandits import close, numbers

WORDS, LENGTH, BETA = 3, 2, 0.4
EVERY = tabular.responses(WORDS, LENGTH)
STATES = tabular.count_states(WORDS, LENGTH)
SCORES = 2 * numbers(len(EVERY), seed=1)
PLAIN = PPO(standardise_advantages=False, lambda_=1.0)


def models_of(logits: Tensor, values: Tensor) -> Models:
    reference = tabular.TablePolicy(numbers(STATES, WORDS, seed=2))
    return Models(policy=tabular.TablePolicy(logits), reference=reference, critic=tabular.TableCritic(values, WORDS))


def episodes(models: Models) -> Episodes:
    return tabular.shaped_episodes(EVERY, SCORES, models.policy, models.reference, BETA)


def response_logprobs(logits: Tensor) -> Tensor:
    """log π(y) of every response, by a softmax written out and a walk along each response."""
    rows = logits - logits.exp().sum(1, keepdim=True).log()
    return torch.stack([rows[0, y1] + rows[1 + y1, y2] for _, y1, y2 in EVERY.tolist()])


def objective(logits: Tensor, reference: Tensor) -> Tensor:
    """E[r] − β KL(π‖π_ref), exactly."""
    logprobs, ref_logprobs = response_logprobs(logits), response_logprobs(reference)
    return (logprobs.exp() * (SCORES - BETA * (logprobs - ref_logprobs))).sum()


def exact_values(models: Models) -> Tensor:
    """Expected return of every state under the policy as it is: r − β·(log π − log π_ref) of what is yet to come."""
    with torch.no_grad():
        policy, reference = (m.logits.log_softmax(1) for m in (models.policy, models.reference))  # type: ignore[union-attr]
    price = BETA * (policy - reference)
    second = (policy[1:].exp() * (SCORES.view(WORDS, WORDS) - price[1:])).sum(1)
    first = (policy[0].exp() * (second - price[0])).sum()
    return torch.cat([first[None], second])


def expected_first_gradient(algorithm: PPO, models: Models) -> Tensor:
    """Gradient in the logits of Σ_y π(y) Σ_t ℓ_t, with π(y) held: what samples give on average."""
    batch = ready(algorithm, models, episodes(models))
    losses = algorithm.loss(models, batch).terms["policy_avg"].losses
    weights = batch.batch.old_logprobs.sum(1).exp()
    total = (weights[:, None] * torch.where(batch.mask, losses, 0.0)).sum()
    return torch.autograd.grad(total, models.policy.logits)[0]  # type: ignore[attr-defined]


def true_gradient(models: Models) -> Tensor:
    leaf = models.policy.logits.detach().clone().requires_grad_()  # type: ignore[attr-defined]
    return torch.autograd.grad(objective(leaf, models.reference.logits.detach()), leaf)[0]  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(3))
def test_first_gradient_is_that_of_reward_less_kl_whatever_the_critic(seed: int) -> None:
    """With λ = 1 a critic is a baseline."""
    models = models_of(numbers(STATES, WORDS, seed=3), 3 * numbers(STATES, seed=seed))
    close(expected_first_gradient(PLAIN, models), -true_gradient(models))


@pytest.mark.parametrize("lambda_", [0.0, 0.95])
def test_a_smaller_lambda_needs_a_true_critic(lambda_: float) -> None:
    algorithm = dataclasses.replace(PLAIN, lambda_=lambda_)
    models = models_of(numbers(STATES, WORDS, seed=3), numbers(STATES))
    wrong = expected_first_gradient(algorithm, models)
    assert (wrong + true_gradient(models)).abs().max() > 0.001
    models = models_of(numbers(STATES, WORDS, seed=3), exact_values(models))
    close(expected_first_gradient(algorithm, models), -true_gradient(models))


@pytest.mark.parametrize("standardised", [False, True])
def test_it_rests_at_the_optimum(standardised: bool) -> None:
    """π* ∝ π_ref exp(r/β), as logits of first and second word: there no sample has an advantage, and the critic that
    knows β log Z of every state has no error."""
    reference = models_of(numbers(STATES, WORDS), numbers(STATES)).reference
    ref_rows = reference.logits.detach().log_softmax(1)  # type: ignore[union-attr]
    second = ref_rows[1:] + SCORES.view(WORDS, WORDS) / BETA
    first = ref_rows[0] + second.logsumexp(1)
    values = BETA * torch.cat([first.logsumexp(0)[None], second.logsumexp(1)])
    models = models_of(torch.cat([first[None], second]), values)
    algorithm = dataclasses.replace(PLAIN, lambda_=0.95, standardise_advantages=standardised)
    found = gradient(algorithm, models, ready(algorithm, models, episodes(models)))
    assert found["loss/value_avg"] == pytest.approx(0, abs=1e-20)
    for p in (models.policy.logits, models.critic.table):  # type: ignore[attr-defined, union-attr]
        close(p.grad, torch.zeros_like(p), tolerance=1e-9)


@pytest.mark.parametrize("clip", [1e-6, 0.2])
def test_first_gradient_of_a_language_model_is_its_policy_gradient(clip: float) -> None:
    """On the parameters of a transformer, through the step, with the advantages that `prepare` gave; and so again in
    every pass, as long as the policy has not moved."""
    policy = tiny.make_policy("gpt2")
    rows = tiny.random_rows(6, seed=4)
    texts = tiny.demonstrations(rows)
    with torch.no_grad():
        old_logprobs = policy.logprobs(texts)
    rewards = numbers(*texts.mask.shape)
    batch = sampled(texts.tokens, texts.mask, texts.lengths, texts.rows, old_logprobs, rewards, texts.mask.double())
    critic = tabular.TableCritic(numbers(4000), 3)
    critic.values = lambda batch: numbers(*batch.mask.shape[:-1], batch.mask.shape[-1] + 1, seed=5)  # type: ignore[method-assign]
    models = Models(policy=policy, critic=critic)
    algorithm = PPO(clip=clip)
    prepared = ready(algorithm, models, batch)
    gradient(algorithm, models, prepared, pieces=2)
    ours = {name: p.grad.clone() for name, p in policy.parameters().items()}
    policy.model.zero_grad()
    aggregate(policy_gradient(policy.logprobs(texts), prepared.advantages), texts.mask).backward()  # type: ignore[arg-type]
    for name, p in policy.parameters().items():
        close(ours[name], p.grad, tolerance=1e-10)
