"""Means over trainings by hand, and not over those that ended early."""

from dataclasses import dataclass

from burnish.recipes.study.costs import average, costs_of


@dataclass(frozen=True)
class Cell:
    seed: int | None = None
    method: str | None = None
    value: int = 0

    @property
    def name(self) -> str:
        return f"{self.seed}/{self.method}"

    label = name


def test_costs_are_means_of_a_methods_cells() -> None:
    found = {
        Cell(): {"seconds": 7.0, "wall": 8.0, "sampled": 9},
        Cell(0): {"seconds": 1.0, "wall": 2.0},
        Cell(0, "ppo"): {"seconds": 10.0, "wall": 20.0, "sampled": 30, "learned": 40, "diverged": None},
        Cell(0, "ppo", 1): {"seconds": 12.0, "wall": 26.0, "sampled": 30, "learned": 50, "diverged": None},
    }
    assert costs_of(found) == {
        "start": {"seconds": 7.0, "wall": 8.0, "sampled": 9.0, "learned": None, "runs": 1},
        "reward": {"seconds": 1.0, "wall": 2.0, "sampled": None, "learned": None, "runs": 1},
        "ppo": {"seconds": 11.0, "wall": 23.0, "sampled": 30.0, "learned": 45.0, "runs": 2},
    }


def test_a_training_that_diverged_is_in_no_mean() -> None:
    """It took less time because it ended."""
    whole, short = {"seconds": 10.0, "diverged": None}, {"seconds": 1.0, "diverged": 3}
    costs = costs_of({Cell(0, "ppo"): whole, Cell(1, "ppo"): short, Cell(0, "dpo"): short})
    assert (costs["ppo"]["seconds"], costs["ppo"]["runs"]) == (10.0, 1)
    assert "dpo" not in costs


def test_the_mean_of_what_is_not_known_is_not_known() -> None:
    assert average([1.0, 3.0]) == 2.0
    assert average([1.0, None]) is None
    assert average([]) is None
