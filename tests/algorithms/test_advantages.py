"""What all updates take for given: by hand, per run, and without anything that lies at masked places."""

import dataclasses

import pytest
import torch
from phases import acted, ready

from burnish.algorithms.actor_critic import ActorCritic
from burnish.algorithms.advantages import advantage_moments, corrected, prepared, real
from burnish.algorithms.interface import Algorithm
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reinforce import Reinforce
from burnish.algorithms.reinforce_baseline import ReinforceBaseline
from burnish.algorithms.trpo import TRPO
from burnish.training import step

from .written import JUNK, MASK, OLD_LOGPROBS, OLD_VALUES, before, f64, models_of, two_rows

ADVANTAGES = f64([[0, 1, 1], [0, -1, 0]])
STATISTICS = advantage_moments(ADVANTAGES, MASK, True)


def test_returns_are_advantages_over_the_values_as_they_were() -> None:
    batch = prepared(two_rows(), ADVANTAGES, {}, OLD_VALUES)
    assert torch.equal(batch.advantages, ADVANTAGES)  # type: ignore[arg-type]
    assert torch.equal(batch.old_values, OLD_VALUES[:, :-1])  # type: ignore[arg-type]
    assert torch.equal(batch.returns, f64([[0, 1.5, 2], [0, 1, 0]]))  # type: ignore[arg-type]


def test_weights_multiply_losses_where_there_are_any() -> None:
    """2·1 and 3·1 in the first row, 4·(−1) in the second; masked places hold anything."""
    weights = f64([[float("nan"), 2, 3], [1e30, 4, float("nan")]])
    batch = dataclasses.replace(two_rows(), weights=weights)
    assert torch.equal(corrected(ADVANTAGES, batch, MASK), f64([[0, 2, 3], [0, -4, 0]]))
    assert corrected(ADVANTAGES, two_rows(), MASK) is ADVANTAGES


def test_without_a_critic_there_are_advantages_alone() -> None:
    batch = prepared(two_rows(), ADVANTAGES, {})
    assert torch.equal(batch.advantages, ADVANTAGES)  # type: ignore[arg-type]
    assert batch.old_values is None
    assert batch.returns is None


def test_only_the_advantages_are_standardised() -> None:
    """1, 1 and −1 have mean ⅓ and variance 8/9; the returns are of what they were."""
    batch = prepared(two_rows(), ADVANTAGES, STATISTICS, OLD_VALUES)
    torch.testing.assert_close(batch.advantages, f64([[0, 0.5**0.5, 0.5**0.5], [0, -(2**0.5), 0]]), rtol=1e-7, atol=0)
    assert torch.equal(batch.returns, f64([[0, 1.5, 2], [0, 1, 0]]))  # type: ignore[arg-type]


@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places_comes_out_as_0(junk: float) -> None:
    batch = dataclasses.replace(two_rows(), old_logprobs=torch.where(MASK, OLD_LOGPROBS, junk))
    values = torch.where(torch.nn.functional.pad(MASK, (0, 1)), OLD_VALUES, junk)
    found = prepared(batch, ADVANTAGES, STATISTICS, values)
    for x in (found.batch.old_logprobs, found.old_values, found.advantages, found.returns):
        assert (x[~MASK] == 0).all()  # type: ignore[index]
    assert torch.equal(found.batch.old_logprobs[MASK], OLD_LOGPROBS[MASK])


def test_each_run_is_standardised_over_its_own_steps() -> None:
    """Two runs of one row: advantages 0 and 2 are −1 and 1, whatever the other run's are; equal ones are 0."""
    ones = torch.ones(2, 1, 2, dtype=torch.float64)
    mask, advantages = ones > 0, f64([[[0, 2]], [[700, 700]]])
    steps = {"mask": mask, "lengths": torch.full((2, 1), 2), "rows": torch.arange(1)}
    numbers = {"old_logprobs": ones, "rewards": ones, "discounts": ones}
    batch = acted(ones[..., None], ones.long(), torch.arange(2), **steps, **numbers)
    found = prepared(batch, advantages, advantage_moments(advantages, mask, True)).advantages
    torch.testing.assert_close(found, f64([[[-1, 1]], [[0, 0]]]))


def test_real_selects_and_never_multiplies() -> None:
    assert real(f64([1, torch.nan, torch.inf]), torch.tensor([True, False, False])).tolist() == [1, 0, 0]


def test_parts_are_standardised_over_all_of_them() -> None:
    """The moments of rows taken one by one add up: 1, 1 and −1, as in the whole."""
    parts = [advantage_moments(ADVANTAGES[i : i + 1], MASK[i : i + 1], True)["advantages"] for i in range(2)]
    total = {"advantages": parts[0] + parts[1]}
    found = [prepared(two_rows().select(slice(i, i + 1)), ADVANTAGES[i : i + 1], total).advantages for i in range(2)]
    expected = f64([[0, 0.5**0.5, 0.5**0.5], [0, -(2**0.5), 0]])
    torch.testing.assert_close(torch.cat(found), expected, rtol=1e-7, atol=1e-12)


EXPECTED = {
    Reinforce(standardise_advantages=True): f64([[0, 1, 1], [0, -2, 0]]) / 2**0.5,
    ReinforceBaseline(standardise_advantages=True): f64([[0, 1, 0.5], [0, -1.5, 0]]) / (7 / 6) ** 0.5,
    ActorCritic(lambda_=0.5, standardise_advantages=True): f64([[0, 1, 1], [0, -2, 0]]) / 2**0.5,
    PPO(lambda_=0.5): f64([[0, 1, 1], [0, -2, 0]]) / 2**0.5,
    TRPO(lambda_=0.5): f64([[0, 1, 1], [0, -2, 0]]) / 2**0.5,
}
"""Returns 2, 2 and 1; returns over values 1.5, 1 and −1; GAE 1, 1 and −1: each standardised over all three steps."""


@pytest.mark.parametrize("algorithm", EXPECTED, ids=lambda algorithm: algorithm.name)
def test_two_parts_are_prepared_as_the_whole_is(algorithm: Algorithm) -> None:
    """A row apiece: by itself the second, of one step, would come out as 0."""
    models, whole = models_of(before()), two_rows()
    parts = [whole.select(slice(0, 1)), whole.select(slice(1, 2))]
    found = torch.cat([part.advantages for part in step.prepared(algorithm, models, parts, {})])
    torch.testing.assert_close(found, EXPECTED[algorithm], rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(ready(algorithm, models, whole).advantages, found, rtol=1e-12, atol=1e-12)
    assert (ready(algorithm, models, parts[1]).advantages == 0).all()


@pytest.mark.parametrize("algorithm", EXPECTED, ids=lambda algorithm: algorithm.name)
def test_without_standardisation_parts_need_nothing_of_each_other(algorithm: Algorithm) -> None:
    plain = dataclasses.replace(algorithm, standardise_advantages=False)  # type: ignore[type-var]
    assert plain.statistics(models_of(before()), two_rows()) == {}
    assert advantage_moments(ADVANTAGES, MASK, False) == {}
    assert algorithm.statistics(models_of(before()), two_rows()).keys() == {"advantages"}
