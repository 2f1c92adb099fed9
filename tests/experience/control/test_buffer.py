"""The replay buffer against lists of steps: what is kept, how rows go on, how evenly they are drawn."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from burnish.experience.control.buffer import ReplayBuffer, replayed
from burnish.run import UserError

GAMMA, PLACES = 0.5, 7
RUNS, COPIES = 3, 2


def rollout(rng: np.random.Generator, made: list[list[list[dict]]], runs: list[int], steps: int) -> dict[str, Any]:
    """Random steps, some of them not real, as columns; the real ones are appended to `made[run][copy]`.

    An observation is the run, the copy and the number of the step, so that a row tells where it is from.
    """
    shape = (steps, len(runs), COPIES)
    real, ended = rng.random(shape) < 0.8, rng.random(shape) < 0.3
    terminated = ended & (rng.random(shape) < 0.5)
    columns = {"rewards": rng.normal(size=shape), "actions": rng.integers(5, size=shape), "real": real}
    columns |= {"ended": ended & real, "terminated": terminated & real}
    columns |= {name: np.full((*shape, 3), np.nan, np.float32) for name in ("observations", "reached")}
    for t, at, copy in np.argwhere(real):
        own = made[runs[at]][copy]
        columns["observations"][t, at, copy] = (runs[at], copy, len(own))
        columns["reached"][t, at, copy] = (runs[at], copy, len(own) + 0.5)
        own.append({name: columns[name][t, at, copy] for name in ("rewards", "actions", "ended", "terminated")})
    return columns


def filled(n_step: int, seeds: tuple[int, ...] = (1, 2, 3)) -> tuple[ReplayBuffer, list[list[list[dict]]]]:
    """A buffer of three runs that have made about 16 steps a copy, of which it keeps the last 7."""
    rng, made = np.random.default_rng(4), [[[] for _ in range(COPIES)] for _ in range(RUNS)]  # type: ignore[var-annotated]
    like = torch.zeros(1, dtype=torch.float64)
    buffer = ReplayBuffer(seeds, COPIES, PLACES * COPIES + 1, GAMMA, n_step, like)
    for steps in (3, 1, 9, 7):
        buffer.add(rollout(rng, made, [0, 1, 2], steps))
    return buffer, made


def by_loops(made: list[dict], number: int, n_step: int) -> tuple[list[float], list[float], int]:
    """Rewards and discounts of the row that begins with this step, and the step that it ends with."""
    rewards, discounts = [], []
    for k in range(number, min(number + n_step, len(made))):
        rewards.append(made[k]["rewards"])
        discounts.append(0.0 if made[k]["terminated"] else GAMMA)
        if made[k]["ended"]:
            break
    return rewards, discounts, number + len(rewards) - 1


def check(rows: dict[str, Tensor], made: list[list[list[dict]]], runs: list[int], n_step: int) -> set[tuple]:
    """Every row against `by_loops`; the steps that rows began with."""
    seen = set()
    for at, run in enumerate(runs):
        for row in range(rows["mask"].shape[1]):
            from_run, copy, number = (int(x) for x in rows["observations"][at, row])
            own = made[run][copy]
            assert from_run == run
            assert len(own) - PLACES <= number < len(own)
            rewards, discounts, last = by_loops(own, number, n_step)
            pad = [0.0] * (n_step - len(rewards))
            assert rows["rewards"][at, row].tolist() == rewards + pad
            assert rows["discounts"][at, row].tolist() == discounts + pad
            assert rows["mask"][at, row].tolist() == [True] * len(rewards) + [False] * len(pad)
            assert rows["lengths"][at, row] == len(rewards)
            assert rows["reached"][at, row].tolist() == [run, copy, last + 0.5]
            assert rows["actions"][at, row] == own[number]["actions"]
            seen.add((run, copy, number))
    return seen


@pytest.mark.parametrize("n_step", [1, 3])
def test_rows_are_those_of_lists_and_every_step_that_is_kept_is_drawn(n_step: int) -> None:
    buffer, made = filled(n_step)
    seen = check(buffer.draw(np.array([True] * 3), 150, 0), made, [0, 1, 2], n_step)
    every = {(r, e, k) for r in range(3) for e in range(2) for k in range(len(made[r][e]) - PLACES, len(made[r][e]))}
    assert seen == every


def test_steps_are_drawn_evenly_before_the_buffer_is_full_too() -> None:
    """Run 0's copies have made 3 and 1 steps: each of the four is drawn in a quarter of all rows."""
    buffer, made = ReplayBuffer([1], 2, 20, GAMMA, 1, torch.zeros(1)), [[[], []]]  # type: ignore[var-annotated]
    columns = rollout(np.random.default_rng(0), made, [0], 3)
    real = np.array([[[True, False]], [[True, True]], [[True, False]]])
    columns |= {"real": real, "observations": np.arange(18, dtype=np.float32).reshape(3, 1, 2, 3)}
    buffer.add(columns)
    first = buffer.draw(np.array([True]), 4000)["observations"][0, :, 0].tolist()
    found = {x: first.count(x) / 4000 for x in set(first)}
    assert found == pytest.approx({0.0: 0.25, 6.0: 0.25, 9.0: 0.25, 12.0: 0.25}, abs=0.03)


