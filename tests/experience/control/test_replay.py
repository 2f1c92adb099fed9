"""Whole episodes of trained policies, counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from recipes.classic_worlds import HERE
from trained_policies import write_group

from burnish.experience.control import replay as module
from burnish.experience.control.environments import make_environments
from burnish.experience.control.replay import replay
from burnish.experience.control.trained import load_policies
from burnish.run import UserError


def test_returns_by_hand(tmp_path: Path) -> None:
    """On Told a step to the right earns 1, 2 and 4: run 3 goes right, run 7 left, drawn or not."""
    policies = load_policies(write_group(tmp_path, "any", {3: 1, 7: 0}))
    for deterministic in (True, False):
        made = make_environments(f"{HERE}:Told-v0", [1, 2], 4)
        found = replay(policies, made, [1, 2], deterministic)
        assert found.returns.tolist() == [[7.0] * 4, [0.0] * 4]
        assert found.lengths.tolist() == [[3] * 4] * 2


def test_only_the_first_episode_of_each_copy_counts(tmp_path: Path) -> None:
    """Poles that are always pushed to one side fall after different numbers of steps, each worth 1."""
    from gymnasium.spaces import Box, Discrete

    spaces = (Box(-np.inf, np.inf, (4,)), Discrete(2))
    policies = load_policies(write_group(tmp_path, "any", {0: 1}, spaces=spaces))
    found = replay(policies, make_environments("CartPole-v1", [1], 6), [1])
    assert (found.returns == found.lengths).all()
    assert ((found.lengths > 7) & (found.lengths < 12)).all()
    assert len(set(found.lengths[0].tolist())) > 1


def test_an_episode_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDLESS", 2)
    policies = load_policies(write_group(tmp_path, "any", {0: 1}))
    with pytest.raises(UserError, match=r"^an episode of any has had 2 steps and does not end: limit it with"):
        replay(policies, make_environments(f"{HERE}:Told-v0", [1], 1), [1], limited=False)
    assert replay(policies, make_environments(f"{HERE}:Told-v0", [1], 1), [1]).returns.tolist() == [[7.0]]


def test_a_failure_names_environment_algorithm_and_run(tmp_path: Path) -> None:
    policies = load_policies(write_group(tmp_path, "stairs", {4: 1, 5: 1}, algorithm="trpo"))
    made = make_environments(f"{HERE}:Broken-v0", [1, 2], 1)
    said = r"^stairs failed with the policy of trpo, run 4: ValueError: an observation of shape \(2,\) where Box\("
    with pytest.raises(UserError, match=said):
        replay(policies, made, [1, 2])
