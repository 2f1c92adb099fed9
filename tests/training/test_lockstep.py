"""Runs in lockstep end where each would alone; and the parts that see to it, each against something simpler."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from groups import Plan, Trained, World, cartpoles, late_cartpoles, pendulums, train

from burnish.algorithms.actor_critic import ActorCritic
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reinforce import Reinforce
from burnish.algorithms.reinforce_baseline import ReinforceBaseline
from burnish.algorithms.trpo import TRPO
from burnish.experience.control import Control
from burnish.training.lockstep import Steps

SEEDS = (11, 12, 13)

# A run of a group is the run alone --------------------------------------------------------------------------------

SHORT, WHOLE = Control(2, 8), Control(2, None)
SCALED = Control(2, 8, normalise_observations=True, normalise_rewards=True)
SGD, ALL = Steps(0.01, batch_size=7), Steps(0.01)
RATIO = PPO(update_epochs=2, value_weight=0.5, value_clip=None)
BRIEF = TRPO(update_epochs=2, cg_iterations=5)
PLANS: dict[str, tuple[Plan, World]] = {
    "reinforce": (Plan(Reinforce(), WHOLE, ALL, rollouts=20), cartpoles),
    "reinforce in minibatches": (Plan(Reinforce(), WHOLE, Steps(0.01, batch_size=25), rollouts=10), cartpoles),
    "reinforce_baseline": (Plan(ReinforceBaseline(entropy_weight=0.01), WHOLE, ALL, rollouts=20), cartpoles),
    "actor_critic": (Plan(ActorCritic(), SHORT, ALL, 17, 20), cartpoles),
    "trpo": (Plan(BRIEF, SHORT, SGD, 18, 20), cartpoles),
    "ppo": (Plan(RATIO, SHORT, SGD, 5, 6), cartpoles),
    "ppo that stops": (Plan(replace(RATIO, stop_kl=2e-4, update_epochs=4), SHORT, SGD, 9, 6), cartpoles),
    "ppo with clipped values": (Plan(replace(RATIO, value_clip=0.05), SHORT, SGD, 5, 6), cartpoles),
    "ppo ever slower": (Plan(RATIO, SHORT, replace(SGD, schedule="linear"), 9, 6), cartpoles),
    "ppo on a late start": (Plan(RATIO, SHORT, SGD, 9, 6), late_cartpoles),
    "ppo on a pendulum": (Plan(RATIO, SCALED, SGD, 9, 6), pendulums),
    "trpo on a pendulum": (Plan(BRIEF, SCALED, SGD, rollouts=20), pendulums),
}

LEAVES = ("actor_critic", "trpo", "ppo with clipped values")  # A run of these is over before the others.


def assert_same_run(group: Trained, run: int, alone: Trained) -> None:
    assert group.finished(run) == alone.finished(0)
    weights = group.weights(run)
    for name, expected in alone.weights(0).items():
        torch.testing.assert_close(weights.pop(name), expected, rtol=0, atol=1e-6)
    assert not weights


@pytest.mark.parametrize("name", PLANS)
def test_run_i_of_a_group_is_the_run_alone(name: str, tmp_path: Path) -> None:
    plan, world = PLANS[name]
    group = train(plan, world, SEEDS, tmp_path / "group")
    assert group.state.step >= 20
    assert (0 < len(group.player.retired) < len(SEEDS)) == (name in LEAVES)
    for run, seed in enumerate(SEEDS):
        alone = train(plan, world, [seed], tmp_path / str(seed))
        assert_same_run(group, run, alone)
