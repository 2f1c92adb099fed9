"""Single steps in worlds that play what is written."""

from itertools import islice

from scripted import Scripted, long, player_of

from burnish.experience.control.stepwise import Stepwise
from burnish.experience.interface import draws


def test_each_step_is_drawn_once_with_what_it_led_to() -> None:
    """Episodes of 2 and 3 steps; the first terminates. An observation is run, episode and step in it, and the one
    reached is the last of its episode, not the first of the next."""
    world = Scripted([[[([1.0, 2.0], True), ([4.0, 8.0, 16.0], False), ([0.0] * 9, True)]]], late=True)
    knobs = Stepwise(gamma=0.5)
    drawn = [one.batch for one in islice(draws(knobs, player_of(world, knobs)), 5)]
    assert [one.observations[0, 0].tolist() for one in drawn] == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 1, 2]]
    assert [one.reached[0, 0].tolist() for one in drawn] == [[0, 0, 1], [0, 0, 2], [0, 1, 1], [0, 1, 2], [0, 1, 3]]
    assert [one.rewards.item() for one in drawn] == [1, 2, 4, 8, 16]
    assert [one.discounts.item() for one in drawn] == [0.5, 0.0, 0.5, 0.5, 0.5]
    assert all(one.mask.all() and one.actions.shape == (1, 1) for one in drawn)


def test_a_run_that_only_begins_an_episode_learns_nothing_then() -> None:
    """Run 0's first episode has one step, and the next begins on a step of its own, while run 1 goes on."""
    world = Scripted([[long(1, 9)], [long(5, 9)]], late=True)
    knobs = Stepwise()
    drawn = [one.batch for one in islice(draws(knobs, player_of(world, knobs)), 3)]
    assert [one.real[:, 0].tolist() for one in drawn] == [[True, True], [False, True], [True, True]]
    assert drawn[1].discounts[0].item() == 0
