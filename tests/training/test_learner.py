"""What the loop does with a learner: one of our own, and Burnish's three."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import Own, online_models, optimizer_of, settings
from torch import nn

from burnish.algorithms.trpo import TRPO
from burnish.batches import Drawn
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError, read_jsonl
from burnish.training.control.lockstep import LockstepLearner
from burnish.training.control.optimizer import Steps
from burnish.training.control.trust_region import TrustRegionLearner
from burnish.training.language.learner import GradientLearner
from burnish.training.learner import Learner
from burnish.training.loop import train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State


class Number:
    """A model that is one number."""

    def __init__(self) -> None:
        self.value, self.dropped = nn.Parameter(torch.zeros(())), False

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"value": self.value}

    def dropout(self, on: bool) -> None:
        self.dropped = on


@dataclass
class Halfway:
    """Goes half of the way to each target of a batch, and leaves out the rest of it from a negative one on."""

    model: Number
    dropout: bool = True
    told: list[Any] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    noted: list[dict[str, float]] = field(default_factory=list)

    def prepare(self, batch: Any, state: State) -> list[float]:
        self.told.append(("prepare", batch, self.model.dropped))
        return [x + 1.0 for x in batch]

    def minibatches(self, batch: Any, state: State) -> Iterator[float]:
        yield from batch

    def update(self, part: float, state: State, first: bool) -> dict[str, Any] | None:
        self.told.append(("update", part, first, self.model.dropped))
        if part < 0:
            return None
        with torch.no_grad():
            self.model.value += (part - self.model.value) / 2
        return {"value": self.model.value.clone()}

    def conclude(self, batch: Any, state: State) -> None:
        self.told.append(("conclude", batch, self.model.dropped))

    def note(self, metrics: dict[str, Any], state: State) -> None:
        self.noted.append({name: value.item() if name == "value" else value for name, value in metrics.items()})

    def record(self, state: State) -> dict[str, float]:
        (found,) = self.noted
        self.noted.clear()
        return found

    def pace(self, seconds: float) -> dict[str, Any]:
        return {}

    def save(self, state: State, goes_on: bool = False) -> None:
        self.saved.append(state.step)


def run(folder: Path, batches: list[list[float]], steps: float = 99, save_every: int = 0) -> tuple[Halfway, State]:
    model = Number()
    learner = Halfway(model)
    with RunFolder.open(folder) as run, Progress("test", 9, quiet=True) as progress:
        state = train_loop(
            Models(policy=model),
            iter([Drawn(batch, {"size": float(len(batch))}) for batch in batches]),
            learner=learner,
            settings=settings(save_every=save_every),
            steps=steps,
            run=run,
            state=State(),
            evaluator=None,
            progress=progress,
        )
    return learner, state


def test_a_learner_of_ones_own_by_hand(tmp_path: Path) -> None:
    """Targets 3 and 7, then 1, and after it one below 0 which ends the batch: from 0 to 1.5, 4.25 and 2.625.

    Dropout is on in updates alone, and only the first update of a batch is told that it is one.
    """
    learner, state = run(tmp_path / "run", [[2, 6], [0, -3, 5]], save_every=2)
    assert learner.told == [
        ("prepare", [2, 6], False),
        ("update", 3.0, True, True),
        ("update", 7.0, False, True),
        ("conclude", [3.0, 7.0], False),
        ("prepare", [0, -3, 5], False),
        ("update", 1.0, True, True),
        ("update", -2.0, False, True),
        ("conclude", [1.0, -2.0, 6.0], False),
    ]
    assert (state.step, state.batches, learner.saved) == (3, 2, [2])
    assert read_jsonl(tmp_path / "run" / "metrics.jsonl") == [
        {"step": 1, "value": 1.5, "size": 2.0},
        {"step": 2, "value": 4.25},
        {"step": 3, "value": 2.625, "size": 3.0},
    ]


def test_steps_end_a_batch_in_its_middle(tmp_path: Path) -> None:
    learner, state = run(tmp_path / "run", [[2, 6]], steps=1)
    assert [name for name, *_ in learner.told] == ["prepare", "update", "conclude"]
    assert state.step == 1


def test_a_batch_without_an_update_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="step 1: the method's early stop ended a rollout before its first update"):
        run(tmp_path / "run", [[-2]])


def test_burnishs_learners_are_learners(tmp_path: Path) -> None:
    control = Models(policy=ControlPolicy(2, 3, (1,)), critic=ControlCritic(2, (1,)))
    models = online_models()
    assert isinstance(Halfway(Number()), Learner)
    assert isinstance(LockstepLearner(Own(), control, Steps(), (1,)), Learner)
    assert isinstance(TrustRegionLearner(TRPO(), control, Steps(), (1,)), Learner)
    with RunFolder.open(tmp_path / "run") as folder:
        assert isinstance(GradientLearner(Own(), models, optimizer_of(models), settings(), 9, 3, folder), Learner)
    assert not isinstance(tiny.Table(torch.zeros(1)), Learner)
