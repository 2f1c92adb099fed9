"""Stochastic rounding, against the two neighbours written out."""

import pytest
import torch

from burnish.functional.rounding import as_saved, round_stochastically

# Around 1 the numbers of bfloat16 are 1 − 1/256, 1, 1 + 1/128; of float16 1 − 1/2048, 1, 1 + 1/1024.
NEIGHBOURS = {
    (torch.bfloat16, 1 + 0.25 / 128): (1.0, 1 + 1 / 128, 0.25),
    (torch.bfloat16, 1 + 0.75 / 128): (1.0, 1 + 1 / 128, 0.75),
    (torch.bfloat16, 1 - 0.25 / 256): (1 - 1 / 256, 1.0, 0.75),
    (torch.bfloat16, -1 - 0.25 / 128): (-1 - 1 / 128, -1.0, 0.75),
    (torch.float16, 1 + 0.1 / 1024): (1.0, 1 + 1 / 1024, 0.1),
}


@pytest.mark.parametrize(("dtype", "x"), NEIGHBOURS)
def test_the_two_neighbours_are_drawn_with_their_probabilities(dtype: torch.dtype, x: float) -> None:
    """The share of the upper one among 20,000 lies within five standard deviations, at most .018."""
    lower, upper, share = NEIGHBOURS[dtype, x]
    found = round_stochastically(torch.full((100, 200), x), dtype, "a")
    assert found.dtype == dtype
    assert set(found.flatten().tolist()) == {lower, upper}
    assert (found == upper).float().mean().item() == pytest.approx(share, abs=0.018)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_number_of_the_dtype_stays(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, -0.0, 1.0, -2.5, 2.0**-14, torch.inf, -torch.inf, torch.nan])
    found = round_stochastically(x, dtype, "a").float()
    assert torch.equal(found.nan_to_num(7), x.nan_to_num(7))


def test_small_updates_are_kept_in_sum() -> None:
    """A step of the grid at 1 is 1/128. To the nearest, 10,000 updates of a twentieth of it would all be lost.

    Their sum is 3.91, with a standard deviation of √(10,000 · .05 · .95) / 128 = .17.
    """
    x = torch.ones(10_000) + 0.05 / 128
    assert (x.bfloat16() == 1).all()
    assert (round_stochastically(x, torch.bfloat16, "b").float() - 1).sum().item() == pytest.approx(3.91, abs=0.7)


def test_the_key_makes_the_random_numbers_and_no_others_are_drawn() -> None:
    x, state = torch.linspace(1, 2, 999), torch.random.get_rng_state()
    one, same, other = (round_stochastically(x, torch.bfloat16, key) for key in ("a", "a", "b"))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_is_saved_is_drawn_only_where_it_came_from_files_of_that_dtype_and_has_more_bits() -> None:
    x = torch.linspace(1, 2, 999)
    drawn, nearest = round_stochastically(x, torch.bfloat16, "a"), x.bfloat16()
    assert not torch.equal(drawn, nearest)
    assert torch.equal(as_saved(x, torch.bfloat16, torch.bfloat16, "a"), drawn)
    for files in (None, torch.float16, torch.float32):
        assert torch.equal(as_saved(x, torch.bfloat16, files, "a"), nearest)
    assert torch.equal(as_saved(x, torch.float32, torch.float32, "a"), x)
    assert as_saved(nearest, torch.bfloat16, torch.bfloat16, "a") is nearest
