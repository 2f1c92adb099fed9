"""Runs in lockstep end where each would alone; and the parts that see to it, each against something simpler."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from groups import (
    Plan,
    Trained,
    World,
    brittle,
    cartpoles,
    late_cartpoles,
    of_runs,
    only,
    pendulums,
    real_steps,
    train,
    uneven_cartpoles,
)
from loop_pieces import Own
from torch import Tensor

from burnish.algorithms.actor_critic import ActorCritic
from burnish.algorithms.interface import Algorithm
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reinforce import Reinforce
from burnish.algorithms.reinforce_baseline import ReinforceBaseline
from burnish.algorithms.terms import Loss, Term
from burnish.algorithms.trpo import TRPO
from burnish.batches import PreparedEpisodes, Transitions
from burnish.experience.control.player import Player
from burnish.experience.control.rollouts import Control
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.policies.interface import Models
from burnish.training.control.lockstep import LockstepLearner, metric_means, pick, single_steps
from burnish.training.control.optimizer import StackedAdam, Steps
from burnish.training.resume import State
from burnish.training.step import prepared

SEEDS = (11, 12, 13)

# A run of a group is the run alone --------------------------------------------------------------------------------

SHORT, WHOLE = Control(2, 8), Control(2, None)
SCALED = Control(2, 8, normalise_observations=True, normalise_rewards=True)
SGD, ALL = Steps(0.01, batch_size=7), Steps(0.01)
RATIO = PPO(update_epochs=2, value_weight=0.5, value_clip=None)
PRICED = replace(RATIO, kl_penalty=0.5, kl_penalty_target=1e-3)
BRIEF = TRPO(update_epochs=2, cg_iterations=5)
PLANS: dict[str, tuple[Plan, World]] = {
    "reinforce": (Plan(Reinforce(), WHOLE, ALL, rollouts=20), cartpoles),
    "reinforce in minibatches": (Plan(Reinforce(), WHOLE, Steps(0.01, batch_size=25), rollouts=12), cartpoles),
    "reinforce_baseline": (Plan(ReinforceBaseline(entropy_weight=0.01), WHOLE, ALL, rollouts=20), cartpoles),
    "actor_critic": (Plan(ActorCritic(), SHORT, ALL, 60, 22), uneven_cartpoles),
    "trpo": (Plan(BRIEF, SHORT, SGD, 60, 22), uneven_cartpoles),
    "ppo": (Plan(RATIO, SHORT, SGD, rollouts=6), cartpoles),
    "ppo that stops": (Plan(replace(RATIO, stop_kl=2e-4, update_epochs=4), SHORT, SGD, rollouts=6), cartpoles),
    "ppo with clipped values": (Plan(replace(RATIO, value_clip=0.05), SHORT, SGD, 14, 6), uneven_cartpoles),
    "ppo with a price": (Plan(PRICED, SHORT, SGD, 14, 6), uneven_cartpoles),
    "ppo ever slower": (Plan(RATIO, SCALED, replace(SGD, schedule="linear"), 20, 6), uneven_cartpoles),
    "ppo on a late start": (Plan(RATIO, SHORT, SGD, rollouts=6), late_cartpoles),
    "ppo on a pendulum": (Plan(RATIO, SCALED, SGD, rollouts=6), pendulums),
    "a method of one's own": (Plan(Own(rounds=3, ceiling=-0.62), SHORT, SGD, 14, 6), uneven_cartpoles),
    "trpo on a pendulum": (Plan(BRIEF, SCALED, SGD, rollouts=20), pendulums),
}


def assert_same_run(group: Trained, run: int, other: Trained, there: int = 0) -> None:
    assert group.finished(run) == other.finished(there)
    weights = group.weights(run)
    for name, expected in other.weights(there).items():
        torch.testing.assert_close(weights.pop(name), expected, rtol=0, atol=1e-6)
    assert not weights


@pytest.mark.parametrize("name", PLANS)
def test_run_i_of_a_group_is_the_run_alone(name: str, tmp_path: Path) -> None:
    plan, world = PLANS[name]
    group = train(plan, world, SEEDS, tmp_path / "group")
    assert group.state.step >= 20
    assert (0 < len(group.player.retired) < len(SEEDS)) == (world is uneven_cartpoles)  # Some leave before the others.
    for run, seed in enumerate(SEEDS):
        alone = train(plan, world, [seed], tmp_path / str(seed))
        assert_same_run(group, run, alone)


def test_a_run_whose_environment_breaks_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    plan = Plan(RATIO, SHORT, SGD, rollouts=5)
    group = train(plan, brittle((None, 21, None)), SEEDS, tmp_path / "group")
    pair = train(plan, brittle((None, None)), SEEDS[::2], tmp_path / "pair")
    assert group.player.failed.keys() == {1}
    assert "RuntimeError: the pole broke (" in group.player.failed[1]
    assert group.player.ledger.names.tolist() == [0, 2]
    assert max(steps for *_, steps in group.finished(0)) > 42  # Two copies, 20 steps: it went on after the break.
    assert_same_run(group, 0, pair)
    assert_same_run(group, 2, pair, 1)
    kept = group.finished(1)
    assert len(kept) > 0
    assert kept == train(plan, brittle((None,)), SEEDS[1:2], tmp_path / "whole").finished(0)[: len(kept)]


# Adam --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [0.1, torch.tensor([[0.1], [0.2], [0.05], [0.3]], dtype=torch.float64)])
def test_adam_is_torchs_of_each_run_that_goes(rates: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    theta = torch.randn(4, 5, dtype=torch.float64, generator=generator)
    each = [torch.nn.Parameter(row.clone()) for row in theta]
    every = torch.as_tensor(rates, dtype=torch.float64).expand(4, 1)[:, 0].tolist()
    optimizers = [torch.optim.Adam([p], lr=rate, eps=1e-3) for p, rate in zip(each, every, strict=True)]
    adam, there = StackedAdam(eps=1e-3), [0, 1, 2, 3]
    for step in range(30):
        if step == 20:
            there = [3, 1]
            adam.keep(torch.tensor(there))
            theta, rates = theta[there], rates if isinstance(rates, float) else rates[there]
        gradient = torch.randn(theta.shape, dtype=torch.float64, generator=generator)
        going = torch.rand(len(there), generator=generator) < (0.6 if step % 3 else 1.0)
        adam.step(theta, gradient, going, rates)
        for place, run in enumerate(there):
            if going[place]:
                each[run].grad = gradient[place].clone()
                optimizers[run].step()
            torch.testing.assert_close(theta[place], each[run].detach(), rtol=0, atol=1e-12)


def test_adam_may_lose_a_run_before_its_first_step() -> None:
    adam = StackedAdam(eps=1e-8)
    adam.keep(torch.tensor([1]))
    theta = torch.zeros(1, 2)
    adam.step(theta, torch.tensor([[3.0, -5.0]]), torch.tensor([True]), 0.5)
    torch.testing.assert_close(theta, torch.tensor([[-0.5, 0.5]]))


def test_learning_rates_by_hand() -> None:
    batch = replace(tagged(numbers()).batch, progress=torch.tensor([0.0, 0.25, 1.5]))
    assert Steps(0.1).rates(batch) == 0.1
    linear = Steps(0.1, schedule="linear").rates(batch)
    torch.testing.assert_close(linear, torch.tensor([[0.1], [0.075], [0.0]]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0, not 0.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be at least 0, not -1.0"),
        ({"adam_eps": 0.0}, "adam_eps must be above 0, not 0.0"),
    ],
)
def test_steps_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Steps(**wrong)


# Single steps and minibatches --------------------------------------------------------------------------------------

MASK = torch.tensor(
    [
        [[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]],  # 8 steps
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]],  # 3
        [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]],  # 7
    ],
    dtype=torch.bool,
)


def numbers() -> Tensor:
    """Every real step's own number, counted through a run's rows; junk elsewhere."""
    found = torch.full(MASK.shape, torch.nan, dtype=torch.float64)
    for r, b, t in MASK.nonzero().tolist():
        found[r, b, t] = 100 * r + 10 * b + t
    return found


def tagged(tags: Tensor) -> PreparedEpisodes:
    """Rows in which everything of a step tells its number."""
    final = torch.full((*MASK.shape[:2], 1), -1.0, dtype=torch.float64)
    seen = torch.cat([tags, final], -1)
    batch = Transitions(
        mask=MASK,
        lengths=MASK.sum(-1),
        rows=torch.arange(MASK.shape[1]),
        old_logprobs=-tags,
        rewards=2 * tags,
        discounts=3 * tags,
        observations=torch.stack([seen, 7 * seen], -1),
        actions=tags.nan_to_num(-1).long(),
        runs=torch.arange(len(MASK)),
        progress=torch.zeros(len(MASK)),
    )
    return PreparedEpisodes(batch, advantages=5 * tags, old_values=4 * tags, returns=6 * tags)


def assert_of(single: PreparedEpisodes, run: int, expected: Sequence[int]) -> None:
    """The real steps of this run are these, in this order and before all else, and each is all of one step."""
    count, inner = len(expected), single.batch
    assert single.mask[run].tolist() == [[True] * count + [False] * (single.mask.shape[-1] - count)]
    assert single.lengths[run].tolist() == [count]
    assert inner.observations.shape[:3] == single.mask.shape
    steps = torch.tensor(expected, dtype=torch.float64)
    found = (inner.rewards, inner.discounts, single.old_values, single.advantages, single.returns)
    for factor, values in enumerate(found, 2):
        assert values[run, 0, :count].tolist() == (factor * steps).tolist()
    assert inner.old_logprobs[run, 0, :count].tolist() == (-steps).tolist()
    assert inner.actions[run, 0, :count].tolist() == list(expected)
    assert inner.observations[run, 0, :count].tolist() == torch.stack([steps, 7 * steps], -1).tolist()


STEPS_OF = [[0, 1, 2, 10, 11, 12, 13, 20], [100, 110, 111], [200, 201, 210, 211, 212, 220, 221]]


def test_single_steps_are_a_runs_real_ones_in_one_row() -> None:
    single = single_steps(tagged(numbers()))
    assert single.mask.shape == (3, 1, 8)
    for run, expected in enumerate(STEPS_OF):
        assert_of(single, run, expected)


def test_picked_steps_by_hand() -> None:
    picked = pick(single_steps(tagged(numbers())), torch.tensor([[7, 0], [2, 5], [1, 2]]))
    assert_of(picked, 0, [20, 0])
    assert_of(picked, 1, [111])
    assert_of(picked, 2, [201, 210])


@dataclass(frozen=True)
class Epochs(Algorithm):
    count: int

    @property
    def passes(self) -> int:
        return self.count


def learner_of_nothing(seeds: Sequence[int], size: int | None, epochs: int = 3) -> LockstepLearner:
    return LockstepLearner(Epochs(epochs), Models(), Steps(0.1, batch_size=size), seeds)


def steps_of(part: PreparedEpisodes, run: int) -> list[int]:
    return part.batch.actions[run][part.mask[run]].tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_an_epoch_has_every_real_step_once(size: int) -> None:
    learner = learner_of_nothing((5, 6, 7), size)
    parts = list(learner.minibatches(tagged(numbers()), State()))
    turns = math.ceil(8 / size)
    assert len(parts) == 3 * turns
    orders: list[list[int]] = []
    for run, expected in enumerate(STEPS_OF):
        for epoch in range(3):
            pieces = [steps_of(part, run) for part in parts[epoch * turns : (epoch + 1) * turns]]
            for part, piece in zip(parts[epoch * turns :], pieces, strict=False):
                assert_of(part, run, piece)
            counts = [min(size, max(0, len(expected) - size * turn)) for turn in range(turns)]
            assert [len(piece) for piece in pieces] == counts
            orders.append([step for piece in pieces for step in piece])
            assert sorted(orders[-1]) == expected
    assert len({tuple(order) for order in orders[:3]}) == 3  # Each epoch has an order of its own.


@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_a_runs_steps_fall_to_minibatches_as_if_it_were_alone(size: int) -> None:
    """Over two rollouts, since a stream that was drawn from too often shows in the next."""
    batch, together = tagged(numbers()), learner_of_nothing((5, 6, 7), size)
    told = [part for _ in range(2) for part in together.minibatches(batch, State())]
    for run in range(3):
        alone = learner_of_nothing((5 + run,), size)
        own = only(batch, run)
        expected = [steps_of(part, 0) for _ in range(2) for part in alone.minibatches(own, State())]
        assert [steps for part in told if (steps := steps_of(part, run))] == expected


def test_the_order_of_minibatches_is_not_drawn_with_the_noise_of_actions() -> None:
    seeds = (5, 6)
    player = Player(some_models(seeds), SHORT, uneven_cartpoles(seeds, 2), seeds, 1)
    streams = [*player.streams, *learner_of_nothing(seeds, 2).orders]
    assert len({stream.random() for stream in streams}) == 4


@pytest.mark.parametrize("size", [None, 8, 100])
def test_a_minibatch_as_large_as_the_rollout_is_the_rollout(size: int | None) -> None:
    parts = list(learner_of_nothing((5, 6, 7), size).minibatches(tagged(numbers()), State()))
    assert len(parts) == 3
    for part in parts:
        for run, expected in enumerate(STEPS_OF):
            assert_of(part, run, expected)


# Updates -----------------------------------------------------------------------------------------------------------


SCALES = torch.tensor([0.01, 100.0, 1.0], dtype=torch.float64)


def some_models(seeds: Sequence[int]) -> Models:
    network: dict[str, Any] = {"hidden": (4,), "dtype": torch.float64}
    return Models(policy=ControlPolicy(2, 3, seeds, **network), critic=ControlCritic(2, seeds, **network))


def played(models: Models, scales: Tensor = SCALES) -> Transitions:
    """Random steps under `MASK`, of the policy as it is, with rewards of another size in each run."""
    generator = torch.Generator().manual_seed(1)
    normal = partial(torch.randn, dtype=torch.float64, generator=generator)
    batch = replace(
        tagged(numbers()).batch,
        rewards=normal(MASK.shape) * scales[:, None, None],
        discounts=torch.full(MASK.shape, 0.9, dtype=torch.float64),
        observations=normal(*MASK.shape[:2], MASK.shape[2] + 1, 2),
        actions=torch.randint(3, MASK.shape, generator=generator),
    )
    with torch.no_grad():
        return replace(batch, old_logprobs=models.policy.logprobs(batch))


def a_rollout(models: Models, algorithm: Algorithm) -> PreparedEpisodes:
    """What `algorithm` makes of `played`."""
    (batch,) = prepared(algorithm, models, [played(models)], {})
    return batch


def thetas(models: Models) -> dict[str, Tensor]:
    return {name: model.parameters()["theta"].detach().clone() for name, model in models.trained().items()}


ACTOR_CRITIC = ActorCritic(value_weight=0.3, entropy_weight=0.05)
"""An objective whose gradient has the size of the rewards."""


@pytest.mark.parametrize(("limit", "clipped"), [(0.0, 0), (0.2, 2), (1e-3, 3)])
@pytest.mark.parametrize("size", [None, 3])
def test_updates_are_torchs_of_each_run_on_its_real_steps(size: int | None, limit: float, clipped: int) -> None:
    """Torch's Adam and its clipping, on the mean of the loss over the steps that a run has in the part. A large epsilon
    lets Adam see the gradient's size."""
    seeds, steps = (5, 6, 7), Steps(0.05, batch_size=size, max_grad_norm=limit, adam_eps=0.5)
    models, each = some_models(seeds), [some_models([seed]) for seed in seeds]
    leaves = [[model.parameters()["theta"] for model in one.trained().values()] for one in each]
    optimizers = [torch.optim.Adam(some, lr=0.05, eps=0.5) for some in leaves]
    learner, over = LockstepLearner(ACTOR_CRITIC, models, steps, seeds), set()
    batch = a_rollout(models, ACTOR_CRITIC)
    for _ in range(2):
        for part in learner.minibatches(batch, State()):
            metrics = learner.update(part, State(), first=False)
            assert metrics is not None
            for run in range(3):
                own = real_steps(part, run)
                if not own.mask.numel():
                    continue
                loss = sum(
                    term.weight * term.losses.mean() for term in ACTOR_CRITIC.loss(each[run], own).terms.values()
                )
                optimizers[run].zero_grad()
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(leaves[run], limit or math.inf)
                optimizers[run].step()
                over |= {run} if norm > limit > 0 else set()
                torch.testing.assert_close(metrics["loss"][run], loss.detach())
                torch.testing.assert_close(metrics["grad_norm"][run], norm)
    assert size or len(over) == clipped
    for name, theta in thetas(models).items():
        alone = torch.cat([thetas(one)[name] for one in each])
        torch.testing.assert_close(theta, alone, rtol=0, atol=1e-9)


