"""Updates on replayed rows against torch's optimizers, one per model and run, and copies that follow."""

from dataclasses import replace

import pytest
import torch
from replays import random_rows

from burnish.algorithms.dqn import DQN
from burnish.algorithms.sac import SAC
from burnish.policies.control.network import Network
from burnish.policies.interface import Models
from burnish.recipes.control.models import models_of
from burnish.training.control.optimizer import Steps
from burnish.training.control.rows import RowLearner, move
from burnish.training.resume import State

NETWORKS = {
    "sac": Network(3, 2, True, (5,), head="squashed"),
    "dqn": Network(3, 4, False, (5,), head="values"),
}
METHODS = {"sac": SAC(tau=0.25), "dqn": DQN(double=True, target_update_interval=2)}
STEPS = Steps(0.01, batch_size=4, max_grad_norm=0.0, adam_eps=1e-8)


def made(name: str, seeds: list[int]) -> Models:
    return models_of(METHODS[name], NETWORKS[name], seeds, torch.float64)


def weights(models: Models) -> dict[str, torch.Tensor]:
    return {name: part.model.theta.detach().clone() for name, part in models.parts.items()}


@pytest.mark.parametrize("name", METHODS)
def test_every_model_has_an_optimizer_of_its_own_and_its_copy_follows(name: str) -> None:
    """Two rollouts of three updates of two runs: torch's Adam on each model's theta, then θ′ ← θ′ + τ (θ − θ′) after
    each update (SAC), or θ′ ← θ after the 2nd, 4th and 6th (DQN)."""
    algorithm, models = METHODS[name], made(name, [1, 2])
    learner, each = RowLearner(algorithm, models, STEPS, [1, 2]), [made(name, [seed]) for seed in (1, 2)]
    adams = [torch.optim.Adam([m.theta for m in one.trained().values()], lr=0.01) for one in each]
    updates = 0
    for seed in (1, 2):
        rows = random_rows(2, 12, 2, 3, 2 if name == "sac" else 4, name == "sac", seed=seed)
        for part in learner.minibatches(learner.prepare(rows, State()), State()):
            assert len(part) == 4
            metrics = learner.update(part, State(), first=True)
            assert metrics is not None
            updates += 1
            for run, (one, adam) in enumerate(zip(each, adams, strict=True)):
                own = {key: x[run : run + 1] for key, x in vars(part).items() if x is not None and key != "rows"}
                terms = algorithm.loss(one, replace(part, **own)).terms.values()
                adam.zero_grad()
                loss = torch.stack([term.losses.mean() for term in terms]).sum()
                loss.backward()
                adam.step()
                torch.testing.assert_close(metrics["loss"][run], loss.detach())
                for copy, model in algorithm.follows.items():
                    (share,) = algorithm.following(torch.tensor([updates])).tolist()
                    copied, theta = one.parts[copy].model.theta.detach(), one.parts[model].model.theta.detach()
                    copied.copy_(copied + share * (theta - copied))
    assert updates == 6
    for key, theta in weights(models).items():
        alone = torch.cat([weights(one)[key] for one in each])
        torch.testing.assert_close(theta, alone, rtol=0, atol=1e-9)
    assert learner.updates == {0: 6, 1: 6}


def test_a_run_without_rows_stays_and_its_copy_too() -> None:
    models = made("dqn", [1, 2])
    learner = RowLearner(DQN(target_update_interval=1), models, STEPS, [1, 2])
    rows = random_rows(2, 4, 1, 3, 4, False)
    mask = rows.mask.clone()
    mask[1] = False
    before = weights(models)
    for part in learner.minibatches(replace(rows, mask=mask), State()):
        assert learner.update(part, State(), first=True) is not None
    after = weights(models)
    for name in ("policy", "target"):
        assert torch.equal(after[name][1], before[name][1])
        assert not torch.equal(after[name][0], before[name][0])
    assert torch.equal(after["target"][0], after["policy"][0])
    assert learner.updates == {0: 1, 1: 0}


def test_a_gradient_that_is_not_finite_fails_its_run_alone() -> None:
    models = made("sac", [1, 2, 3])
    learner = RowLearner(METHODS["sac"], models, STEPS, [1, 2, 3])
    rows = random_rows(3, 4, 1, 3, 2, True)
    rewards = rows.rewards.clone()
    rewards[1] = torch.inf
    before = weights(models)
    for part in learner.minibatches(replace(rows, rewards=rewards), State()):
        assert learner.update(part, State(), first=True) is not None
    learner.conclude(rows, State())
    assert learner.failed.keys() == {1}
    assert learner.failed[1].startswith("after 0 updates, the loss of the critic_1_avg overflows float64: rewards are")
    after = weights(models)
    for name, theta in after.items():
        assert torch.equal(theta[1], before[name][1]), name
        assert not torch.equal(theta[0], before[name][0]), name


def test_a_whole_step_is_a_copy_to_the_bit() -> None:
    copied, theta = torch.tensor([[0.1, 1e30], [1.0, 2.0]]), torch.tensor([[0.3, 7.0], [3.0, 4.0]])
    move(copied, theta, torch.tensor([[1.0], [0.5]]))
    assert torch.equal(copied, torch.tensor([[0.3, 7.0], [2.0, 3.0]]))
