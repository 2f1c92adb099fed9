"""The path from REINFORCE to PPO on control small enough to enumerate, and that it is the path of language too.

A decision process of two actions: what was done in the start (state 0) ends the episode or leads, by chance, to state 1
or 2, where one more action is chosen. Each of the ten episodes that can happen is a row of a batch.
"""

import dataclasses
import itertools
from typing import Any

import pytest
import tabular
import torch
from phases import acted, ready
from torch import Tensor, nn

from burnish.algorithms.actor_critic import ActorCritic
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reinforce import Reinforce
from burnish.algorithms.reinforce_baseline import ReinforceBaseline
from burnish.algorithms.trpo import TRPO
from burnish.batches import Episodes, PreparedEpisodes, Transitions
from burnish.experience.control.behind import of_runs
from burnish.functional import action_logprobs, aggregate, entropy
from burnish.functional.masked import is_last
from burnish.policies.interface import Models

from .bandits import close, numbers

END = 3
CHANCE = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], dtype=torch.float64)  # of the end, state 1, state 2
REWARDS = 3 + numbers(3, 2, seed=1)
LOGITS = numbers(3, 2)


class Table:
    """Logits for every state, or a value for every state and the end: `[R, states, …]`, looked up by observations."""

    def __init__(self, table: Tensor) -> None:
        self.table = nn.Parameter(table.clone())

    def at(self, states: Tensor) -> Tensor:
        runs = torch.arange(len(self.table))[:, None, None]
        return self.table[runs, states[..., 0].long()]

    def logprobs_and_entropy(self, batch: Any) -> tuple[Tensor, Tensor]:
        logits = self.at(batch.observations[..., : batch.mask.shape[-1], :])
        return action_logprobs(logits, batch.actions), entropy(logits)

    def logprobs(self, batch: Any) -> Tensor:
        return self.logprobs_and_entropy(batch)[0]

    def values(self, batch: Any) -> Tensor:
        return self.at(batch.observations)

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"table": self.table}

    def dropout(self, on: bool) -> None:
        """There is none."""


def models_of(logits: Tensor, values: Tensor) -> Models:
    """One run's tables, or those of several."""
    if logits.dim() == 2:
        logits, values = logits[None], values[None]
    return Models(policy=Table(logits), critic=Table(values))


def everything_that_can_happen() -> list[tuple[int, int, int]]:
    """Action, where it led to, and the action there; an episode that ended has a second action that nobody took."""
    ended = [(a, END, 0) for a in range(2)]
    return ended + list(itertools.product(range(2), (1, 2), range(2)))


EVERY = everything_that_can_happen()


def every_episode(gamma: float, logits: Tensor = LOGITS) -> Transitions:
    mask = torch.tensor([[True, state != END] for _, state, _ in EVERY])
    actions = torch.tensor([[first, second] for first, _, second in EVERY])
    rewards = torch.stack(
        [torch.stack([REWARDS[0, a], REWARDS[s, b] if s != END else REWARDS.new_tensor(0.0)]) for a, s, b in EVERY]
    )
    observations = torch.tensor([[0.0, s, END] for _, s, _ in EVERY], dtype=torch.float64)[None, ..., None].clamp(max=2)
    bare = acted(
        mask=mask[None],
        lengths=mask.sum(1)[None],
        rows=torch.arange(len(EVERY)),
        old_logprobs=torch.zeros(1, *mask.shape, dtype=torch.float64),
        rewards=rewards[None],
        discounts=gamma * (mask & ~is_last(mask))[None].double(),
        observations=observations,
        actions=actions[None],
        runs=torch.arange(1),
    )
    with torch.no_grad():
        return dataclasses.replace(bare, old_logprobs=Table(logits[None]).logprobs(bare))


def probabilities(logits: Tensor) -> Tensor:
    """Of each of the episodes, step by step."""
    rows = logits.exp() / logits.exp().sum(1, keepdim=True)
    return torch.stack([rows[0, a] * (CHANCE[a, 0] if s == END else CHANCE[a, s] * rows[s, b]) for a, s, b in EVERY])


def expected_return(logits: Tensor) -> Tensor:
    earned = [REWARDS[0, a] + (0.0 if s == END else REWARDS[s, b]) for a, s, b in EVERY]
    return (probabilities(logits) * torch.stack(earned)).sum()


def true_values(logits: Tensor, gamma: float) -> Tensor:
    """What is to be earned from every state on, by going back from the end."""
    rows = logits.exp() / logits.exp().sum(1, keepdim=True)
    later = (rows[1:] * REWARDS[1:]).sum(1)
    first = (rows[0] * (REWARDS[0] + gamma * (CHANCE[:, 1:] * later).sum(1))).sum()
    return torch.cat([first[None], later])