def test_metrics_are_means_over_a_runs_real_steps() -> None:
    loss = Loss({}, {"tag": numbers()})
    found = metric_means(loss, tagged(numbers()))["tag"]
    expected = torch.tensor([sum(steps) / len(steps) for steps in STEPS_OF], dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    learner = learner_of_nothing((1,), None)
    for row in ({"tag": torch.ones(3), "labels": 4.0}, {"tag": torch.tensor([1.0, 2.0, 6.0])}):
        learner.note(row, State())
    learner.runs = [4, 5, 6]
    assert learner.record(State()) == {"tag": 3.0, "labels": 4.0}
    assert learner.recorded_by_run() == {4: {"tag": 1.0}, 5: {"tag": 2.0}, 6: {"tag": 6.0}}
    assert learner.record(State()) == {}


def test_a_gradient_that_is_not_finite_names_its_run_and_nothing_moves() -> None:
    """Run 1 has left, so that run 2 is at position 1."""
    models = some_models((4, 5, 6, 7))
    learner = LockstepLearner(ACTOR_CRITIC, models, Steps(0.1), (4, 5, 6, 7))
    for model in (models.policy, models.critic):
        model.keep(torch.tensor([0, 2, 3]))
    rollout = a_rollout(models, ACTOR_CRITIC)
    sound = replace(rollout, batch=replace(rollout.batch, runs=torch.tensor([0, 2, 3])))
    learner.narrow(sound.batch)
    assert sound.returns is not None
    returns = sound.returns.clone()
    returns[1, 0, 0] = math.inf
    before = thetas(models)
    (part,) = learner.minibatches(replace(sound, returns=returns), State())
    for _ in range(2):
        metrics = learner.update(part, State(), first=False)
        assert metrics is not None
        learner.note(metrics, State())
        assert all(math.isfinite(value) for value in learner.record(State()).values())
        assert learner.recorded_by_run().keys() == {0, 3}
    assert learner.failed == {2: "after 0 updates, the returns overflow float64: lower the learning rate"}
    assert learner.updates == {0: 2, 1: 0, 2: 0, 3: 2}
    assert all(torch.equal(theta[1], before[name][1]) for name, theta in thetas(models).items())
    fresh = some_models((4, 6, 7))
    other = LockstepLearner(ACTOR_CRITIC, fresh, Steps(0.1), (4, 6, 7))
    (part,) = other.minibatches(rollout, State())
    for _ in range(2):
        other.update(part, State(), first=False)
    for name, theta in thetas(models).items():
        assert torch.equal(theta[[0, 2]], thetas(fresh)[name][[0, 2]])
    (part,) = learner.minibatches(sound, State())
    assert learner.going.tolist() == [True, False, True]  # until it leaves, before the next rollout


def test_weights_that_overflow_in_a_step_fail_their_run() -> None:
    models = Models(policy=ControlPolicy(2, 3, (4, 5)), critic=ControlCritic(2, (4, 5)))
    learner = LockstepLearner(ACTOR_CRITIC, models, Steps(1e-3), (4, 5))
    for model in models.trained().values():
        model.theta.detach()[1, 0] = math.inf
    learner.check()
    assert learner.failed == {1: "after 0 updates, the policy's weights overflow float32: lower the learning rate"}


# Early stop --------------------------------------------------------------------------------------------------------


def kl_of(models: Models, part: PreparedEpisodes) -> list[float]:
    """½ (log ρ)² of each run, the mean over its real steps."""
    with torch.no_grad():
        squares = (models.policy.logprobs(part.batch) - part.batch.old_logprobs).square() / 2
    return [squares[run][part.mask[run]].mean().item() for run in range(len(squares))]


def stopping(stop_kl: float, gains: Sequence[float]) -> tuple[Models, LockstepLearner, PreparedEpisodes]:
    """PPO on all of a rollout at once, with advantages times `gains`."""
    models = some_models((5, 6, 7))
    algorithm = PPO(stop_kl=stop_kl, update_epochs=12, value_clip=None, clip=0.5)
    learner = LockstepLearner(algorithm, models, Steps(0.01), (5, 6, 7))
    batch = a_rollout(models, algorithm)
    scaled = batch.advantages * torch.tensor(gains, dtype=torch.float64)[:, None, None]
    return models, learner, replace(batch, advantages=scaled)


def test_a_run_stops_by_its_own_kl_and_the_others_go_on() -> None:
    """Run 1 has nothing to gain from any action: its policy stays, its KL is 0, and its critic learns to the end."""
    stop_kl = 0.005
    models, learner, batch = stopping(stop_kl, (1.0, 0.0, 1.0))
    for _ in range(2):  # A new turn goes on from new log-probabilities, with everyone.
        with torch.no_grad():
            batch = replace(batch, batch=replace(batch.batch, old_logprobs=models.policy.logprobs(batch.batch)))
        stopped: list[set[int]] = []
        for part in learner.minibatches(batch, State()):
            kl, before = kl_of(models, part), thetas(models)
            stopped.append({run for run in range(3) if kl[run] > stop_kl} | (stopped[-1] if stopped else set()))
            assert learner.update(part, State(), first=False) is not None
            after = thetas(models)
            for run in range(3):
                still = [torch.equal(after[name][run], before[name][run]) for name in after]
                assert still == [run in stopped[-1] or run == 1, run in stopped[-1]]
        assert stopped[0] == set()
        assert stopped[-1] == {0, 2}
        assert len(stopped) == 12


def test_when_all_have_stopped_the_turn_is_over() -> None:
    models, learner, batch = stopping(0.005, (1.0, 1.0, 1.0))
    ever: set[int] = set()
    for part in learner.minibatches(batch, State()):
        before = thetas(models)
        ever |= {run for run, kl in enumerate(kl_of(models, part)) if kl > 0.005}
        metrics = learner.update(part, State(), first=False)
        assert (metrics is None) == (ever == {0, 1, 2})
        if metrics is None:
            assert all(torch.equal(theta, before[name]) for name, theta in thetas(models).items())
            break
    assert ever == {0, 1, 2}


def test_a_run_that_has_stopped_may_say_what_it_will() -> None:
    """Alone it would not have been asked again; its gradient is not looked at."""
    models, learner, batch = stopping(0.005, (1.0, 0.0, 0.0))
    assert batch.returns is not None
    broken = batch.returns.clone()
    broken[0] = math.nan
    before, moved = thetas(models), []
    for part in learner.minibatches(batch, State()):
        stopped = kl_of(models, part)[0] > 0.005
        told = replace(part, returns=single_steps(replace(batch, returns=broken)).returns) if stopped else part
        assert learner.update(told, State(), first=False) is not None
        after = thetas(models)
        moved.append((stopped, not torch.equal(after["critic"][0], before["critic"][0])))
        before = after
    assert moved[0] == (False, True)
    assert moved[-1] == (True, False)


# A price of KL -----------------------------------------------------------------------------------------------------


def test_each_run_has_a_price_of_kl_that_follows_its_own_kl() -> None:
    """Run 0 moves far and its price doubles, run 1 stays and its price halves, run 2 comes to the target."""
    models = some_models((5, 6, 7))
    algorithm = PPO(kl_penalty=0.1, kl_penalty_target=0.01, value_clip=None, update_epochs=1)
    rollout = played(models)
    learner = LockstepLearner(algorithm, models, Steps(0.01), (5, 6, 7))
    assert learner.prepare(rollout, State()).kl_penalty is None
    with torch.no_grad():
        moved = models.policy.logprobs(rollout) - torch.tensor([0.5, 0.0, 0.14])[:, None, None]
        rollout = replace(rollout, old_logprobs=torch.where(rollout.mask, moved, 0.0))
    kl = [math.exp(x) - 1 - x for x in (-0.5, 0.0, -0.14)]  # k3 of the log-ratio back to the old policy
    assert kl[0] > 0.015 > kl[2] > 0.01 / 1.5 > kl[1]
    learner.conclude(learner.prepare(rollout, State()), State())
    for expected in ([0.2, 0.05, 0.1], [0.4, 0.025, 0.1]):
        batch = learner.prepare(rollout, State())
        (part,) = learner.minibatches(batch, State())
        assert part.kl_penalty is not None
        assert part.kl_penalty.tolist() == pytest.approx(expected)
        learner.conclude(batch, State())
    for model in (models.policy, models.critic):
        model.keep(torch.tensor([0, 2]))
    (part,) = learner.minibatches(learner.prepare(of_runs(rollout, (0, 2)), State()), State())
    assert part.kl_penalty is not None
    assert part.kl_penalty.tolist() == pytest.approx([0.8, 0.1])


# A method that Burnish does not know --------------------------------------------------------------------------------


def test_what_a_method_carries_is_each_runs_own_and_leaves_with_it() -> None:
    """Weights 1 − m per run after one rollout, m the mean log-probability of its real steps; then run 1 leaves."""
    models = some_models((5, 6, 7))
    learner = LockstepLearner(Own(rounds=2), models, Steps(0.05), (5, 6, 7), parts=("policy",))
    rollout = played(models)
    batch, weights = learner.prepare(rollout, State()), [1.0] * 3
    for _ in range(2):
        for part in learner.minibatches(batch, State()):
            expected = [-w * m for w, m in zip(weights, mean_logprobs(models, rollout), strict=True)]
            metrics = learner.update(part, State(), first=False)
            assert metrics is not None
            assert metrics["loss"].tolist() == pytest.approx(expected)
        learner.conclude(batch, State())
        weights = [w - m for w, m in zip(weights, mean_logprobs(models, rollout), strict=True)]
        assert learner.carried["weight"].tolist() == pytest.approx(weights)
        batch = learner.prepare(rollout, State())
        assert batch.weight.tolist() == pytest.approx(weights)
    assert len(set(weights)) == 3
    for model in (models.policy, models.critic):
        model.keep(torch.tensor([0, 2]))
    batch = learner.prepare(of_runs(rollout, (0, 2)), State())
    assert batch.weight.tolist() == pytest.approx(weights[::2])
    learner.conclude(batch, State())
    expected = [w - m for w, m in zip(weights[::2], mean_logprobs(models, batch.batch), strict=True)]
    assert learner.carried["weight"].tolist() == pytest.approx(expected)


@dataclass(frozen=True)
class Imitation(Algorithm):
    """A method that prepares nothing."""

    def loss(self, models: Models, batch: Any) -> Loss:
        return Loss({"nll": Term(-models.policy.logprobs(batch), batch.mask)})


def test_a_method_need_not_prepare_anything() -> None:
    models, rollout = some_models((5, 6, 7)), played(some_models((5, 6, 7)))
    learner = LockstepLearner(Imitation(), models, Steps(0.05, schedule="linear"), (5, 6, 7), parts=("policy",))
    (part,) = learner.minibatches(learner.prepare(rollout, State()), State())
    assert isinstance(part, Transitions)
    assert part.observations.shape == (3, 1, 8, 2)
    metrics, expected = learner.update(part, State(), first=True), mean_logprobs(some_models((5, 6, 7)), rollout)
    assert metrics is not None
    assert metrics["loss"].tolist() == pytest.approx([-m for m in expected])
    assert all(after > before for after, before in zip(mean_logprobs(models, rollout), expected, strict=True))


def mean_logprobs(models: Models, batch: Transitions) -> list[float]:
    with torch.no_grad():
        logprobs = models.policy.logprobs(batch)
    return [logprobs[run][batch.mask[run]].mean().item() for run in range(len(logprobs))]


def test_a_method_stops_each_run_by_its_own_metrics() -> None:
    """A ceiling that no run is above at first: each goes on until it is, and the rollout ends with the last."""
    models = some_models((5, 6, 7))
    rollout = played(models)
    ceiling = max(mean_logprobs(models, rollout)) + 0.05
    learner = LockstepLearner(Own(ceiling=ceiling), models, Steps(0.02), (5, 6, 7), parts=("policy",))
    stopped: list[set[int]] = [set()]
    for part in learner.minibatches(learner.prepare(rollout, State()), State()):
        means, before = mean_logprobs(models, rollout), thetas(models)["policy"]
        stopped.append(stopped[-1] | {run for run in range(3) if means[run] > ceiling})
        metrics = learner.update(part, State(), first=False)
        still = [torch.equal(after, row) for after, row in zip(thetas(models)["policy"], before, strict=True)]
        assert still == [run in stopped[-1] for run in range(3)]
        assert (metrics is None) == (len(stopped[-1]) == 3)
        if metrics is None:
            break
    assert {len(some) for some in stopped} >= {0, 1, 3} or {len(some) for some in stopped} >= {0, 2, 3}
