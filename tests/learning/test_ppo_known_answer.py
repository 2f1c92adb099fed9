"""PPO finds a policy that is known: π* ∝ π_ref·exp(r/β), on a bandit and on a language of two words, enumerated.

At π* the return r − β·log(π/π_ref) is the same for every response, so nothing is left to learn from any sample, and
clipping and standardising do not move that point. Standardising does keep steps large near it, where all advantages
are noise of the same small size, so the learning rate decays to 0.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache

import pytest
import tabular
import torch
from phases import ready
from torch import Tensor

from burnish.algorithms.ppo import PPO
from burnish.batches import Episodes
from burnish.policies.interface import Models
from burnish.training.step import gradient

ROLLOUTS, ROLLOUT, MINIBATCH, LEARNING_RATE = 30, 256, 128, 0.1
BETAS = (0.5, 1.5)
DEFAULTS = PPO()
LANGUAGES = {"bandit": (6, 1), "two words": (4, 2)}


@dataclass(frozen=True)
class Outcome:
    """Exact KLs of one training: from π* when it began and when it ended, and from the reference."""

    at_first: float
    to_optimum: float
    to_reference: float
    optimum_to_reference: float


def exact_kl(logprobs: Tensor, others: Tensor) -> float:
    """Σ_y π(y) (log π(y) − log π'(y)) over all responses."""
    return (logprobs.exp() * (logprobs - others)).sum().item()


def problem(name: str, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A random reference as logits of its states, all responses, and a random score for each."""
    words, length = LANGUAGES[name]
    every = tabular.responses(words, length)
    logits = torch.randn(tabular.count_states(words, length), words, dtype=torch.float64, generator=generator)
    return logits, every, torch.randn(len(every), dtype=torch.float64, generator=generator)


def optimum(ref_logprobs: Tensor, scores: Tensor, beta: float, bonus: float = 0.0) -> Tensor:
    """Where E[r] − β·KL(π‖π_ref) + w·H(π) is largest, of whole responses: π ∝ exp((β·log π_ref + r)/(β + w))."""
    return ((beta * ref_logprobs + scores) / (beta + bonus)).log_softmax(0)


@cache
def trained(name: str, beta: float, seed: int = 0, algorithm: PPO = DEFAULTS) -> Outcome:
    """PPO from the reference, on a random problem; the seed draws problem, samples and minibatches."""
    generator = torch.Generator().manual_seed(seed)
    logits, every, scores = problem(name, generator)
    reference, policy = tabular.TablePolicy(logits), tabular.TablePolicy(logits)
    critic = tabular.TableCritic(torch.zeros(len(logits), dtype=torch.float64), logits.shape[1])
    models = Models(policy=policy, reference=reference, critic=critic)

    def sampled(index: Tensor) -> Episodes:
        return tabular.shaped_episodes(every[index], scores[index], policy, reference, beta)

    def all_logprobs() -> Tensor:
        return sampled(torch.arange(len(every))).old_logprobs.sum(1)

    ref_logprobs = all_logprobs()
    best = optimum(ref_logprobs, scores, beta, algorithm.entropy_weight)
    optimizer = torch.optim.Adam([policy.logits, critic.table])
    for turn in range(ROLLOUTS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - turn / ROLLOUTS)
        drawn = torch.multinomial(all_logprobs().exp(), ROLLOUT, replacement=True, generator=generator)
        batch = ready(algorithm, models, sampled(drawn))
        for _ in range(algorithm.update_epochs):
            for part in torch.randperm(ROLLOUT, generator=generator).split(MINIBATCH):
                gradient(algorithm, models, batch.select(part))
                optimizer.step()
                optimizer.zero_grad()
    found = all_logprobs()
    return Outcome(
        exact_kl(ref_logprobs, best), exact_kl(found, best), exact_kl(found, ref_logprobs), exact_kl(best, ref_logprobs)
    )


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", LANGUAGES)
def test_the_policy_comes_to_the_optimum(name: str, beta: float) -> None:
    outcome = trained(name, beta)
    assert outcome.to_optimum < 0.01
    assert outcome.to_optimum < outcome.at_first / 10  # at a large beta the optimum is near from the beginning


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_larger_beta_ends_nearer_the_reference(name: str) -> None:
    free, held = (trained(name, beta) for beta in BETAS)
    assert held.to_reference < free.to_reference / 2
    for outcome in (free, held):
        assert outcome.to_reference == pytest.approx(outcome.optimum_to_reference, rel=0.1, abs=0.01)


@pytest.mark.parametrize("change", [{"standardise_advantages": False}, {"value_clip": None}, {"lambda_": 0.5}])
def test_its_choices_do_not_move_the_optimum(change: dict) -> None:
    assert trained("two words", 0.5, algorithm=PPO(**change)).to_optimum < 0.01


def test_an_entropy_bonus_moves_it_as_far_as_it_should() -> None:
    """On the bandit E[r] − β KL(π‖π_ref) + w H(π) is largest at π ∝ exp((β log π_ref + r)/(β + w)).

    Only with advantages as they are: standardised ones are of size 1 however near π* is, and drown the bonus.
    """
    plain = PPO(standardise_advantages=False)
    with_bonus = trained("bandit", 0.5, algorithm=dataclasses.replace(plain, entropy_weight=0.5))
    logits, _, scores = problem("bandit", torch.Generator().manual_seed(0))
    apart = exact_kl(*(optimum(logits[0].log_softmax(0), scores, 0.5, bonus) for bonus in (0.5, 0.0)))
    assert with_bonus.to_optimum < 0.01
    assert apart > 0.05