def policy_gradient_theorem(logits: Tensor, gamma: float) -> Tensor:
    """Σ_s P(s) Σ_a ∇π(a|s) Q(s, a), with the P(s) that states are met with, not discounted."""
    leaf = logits.clone().requires_grad_()
    moving, held = leaf.softmax(1), logits.softmax(1)
    later = (held[1:] * REWARDS[1:]).sum(1)
    first = REWARDS[0] + gamma * (CHANCE[:, 1:] * later).sum(1)
    met = held[0] @ CHANCE[:, 1:]
    return torch.autograd.grad((moving[0] * first).sum() + (met * (moving[1:] * REWARDS[1:]).sum(1)).sum(), leaf)[0]


def gradients(algorithm: Any, values: Tensor, gamma: float = 1.0, logits: Tensor = LOGITS) -> Tensor:
    """Of each episode's summed policy loss, in the logits: [episodes, states, actions]."""
    models = models_of(logits, values)
    batch = ready(algorithm, models, every_episode(gamma, logits))
    losses = algorithm.loss(models, batch).terms["policy_avg"].losses
    rows = torch.where(batch.mask, losses, 0.0)[0].sum(1)
    return torch.stack([torch.autograd.grad(row, models.policy.table, retain_graph=True)[0][0] for row in rows])  # type: ignore[attr-defined]


def mean(of_episodes: Tensor) -> Tensor:
    return torch.einsum("e, esa -> sa", probabilities(LOGITS), of_episodes)


def variance(of_episodes: Tensor) -> Tensor:
    """Of all entries of the gradient, summed."""
    return (probabilities(LOGITS) * (of_episodes - mean(of_episodes)).square().sum((1, 2))).sum()


WRONG_VALUES = 3 * numbers(3, seed=7)


def test_the_enumeration_is_whole() -> None:
    assert len(EVERY) == 10
    close(probabilities(LOGITS).sum(), torch.tensor(1.0).double())
    close(true_values(LOGITS, 1.0)[0], expected_return(LOGITS))


# One gradient ------------------------------------------------------------------------------------------------------


def test_reinforce_follows_the_gradient_of_the_expected_return() -> None:
    leaf = LOGITS.clone().requires_grad_()
    exact = torch.autograd.grad(expected_return(leaf), leaf)[0]
    close(mean(gradients(Reinforce(), WRONG_VALUES)), -exact)
    close(policy_gradient_theorem(LOGITS, 1.0), exact)


@pytest.mark.parametrize("gamma", [0.5, 0.0])
def test_with_a_discount_states_are_met_as_often_as_ever(gamma: float) -> None:
    """Rewards are discounted from the action on, but states are not from the start on: γᵗ is left out."""
    close(mean(gradients(Reinforce(), WRONG_VALUES, gamma)), -policy_gradient_theorem(LOGITS, gamma))


