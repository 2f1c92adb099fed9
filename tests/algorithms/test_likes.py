"""What other libraries compute, in numbers of their own formulas on one group."""

import math

import pytest
import torch

from burnish.algorithms.likes import LIKES, libraries
from burnish.algorithms.table import LANGUAGE, load
from burnish.config import option_types
from burnish.config.parse import option_names

SCORES = torch.tensor([[1.0, 2.0, 6.0]], dtype=torch.float64)


def test_every_option_is_one_of_the_methods_own() -> None:
    for methods in LIKES.values():
        for method, like in methods.items():
            known = set().union(*map(option_names, option_types(load(method))))
            assert like.options.keys() | like.inexact.keys() <= known, method


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ("trl", [(x - 3) / (math.sqrt(7) + 1e-4) for x in (1, 2, 6)]),
        ("verl", [(x - 3) / (math.sqrt(7) + 1e-6) for x in (1, 2, 6)]),
        ("openrlhf", [(x - 3) / (math.sqrt(7) + 1e-9) for x in (1, 2, 6)]),
        ("nemo", [-3 / (math.sqrt(8) + 1e-6), -1.5 / (math.sqrt(12.5) + 1e-6), 4.5 / (math.sqrt(0.5) + 1e-6)]),
        ("prime-rl", [-2.0, -1.0, 3.0]),
    ],
)
def test_advantages_of_grpo_by_hand(library: str, expected: list[float]) -> None:
    """Of scores 1, 2 and 6; the deviations of two others are their difference / √2."""
    options = {key: value for key, value in LIKES[library]["grpo"].options.items() if key != "completions_per_prompt"}
    found = load("grpo")(**options).baseline(SCORES)[0].tolist()
    assert found == pytest.approx(expected, rel=1e-12)


def test_gspo_is_grpo_with_the_mean_over_completions() -> None:
    """In the libraries it is a switch of the same trainer, whose other defaults stay."""
    for library in libraries("gspo"):
        grpo, gspo = (LIKES[library][name].options for name in ("grpo", "gspo"))
        beside = {"completions_per_prompt", "dual_clip"}
        assert gspo == {key: value for key, value in grpo.items() if key not in beside} | {"over": "sequence"}


def test_libraries_of_a_method() -> None:
    assert libraries("rloo") == ["trl", "verl"]
    assert libraries("gspo") == ["trl", "verl", "openrlhf", "nemo"]
    assert [name for name in LANGUAGE if libraries(name)] == ["grpo", "rloo", "gspo", "cispo", "reinforce_plus_plus"]
