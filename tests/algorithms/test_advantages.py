"""What all updates take for given: by hand, per run, and without anything that lies at masked places."""

import dataclasses

import pytest
import torch

from burnish.algorithms.advantages import prepared, real
from burnish.batches import Episodes

from .written import JUNK, MASK, OLD_LOGPROBS, OLD_VALUES, f64, two_rows

ADVANTAGES = f64([[0, 1, 1], [0, -1, 0]])


def test_returns_are_advantages_over_the_values_as_they_were() -> None:
    batch = prepared(two_rows(), ADVANTAGES, OLD_VALUES)
    assert torch.equal(batch.advantages, ADVANTAGES)  # type: ignore[arg-type]
    assert torch.equal(batch.old_values, OLD_VALUES[:, :-1])  # type: ignore[arg-type]
    assert torch.equal(batch.returns, f64([[0, 1.5, 2], [0, 1, 0]]))  # type: ignore[arg-type]


def test_without_a_critic_there_are_advantages_alone() -> None:
    batch = prepared(two_rows(), ADVANTAGES)
    assert torch.equal(batch.advantages, ADVANTAGES)  # type: ignore[arg-type]
    assert batch.old_values is None
    assert batch.returns is None


def test_only_the_advantages_are_standardised() -> None:
    """1, 1 and −1 have mean ⅓ and variance 8/9; the returns are of what they were."""
    batch = prepared(two_rows(), ADVANTAGES, OLD_VALUES, standardised=True)
    torch.testing.assert_close(batch.advantages, f64([[0, 0.5**0.5, 0.5**0.5], [0, -(2**0.5), 0]]), rtol=1e-7, atol=0)
    assert torch.equal(batch.returns, f64([[0, 1.5, 2], [0, 1, 0]]))  # type: ignore[arg-type]


@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places_comes_out_as_0(junk: float) -> None:
    batch = dataclasses.replace(two_rows(), old_logprobs=torch.where(MASK, OLD_LOGPROBS, junk))
    values = torch.where(torch.nn.functional.pad(MASK, (0, 1)), OLD_VALUES, junk)
    found = prepared(batch, ADVANTAGES, values, standardised=True)
    for x in (found.old_logprobs, found.old_values, found.advantages, found.returns):
        assert (x[~MASK] == 0).all()  # type: ignore[index]
    assert torch.equal(found.old_logprobs[MASK], OLD_LOGPROBS[MASK])


def test_each_run_is_standardised_over_its_own_steps() -> None:
    """Two runs of one row: advantages 0 and 2 are −1 and 1, whatever the other run's are; equal ones are 0."""
    ones = torch.ones(2, 1, 2, dtype=torch.float64)
    batch = Episodes(None, ones > 0, torch.full((2, 1), 2), torch.arange(1), ones, ones, ones)
    found = prepared(batch, f64([[[0, 2]], [[700, 700]]]), standardised=True).advantages
    torch.testing.assert_close(found, f64([[[-1, 1]], [[0, 0]]]))


def test_real_selects_and_never_multiplies() -> None:
    assert real(f64([1, torch.nan, torch.inf]), torch.tensor([True, False, False])).tolist() == [1, 0, 0]