@pytest.mark.parametrize("gamma", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_baseline_changes_no_mean(seed: int, gamma: float) -> None:
    """Whatever the critic says."""
    with_it = gradients(ReinforceBaseline(), 5 * numbers(3, seed=seed), gamma)
    close(mean(with_it), mean(gradients(Reinforce(), WRONG_VALUES, gamma)))


def test_a_true_baseline_takes_most_of_the_variance() -> None:
    plain = variance(gradients(Reinforce(), WRONG_VALUES))
    true = variance(gradients(ReinforceBaseline(), true_values(LOGITS, 1.0)))
    assert true < 0.2 * plain
    assert variance(gradients(ReinforceBaseline(), -true_values(LOGITS, 1.0))) > plain  # A bad one adds some.


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_a_critic_that_knows_is_no_bias_and_one_that_does_not_is(lambda_: float, gamma: float) -> None:
    """The smaller λ, the less chance there is in it."""
    algorithm, plain = ActorCritic(lambda_=lambda_), gradients(Reinforce(), WRONG_VALUES, gamma)
    true, wrong = (gradients(algorithm, values, gamma) for values in (true_values(LOGITS, gamma), WRONG_VALUES))
    close(mean(true), mean(plain))
    assert (mean(wrong) - mean(plain)).abs().max() > 0.001
    assert variance(true) < variance(gradients(ReinforceBaseline(), true_values(LOGITS, gamma), gamma))


# The same thing under two names ------------------------------------------------------------------------------------


def objective(algorithm: Any, models: Models, batch: PreparedEpisodes, part: str = "loss") -> Tensor:
    """Each run's loss: its terms, each over its own count. Metrics are told of every step, and move nothing."""
    loss = getattr(algorithm, part)(models, batch)
    assert all(x.shape == batch.mask.shape and not x.requires_grad for x in loss.metrics.values())
    terms = loss.terms.values()
    return torch.stack([term.weight * aggregate(term.losses, term.mask, term.over) for term in terms]).sum(0)


def learned(
    algorithm: Any, models: Models, batch: Episodes | Transitions, old: Models | None = None, **carried: Any
) -> tuple[Tensor, ...]:
    """Losses [R], and the gradients in policy and critic of their sum, on a batch prepared with the old models."""
    batch = ready(algorithm, old or models, batch, **carried)
    losses = [objective(algorithm, models, batch)]
    if algorithm.region():
        losses.append(objective(algorithm, models, batch, "critic_loss"))
    leaves = [p for model in models.trained().values() for p in model.parameters().values()]
    slopes = torch.autograd.grad(torch.stack(losses).sum(), leaves, allow_unused=True)
    return (
        *(x.detach() for x in losses),
        *(torch.zeros_like(p) if x is None else x for p, x in zip(leaves, slopes, strict=True)),
    )


def some_episodes(runs: int, seed: int = 0, sampled_by: Tensor | None = None) -> Transitions:
    """Rows of 5, 3, 4 and 1 steps in other lengths for every run; every other row was truncated. γ = 0.9."""
    lengths = torch.tensor([5, 3, 4, 1]).repeat(runs).reshape(runs, 4)
    lengths = torch.stack([row.roll(r) for r, row in enumerate(lengths)])
    steps = torch.arange(5)
    mask = steps < lengths[..., None]
    terminated = is_last(mask) & (torch.arange(4) % 2 == 0)[:, None]
    generator = torch.Generator().manual_seed(seed)
    states = torch.randint(3, (runs, 4, 6, 1), generator=generator).double()
    bare = acted(
        mask=mask,
        lengths=lengths,
        rows=torch.arange(4),
        old_logprobs=torch.zeros(runs, 4, 5, dtype=torch.float64),
        rewards=numbers(runs, 4, 5, seed=seed + 1),
        discounts=torch.where(mask & ~terminated, 0.9, 0.0).double(),
        observations=states,
        actions=torch.randint(2, (runs, 4, 5), generator=generator),
        runs=torch.arange(runs),
    )
    with torch.no_grad():
        logits = numbers(runs, 3, 2, seed=seed + 2) if sampled_by is None else sampled_by
        return dataclasses.replace(bare, old_logprobs=Table(logits).logprobs(bare))


STANDARDISED = pytest.mark.parametrize("standardised", [False, True])


@STANDARDISED
def test_an_actor_critic_with_lambda_1_is_reinforce_with_a_baseline(standardised: bool) -> None:
    """To the last bit, truncated episodes included."""
    options = {"standardise_advantages": standardised, "value_weight": 0.3, "entropy_weight": 0.1}
    batch = some_episodes(2)
    found = [
        learned(algorithm, models_of(numbers(2, 3, 2), numbers(2, 3, seed=5)), batch)
        for algorithm in (ActorCritic(lambda_=1.0, **options), ReinforceBaseline(**options))  # type: ignore[arg-type]
    ]
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@STANDARDISED
def test_a_critic_of_zeros_that_nobody_trains_is_no_baseline(standardised: bool) -> None:
    batch, models = some_episodes(2), models_of(numbers(2, 3, 2), torch.zeros(2, 3).double())
    baseline = learned(ReinforceBaseline(0.0, standardised), models, batch)
    for one, other in zip(baseline, learned(Reinforce(standardised), models, batch), strict=True):
        close(one, other)


@STANDARDISED
@pytest.mark.parametrize("lambda_", [0.0, 0.9, 1.0])
def test_the_first_gradient_of_trpo_and_ppo_is_the_actor_critics(lambda_: float, standardised: bool) -> None:
    """Of policy and critic, on the policy that sampled; the numbers of the losses differ, as they mean nothing. A
    price of KL has nothing to say yet."""
    logits, values = numbers(2, 3, 2), numbers(2, 3, seed=5)
    batch = some_episodes(2, sampled_by=logits)
    options: dict[str, Any] = {"lambda_": lambda_, "standardise_advantages": standardised}
    *_, policy, critic = learned(ActorCritic(**options), models_of(logits, values), batch)
    assert policy.abs().max() > 0.01
    for algorithm in (
        TRPO(**options),
        PPO(value_weight=1.0, **options),
        PPO(clip=1e-6, value_clip=None, value_weight=1.0, kl_penalty=3.0, **options),
    ):
        *_, first_policy, first_critic = learned(algorithm, models_of(logits, values), batch)
        close(first_policy, policy)
        close(first_critic, critic)


# Control is a language of two words ---------------------------------------------------------------------------------

EVERY_ALGORITHM = [
    Reinforce(entropy_weight=0.1),
    ReinforceBaseline(entropy_weight=0.1),
    ActorCritic(lambda_=0.8, standardise_advantages=True),
    TRPO(lambda_=0.8),
    PPO(lambda_=0.8, entropy_weight=0.1, kl_penalty=0.3),
    PPO(over="sequence", value_clip=None),
]


def spoken() -> tuple[Episodes, Tensor]:
    """All texts of three words behind a prompt, of which some are cut short, ended or not; and the states in which
    their words were chosen."""
    tokens = tabular.responses(2, 3)
    lengths = torch.tensor([3, 2, 3, 1, 2, 3, 3, 1])
    mask = tabular.chosen(tokens) & (torch.arange(4) <= lengths[:, None])
    terminated = is_last(mask) & (torch.arange(8) % 3 > 0)[:, None]
    bare = tabular.shaped_episodes(
        tokens, torch.zeros(8).double(), *(tabular.TablePolicy(numbers(7, 2, seed=3)) for _ in range(2)), 0.0
    )
    batch = dataclasses.replace(
        bare,
        mask=mask,
        lengths=lengths + 1,
        rewards=numbers(8, 4, seed=4),
        discounts=torch.where(mask & ~terminated, 0.9, 0.0).double(),
    )
    return batch, tabular.states(tokens, 2)


def driven() -> Transitions:
    """The same episodes as those of a cart, in one run: no column for a prompt, observations in place of prefixes."""
    batch, states = spoken()
    observations = nn.functional.pad(states, (0, 1), value=7)  # Behind a whole text there is a state of its own.
    cut = {name: getattr(batch, name)[None, :, 1:] for name in ("mask", "old_logprobs", "rewards", "discounts")}
    return acted(
        lengths=batch.lengths[None] - 1,
        rows=batch.rows,
        observations=observations[None, ..., None].double(),
        actions=batch.tokens[None, :, 1:],
        runs=torch.arange(1),
        **cut,
    )


@pytest.mark.parametrize("algorithm", EVERY_ALGORITHM, ids=lambda a: type(a).__name__)
def test_control_is_a_language_of_two_words(algorithm: Any) -> None:
    """Loss and gradients, of a policy and a critic that have moved since."""
    words, drives = [], []
    for logits, values in ((numbers(7, 2), numbers(7, seed=5)), (numbers(7, 2, seed=6), numbers(7, seed=7))):
        words.append(Models(policy=tabular.TablePolicy(logits), critic=tabular.TableCritic(values, 2)))
        drives.append(models_of(logits, nn.functional.pad(values, (0, 1))))
    *losses, policy, critic = learned(algorithm, words[1], spoken()[0], words[0])
    *drive_losses, drive_policy, drive_critic = learned(algorithm, drives[1], driven(), drives[0])
    for loss, drive_loss in zip(losses, drive_losses, strict=True):
        close(drive_loss, loss[None])
    close(drive_policy, policy[None])
    close(drive_critic, nn.functional.pad(critic, (0, 1))[None])
    assert policy.abs().max() > 0.001


# Lockstep ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", EVERY_ALGORITHM, ids=lambda a: type(a).__name__)
def test_runs_in_lockstep_are_runs_alone(algorithm: Any) -> None:
    """Of rewards that differ a hundredfold, prices that differ, and lengths that differ; policies have moved."""
    batch = some_episodes(3)
    scale = torch.tensor([1.0, 100.0, 0.0]).double()
    batch = dataclasses.replace(batch, rewards=batch.rewards * scale[:, None, None])
    prices = scale + 0.1
    tables = [(numbers(3, 3, 2, seed=i), numbers(3, 3, seed=i + 1)) for i in (10, 20)]
    old, new = (models_of(*both) for both in tables)
    group = learned(algorithm, new, batch, old, kl_penalty=prices)
    assert group[0].shape == (3,)
    for run in range(3):
        old, new = (models_of(*(x[run : run + 1] for x in both)) for both in tables)
        one_run = learned(algorithm, new, of_runs(batch, [run]), old, kl_penalty=prices[run : run + 1])
        for one, other in zip(group, one_run, strict=True):
            close(one[run : run + 1], other)


@pytest.mark.parametrize("algorithm", EVERY_ALGORITHM, ids=lambda a: type(a).__name__)
def test_a_broken_run_breaks_no_other(algorithm: Any) -> None:
    batch = some_episodes(3)
    rewards = batch.rewards.clone()
    rewards[1, 0, 0] = float("nan")
    broken = dataclasses.replace(batch, rewards=rewards)
    models = models_of(numbers(3, 3, 2), numbers(3, 3, seed=5))
    clean, found = learned(algorithm, models, batch), learned(algorithm, models, broken)
    assert found[0][1].isnan()
    for one, other in zip(clean, found, strict=True):
        for run in (0, 2):
            assert torch.equal(one[run], other[run])
