"""What is seen of a training: time, tokens, and the step at which it diverged."""

import time
from typing import Any

import pytest

from burnish.evaluation.reward_models import NotFiniteScoreError
from burnish.policies.interface import Models
from burnish.policies.language.slots import NotFiniteError
from burnish.recipes.study.measure import DivergedError
from burnish.recipes.study.watch import Watch, diverged_at, divergence
from burnish.run import UserError
from burnish.training.step import NonFiniteLossError


def test_divergence_has_a_step_and_other_mistakes_have_none() -> None:
    def because(cause: BaseException) -> UserError:
        error = UserError("no")
        error.__cause__ = cause
        return error

    assert diverged_at(because(NonFiniteLossError("loss", [1])), 7) == 8
    assert diverged_at(NotFiniteError("the sampler"), 7) == 8
    assert diverged_at(because(DivergedError()), 7) == 7
    assert diverged_at(because(NotFiniteError("measuring")), 7) == 7
    assert diverged_at(because(ValueError()), 7) is None
    assert diverged_at(NotFiniteScoreError("a score"), 7) == 7


def test_a_training_that_diverges_gives_its_step_and_other_mistakes_are_raised() -> None:
    def failing(error: UserError) -> Any:
        raise error

    assert divergence(lambda: None, lambda: 7) is None
    assert divergence(lambda: failing(NotFiniteError("the sampler")), lambda: 7) == 8
    with pytest.raises(UserError, match="no such file"):
        divergence(lambda: failing(UserError("no such file")), lambda: 7)


def test_time_and_tokens_are_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each update takes 1 s, each measurement 100 s. Rollouts of 8 completions of 10 and 20 tokens, two updates each;
    measured after every second update."""
    clock = [0.0]
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    monkeypatch.setattr(time, "perf_counter", lambda: 2 * clock[0])

    class Slow:
        def measured(self, policy: Any) -> dict[str, Any]:
            clock[0] += 100
            return {"policy": policy}

    watch = Watch(Slow(), every=2, each=8)  # type: ignore[arg-type]
    watch.begin(Models(policy="me"))
    for step in range(1, 5):
        clock[0] += 1
        first = {"objective/length": 5.0 * (step + 1)} if step % 2 else {}
        watch.step(step, {"num_tokens": 7.0 * step} | first)
    assert watch.points == [
        {"step": 2, "seconds": 2.0, "sampled": 80.0, "learned": 14.0, "policy": "me"},
        {"step": 4, "seconds": 4.0, "sampled": 240.0, "learned": 28.0, "policy": "me"},
    ]
    assert (watch.at, watch.seconds, watch.wall, watch.sampled, watch.learned) == (4, 4.0, 8.0, 240.0, 28.0)
