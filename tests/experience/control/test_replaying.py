"""When updates on replayed steps begin, how often they are drawn, and that runs leave."""

from itertools import islice

import numpy as np
import pytest
from scripted import Scripted, long, player_of

from burnish.experience.control.exploring import Exploration
from burnish.experience.control.player import Player
from burnish.experience.control.replaying import Replay
from burnish.experience.interface import draws


def player(world: Scripted, knobs: Replay, **own: int) -> Player:
    made = player_of(world, knobs, **own)
    policy = made.models.policy
    made.buffer = knobs.buffer([1] * len(world.names), policy.theta, None)
    made.exploration = Exploration(lambda p: 0 * p, world, [1] * len(world.names), knobs.copies, knobs.learning_starts)
    return made


def test_updates_begin_with_the_learning_and_follow_every_train_freq_steps() -> None:
    """2 copies, 3 steps of each at a time, from 10 steps on: the first rows after 12 steps, then after 18 and 24."""
    knobs = Replay(copies=2, train_freq=3, gradient_steps=4, batch_size=5, learning_starts=10, buffer_size=100)
    world = Scripted([[long(99), long(99)]])
    made = player(world, knobs)
    drawn = [(one, int(made.ledger.steps[0])) for one in islice(draws(knobs, made), 3)]
    assert [steps for _, steps in drawn] == [12, 18, 24]
    assert all(one.batch.mask.shape == (1, 20, 1) and one.batch.mask.all() for one, _ in drawn)
    assert drawn[0][0].metrics["env_steps"] == 12.0
    assert drawn[-1][0].batch.observations[..., 2].max() == 11


def test_runs_leave_with_their_last_episode_and_the_others_draw_on() -> None:
    knobs = Replay(train_freq=2, batch_size=3, learning_starts=2, buffer_size=10)
    world = Scripted([[long(3, 3)], [long(4, 9, 9)], [long(99)]])
    made = player(world, knobs, episodes=2)
    runs = [one.batch.runs.tolist() for one in islice(draws(knobs, made), 8)]
    assert runs == [[0, 1, 2]] * 2 + [[1, 2]] * 4 + [[2]] * 2
    assert made.buffer is not None
    assert made.buffer.made.tolist() == [[16]]


def test_a_run_that_steps_less_begins_to_learn_later() -> None:
    """Run 0 loses a step between its episodes of one step."""
    knobs = Replay(batch_size=2, learning_starts=4, buffer_size=10)
    world = Scripted([[long(*[1] * 20)], [long(99)]], late=True)
    ready = [one.batch.real[:, 0].tolist() for one in islice(draws(knobs, player(world, knobs)), 5)]
    assert ready == [[False, True]] * 3 + [[True, True]] * 2


def test_the_first_actions_are_uniform() -> None:
    knobs = Replay(batch_size=2, learning_starts=50, buffer_size=1000, copies=4)
    made = player(Scripted([[long(999)] * 4]), knobs)
    next(draws(knobs, made))
    assert made.buffer is not None
    actions = made.buffer.columns["actions"].view(4, -1)[:, :13].flatten().tolist()
    assert 15 < sum(actions) < 37
    policy = made.models.policy
    policy.theta.detach()[0, -1] = 100.0  # the second action is certain from here on
    for _ in islice(draws(knobs, made), 5):
        pass
    assert set(made.buffer.columns["actions"].view(4, -1)[:, 13:18].flatten().tolist()) == {1}


def test_a_buffer_is_no_larger_than_a_run() -> None:
    theta = player(Scripted([[long(9)]]), Replay(buffer_size=10)).models.policy.theta
    assert Replay(copies=2).buffer([1], theta, 100).places == 51
    assert Replay(copies=2).buffer([1], theta, None).places == 500_000
    with pytest.raises(ValueError, match="buffer_size must be at least copies, 3, not 2"):
        Replay(buffer_size=2, copies=3)
    assert np.isfinite(theta.detach().numpy()).all()