def test_a_run_draws_the_same_alone_and_after_others_have_left() -> None:
    together, made = filled(2)
    together.draw(np.array([True] * 3), 5, 2)
    together.keep([0, 2])
    alone = ReplayBuffer([3], COPIES, PLACES * COPIES, GAMMA, 2, torch.zeros(1, dtype=torch.float64))
    alone.columns = {name: x.view(RUNS, -1, *x.shape[1:])[2].clone() for name, x in together.columns.items()}
    alone.made = together.made[[1]].copy()
    alone.draw(np.array([True]), 5, 2)
    ours, own = together.draw(np.array([True] * 2), 30, 2), alone.draw(np.array([True]), 30, 2)
    for name, values in own.items():
        assert torch.equal(values[0], ours[name][1]), name
    assert check(ours, made, [0, 2], 2)


def test_a_run_that_is_not_ready_has_empty_rows_and_draws_nothing() -> None:
    buffer, _ = filled(3)
    other, _ = filled(3)
    rows = buffer.draw(np.array([True, False, True]), 20, 1)
    assert not rows["mask"][1].any()
    assert (rows["rewards"][1] == 0).all()
    assert torch.isfinite(rows["observations"]).all()
    assert (rows["noise"][1] == 0).all()
    later = buffer.draw(np.array([False, True, False]), 20)
    first = other.draw(np.array([True] * 3), 20)
    assert torch.equal(later["observations"][1], first["observations"][1])
    batch = replayed(rows, torch.arange(3), torch.zeros(3, dtype=torch.float64))
    assert batch.counts()["row"].tolist() == [20, 0, 20]
    assert [len(part) for part in batch.split(8)] == [8, 8, 4]
    parts = list(batch.split(8))
    assert torch.equal(torch.cat([part.rewards for part in parts], 1), batch.rewards)
    assert all(torch.equal(part.runs, batch.runs) for part in parts)


def test_noise_is_standard_normal() -> None:
    buffer, _ = filled(1)
    noise = buffer.draw(np.array([True] * 3), 2000, 2)["noise"]
    assert noise.shape == (3, 2000, 2, 2)
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.var().item() == pytest.approx(1, abs=0.03)


def test_pictures_stay_bytes_and_what_no_memory_holds_is_said() -> None:
    buffer = ReplayBuffer([1], 1, 4, GAMMA, 1, torch.zeros(1))
    columns = rollout(np.random.default_rng(0), [[[], []]], [0], 1)
    columns = {name: x[:, :, :1] for name, x in columns.items()} | {"real": np.array([[[True]]])}
    columns |= {name: np.full((1, 1, 1, 3), 7, np.uint8) for name in ("observations", "reached")}
    buffer.add(columns)
    drawn = buffer.draw(np.array([True]), 2)
    assert drawn["observations"].dtype == torch.uint8
    assert drawn["rewards"].dtype == torch.float32
    with pytest.raises(UserError, match=r"GiB, which this machine does not have: lower buffer_size"):
        ReplayBuffer([1], 1, 10**15, GAMMA, 1, torch.zeros(1)).add(columns)
