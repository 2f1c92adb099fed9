"""Q-learning's steps: by hand, and to the values of the best policy as value iteration has them."""

import numpy as np
import pytest
import torch

from burnish.algorithms.q_learning import QLearning
from burnish.batches import Replayed
from burnish.policies.control.values import TablePolicy
from burnish.policies.interface import Models
from burnish.training.control.tabular import TableSteps, TabularLearner
from burnish.training.resume import State

GAMMA = 0.8


def step(
    states: list[int], actions: list[int], rewards: list[float], reached: list[int], ends: list[bool], worlds: int
) -> Replayed:
    """One step of each run."""
    one_hot, runs = torch.eye(worlds, dtype=torch.float64), len(states)
    return Replayed(
        observations=one_hot[states][:, None],
        actions=torch.tensor(actions)[:, None],
        rewards=torch.tensor(rewards, dtype=torch.float64)[:, None, None],
        discounts=torch.tensor([0.0 if end else GAMMA for end in ends], dtype=torch.float64)[:, None, None],
        mask=torch.ones(runs, 1, 1, dtype=torch.bool),
        reached=one_hot[reached][:, None],
        lengths=torch.ones(runs, 1, dtype=torch.int64),
        rows=torch.arange(1),
        runs=torch.arange(runs),
        progress=torch.full((runs,), 0.5, dtype=torch.float64),
    )


def learner_of(states: int, runs: int, **steps: object) -> TabularLearner:
    seeds = list(range(runs))
    models = Models(policy=TablePolicy(states, 2, seeds, dtype=torch.float64))
    return TabularLearner(QLearning(), models, TableSteps(**steps), seeds)  # type: ignore[arg-type]


def learn(learner: TabularLearner, batch: Replayed) -> None:
    for part in learner.minibatches(learner.prepare(batch, State()), State()):
        assert learner.update(part, State(), True) is not None


def table(learner: TabularLearner) -> list:
    return learner.models.policy.named()["table"].tolist()


def test_three_steps_of_two_runs_by_hand() -> None:
    """Rate ½. Run 0: 0 → 0 + ½·(2 + 0.8·0 − 0) = 1; again 1 + ½·(2 − 1) = 1.5; then from state 0 to it, cut:
    0 + ½·(1 + 0.8·1.5 − 0) = 1.1. Run 1 always ends with 4 in its first cell: 2, 3, 3.5."""
    learner = learner_of(2, 2, learning_rate=0.5)
    for _ in range(2):
        learn(learner, step([1, 0], [0, 0], [2.0, 4.0], [0, 1], [False, True], 2))
    learn(learner, step([0, 0], [1, 0], [1.0, 4.0], [1, 1], [False, True], 2))
    torch.testing.assert_close(
        learner.models.policy.named()["table"],
        torch.tensor([[[0, 1.1], [1.5, 0]], [[3.5, 0], [0, 0]]], dtype=torch.float64),
    )
    assert learner.updates == {0: 3, 1: 3}


def test_a_rate_falls_with_the_visits_of_its_cell_and_over_the_run() -> None:
    """Rates 1, ½, ⅓ are the mean of what was seen: 3, then (3 + 6) / 2, then (3 + 6 + 0) / 3. Another cell begins anew.
    A linear schedule at the middle of a run halves the rate."""
    learner = learner_of(2, 1, learning_rate=1.0, visit_decay=1.0)
    for reward, mean in ((3.0, 3.0), (6.0, 4.5), (0.0, 3.0)):
        learn(learner, step([0], [0], [reward], [1], [True], 2))
        assert table(learner)[0][0][0] == pytest.approx(mean)
    learn(learner, step([1], [1], [5.0], [1], [True], 2))
    assert table(learner)[0][1][1] == 5.0
    halved = learner_of(2, 1, learning_rate=1.0, schedule="linear")
    learn(halved, step([1], [1], [5.0], [1], [True], 2))
    assert table(halved)[0][1][1] == 2.5


