"""Uniform actions: how many there are, that they are uniform, and that a run's do not depend on the others."""

from types import SimpleNamespace

import numpy as np
import pytest

from burnish.experience.control.exploring import Exploration


def kind(**own: object) -> SimpleNamespace:
    return SimpleNamespace(**({"actions": 3, "continuous": False, "choices": ()} | own))


def ledger(progress: list[float], steps: list[int]) -> SimpleNamespace:
    return SimpleNamespace(progress=lambda: np.array(progress), steps=np.array(steps))


def test_shares_are_each_runs_own() -> None:
    """The policy always chooses −1, which is no action: after a warm-up of 10 steps, run 0 explores never, run 1 in one
    of four, run 2 always; run 3 is in its warm-up. Uniform actions are 0, 1 and 2 alike."""
    explore = Exploration(lambda progress: progress, kind(), [1, 2, 3, 4], 5, warm_up=10)
    runs = ledger([0.0, 0.25, 1.0, 0.0], [10, 10, 10, 9])
    seen = np.stack([explore(np.full((4, 5), -1), runs) for _ in range(1000)], 1).reshape(4, -1)
    shares = (seen >= 0).mean(1)
    assert shares[[0, 2, 3]].tolist() == [0, 1, 1]
    assert shares[1] == pytest.approx(0.25, abs=0.02)
    for run in (1, 2, 3):
        own = seen[run][seen[run] >= 0]
        assert np.bincount(own, minlength=3) / len(own) == pytest.approx([1 / 3] * 3, abs=0.03)


def test_choices_and_real_numbers_are_uniform_too() -> None:
    explore = Exploration(lambda p: p, kind(actions=7, choices=(2, 5)), [1], 1, warm_up=0)
    seen = np.stack([explore(np.full((1, 1, 2), -1), ledger([1.0], [0]))[0, 0] for _ in range(4000)])
    assert np.bincount(seen[:, 0]) / 4000 == pytest.approx([0.5] * 2, abs=0.03)
    assert np.bincount(seen[:, 1]) / 4000 == pytest.approx([0.2] * 5, abs=0.03)
    explore = Exploration(lambda p: p, kind(actions=2, continuous=True), [1], 1, warm_up=0)
    real = np.stack([explore(np.full((1, 1, 2), 9, np.float32), ledger([1.0], [0]))[0, 0] for _ in range(4000)])
    assert real.dtype == np.float32
    assert np.abs(real).max() <= 1
    assert real.mean(0) == pytest.approx([0, 0], abs=0.03)
    assert real.var(0) == pytest.approx([1 / 3] * 2, abs=0.02)


def test_a_run_explores_alike_in_any_group() -> None:
    """Run 2 of three, the first of which leaves after 30 steps; alone it draws the same."""
    together = Exploration(lambda p: 0.5 + 0 * p, kind(), [1, 2, 3], 2, warm_up=0)
    alone = Exploration(lambda p: 0.5 + 0 * p, kind(), [3], 2, warm_up=0)
    for t in range(150):
        if t == 30:
            together.keep([1, 2])
        count = 3 if t < 30 else 2
        own = alone(np.full((1, 2), -1), ledger([0.0], [t]))
        assert (together(np.full((count, 2), -1), ledger([0.0] * count, [t] * count))[-1] == own[0]).all()
