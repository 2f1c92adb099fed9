"""What an experience is: one of our own, drawn by hand, and what the base says where nothing is written."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest

from burnish.batches import Drawn
from burnish.experience.interface import Experience, RolloutError, Source, draws
from burnish.options import option
from burnish.policies.interface import Models
from burnish.run import UserError


@dataclass(frozen=True)
class Doubling(Experience):
    """Draws `last` batches of its number and of a price that doubles."""

    rollout: int = option(4, "prompts per rollout", ge=1)
    last: int = option(3, "batches", ge=0)

    def draw(self, source: Source, number: int, carried: dict[str, float]) -> Drawn | None:
        source.prompts.append(number)
        price = carried.get("price", 1.0)
        return None if number == self.last else Drawn((number, price), state={"price": 2 * price})


def source(seen: list[int]) -> Source:
    return Source(Models(), seen)


def test_draws_by_hand() -> None:
    """Each from the state of the one before, until there is nothing more."""
    seen: list[int] = []
    assert [drawn.batch for drawn in draws(Doubling(), source(seen))] == [(0, 1.0), (1, 2.0), (2, 4.0)]
    assert seen == [0, 1, 2, 3]


def test_draws_go_on_from_a_number_and_its_state() -> None:
    found = list(draws(Doubling(), source([])))
    again = list(draws(Doubling(), source([]), 1, found[0].state))
    assert again == found[1:]
    assert next(draws(Doubling(), source([]), 2)).batch == (2, 1.0)
    assert list(draws(Doubling(last=0), source([]))) == []


def test_a_rollout_is_drawn_when_it_is_asked_for() -> None:
    seen: list[int] = []
    stream = draws(Doubling(last=99), source(seen))
    assert seen == []
    list(islice(stream, 2))
    assert seen == [0, 1]


@dataclass(frozen=True)
class Judged(Doubling):
    """The same with a measurement."""

    def evaluate(self, source: Source, count: int) -> dict[str, float]:
        return {"loss": float(count)}


def test_an_experience_says_whether_it_evaluates() -> None:
    assert not Doubling().evaluates
    assert Judged().evaluates


def test_the_range_of_an_option_holds() -> None:
    with pytest.raises(ValueError, match="rollout must be at least 1, not 0"):
        Doubling(rollout=0)


@dataclass(frozen=True)
class Bare(Experience):
    """Nothing is written."""


def test_what_is_not_written_is_said() -> None:
    with pytest.raises(NotImplementedError, match="Bare has no draw"):
        next(draws(Bare(), source([])))
    with pytest.raises(NotImplementedError, match="Bare has no evaluate"):
        Bare().evaluate(source([]), 3)


def test_it_asks_for_nothing_where_nothing_is_written() -> None:
    bare: Any = Bare()
    assert (bare.needs, bare.problems("mine", None)) == ((), {})
    assert (bare.rows_per_prompt, bare.temperature, bare.room) == (1, 1.0, 0)
    assert bare.critic_model is bare.rollout is None


def test_a_source_needs_no_sampler_and_no_reward() -> None:
    found = source([])
    assert (found.sampler, found.reward, found.seed) == (None, None, 0)


def test_a_failed_rollout_is_a_mistake_of_the_users_and_keeps_what_was_sampled() -> None:
    error = RolloutError("the reward failed", [{"row": 3}])
    assert isinstance(error, UserError)
    assert (str(error), error.rollout) == ("the reward failed", [{"row": 3}])