def test_what_is_saved_goes_on_where_it_was_and_runs_leave() -> None:
    first = step([0, 1, 0], [0, 1, 1], [3.0, 4.0, 5.0], [1, 0, 1], [True] * 3, 2)
    second = step([0, 1, 0], [0, 1, 1], [1.0, 1.0, 1.0], [1, 0, 1], [True] * 3, 2)
    learner = learner_of(2, 3, learning_rate=1.0, visit_decay=1.0)
    learn(learner, first)
    saved = [learner.named(run) for run in range(3)]
    other = learner_of(2, 3, learning_rate=1.0, visit_decay=1.0)
    other.models.policy.load_named(learner.models.policy.named())
    other.load_named(saved)
    learn(other, second)
    learner.models.policy.keep(torch.tensor([0, 2]))
    kept = step([0, 0], [0, 1], [1.0, 1.0], [1, 1], [True] * 2, 2)
    learn(learner, Replayed(**(vars(kept) | {"runs": torch.tensor([0, 2])})))
    assert [table(other)[run] for run in (0, 2)] == table(learner) == [[[2, 0], [0, 0]], [[0, 3], [0, 0]]]
    assert learner.updates == other.updates | {1: 1}
    assert learner.named(2)["visits"].tolist() == [0, 2, 0, 0]


# To the best policy's values ---------------------------------------------------------------------------------------


class Corridor:
    """Four places in a row, of which the last two are ends: 2 earns −1, 3 earns 2, and each step costs 0.1. Action 1
    goes right from place 0, and from place 1 to place 3; action 0 goes left (from 0 nowhere), and from place 1 to place
    2. With probability `slips` the other action happens."""

    def __init__(self, slips: float) -> None:
        self.slips = slips

    def outcomes(self, place: int, action: int) -> list[tuple[float, float, int, bool]]:
        """Probability, reward, place, and whether that is an end."""
        ways = {(0, 0): (0, -0.1), (0, 1): (1, -0.1), (1, 0): (2, -1.1), (1, 1): (3, 1.9)}
        each = [(1 - self.slips, ways[place, action]), (self.slips, ways[place, 1 - action])]
        return [(p, reward, to, to > 1) for p, (to, reward) in each if p > 0]

    def best(self) -> np.ndarray:
        """Q* of the places that are no ends, by value iteration."""
        q = np.zeros((4, 2))
        for _ in range(500):
            for place in (0, 1):
                for action in (0, 1):
                    found = self.outcomes(place, action)
                    q[place, action] = sum(p * (r + GAMMA * (0 if end else q[to].max())) for p, r, to, end in found)
        return q


@pytest.mark.parametrize(("slips", "steps", "tolerance"), [(0.0, 120, 1e-5), (0.25, 600, 0.1)])
def test_the_table_converges_to_that_of_value_iteration(slips: float, steps: int, tolerance: float) -> None:
    """Every action is tried in every place. In a deterministic world a rate of ½ halves every error again and again; in
    one of chance, rates 1/k^0.7 let it go to 0, on average over 100 runs."""
    world, rng = Corridor(slips), np.random.default_rng(7)
    runs = 1 if slips == 0 else 100
    learner = learner_of(4, runs, learning_rate=0.5 if slips == 0 else 1.0, visit_decay=0.0 if slips == 0 else 0.7)
    for t in range(steps):
        place, action = (t // 2) % 2, t % 2
        found = world.outcomes(place, action)
        chosen = [found[rng.choice(len(found), p=[one[0] for one in found])] for _ in range(runs)]
        rewards, reached, ends = [one[1] for one in chosen], [one[2] for one in chosen], [one[3] for one in chosen]
        learn(learner, step([place] * runs, [action] * runs, rewards, reached, ends, 4))
    learned = learner.models.policy.named()["table"].numpy()
    assert np.abs(learned.mean(0) - world.best()).max() < tolerance
    assert (learned.mean(0).argmax(-1)[:2] == world.best().argmax(-1)[:2]).all()
