"""TRPO's two objectives by hand: the surrogate is the policy's alone, the regression the critic's alone."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from phases import ready
from torch import Tensor

from burnish.algorithms.terms import Loss
from burnish.algorithms.trpo import TRPO
from burnish.batches import PreparedEpisodes
from burnish.policies.interface import Models

from .written import JUNK, OLD_LOGPROBS, OLD_VALUES, assert_same, before, beside_junk, f64, learned, models_of, two_rows

PLAIN = TRPO(lambda_=0.5, standardise_advantages=False)


class CriticOf(TRPO):
    """The critic's regression as an algorithm of its own."""

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        return self.critic_loss(models, batch)


def critic_of(algorithm: TRPO) -> TRPO:
    return CriticOf(**{field.name: getattr(algorithm, field.name) for field in dataclasses.fields(algorithm)})


def test_prepare_by_hand() -> None:
    """λ = ½: A = 1, 1 and −1 and R = A + V, as PPO's; by default standardised, with mean ⅓ and variance 8/9."""
    for algorithm, advantages in (
        (PLAIN, [[0, 1, 1], [0, -1, 0]]),
        (TRPO(lambda_=0.5), [[0, 0.5**0.5, 0.5**0.5], [0, -(2**0.5), 0]]),
    ):
        prepared = ready(algorithm, models_of(before()), two_rows())
        torch.testing.assert_close(prepared.advantages, f64(advantages), rtol=1e-7, atol=1e-12)
        torch.testing.assert_close(prepared.returns, f64([[0, 1.5, 2], [0, 1, 0]]))
        torch.testing.assert_close(prepared.old_values, OLD_VALUES[:, :-1])
        torch.testing.assert_close(prepared.batch.old_logprobs, OLD_LOGPROBS)
        assert not any(x.requires_grad for x in (prepared.advantages, prepared.returns, prepared.old_values))  # type: ignore[union-attr]


def test_surrogate_by_hand() -> None:
    """The ratios are 1.6, ½ and 1.5, and nothing clips them: −(1.6 + 0.5 − 1.5)/3. The critic has no part in it."""
    found, slopes = learned(PLAIN)
    assert found == pytest.approx({"loss": -0.2, "policy/entropy_avg": 0.6})
    torch.testing.assert_close(slopes["logprobs"], f64([[0, -1.6, -0.5], [0, 1.5, 0]]) / 3)
    for name in ("entropy", "values"):
        assert (slopes[name] == 0).all()


def test_regression_by_hand() -> None:
    """Values 0.9, 1.1, 2.5 of returns 1.5, 2, 1: half the squares of −0.6, −0.9 and 1.5 are 1.71. The policy has no
    part in it."""
    found, slopes = learned(critic_of(PLAIN))
    assert found == pytest.approx({"loss": 1.71 / 3})
    torch.testing.assert_close(slopes["values"], f64([[0, -0.6, -0.9, 0], [0, 1.5, 0, 0]]) / 3)
    for name in ("entropy", "logprobs"):
        assert (slopes[name] == 0).all()


def test_terms_have_the_names_they_have_elsewhere() -> None:
    batch = ready(PLAIN, models_of(before()), two_rows())
    assert list(PLAIN.loss(models_of(before()), batch).terms) == ["policy_avg"]
    assert list(PLAIN.critic_loss(models_of(before()), batch).terms) == ["value_avg"]


def both(algorithm: TRPO, how: Any, **options: Any) -> list[tuple[dict[str, float], dict[str, Tensor]]]:
    return [how(objective, **options) for objective in (algorithm, critic_of(algorithm))]


@pytest.mark.parametrize("algorithm", [PLAIN, TRPO()])
def test_cut_into_pieces(algorithm: TRPO) -> None:
    for parts, whole in zip(both(algorithm, learned, pieces=2), both(algorithm, learned), strict=True):
        assert_same(parts, whole)


@pytest.mark.parametrize("algorithm", [PLAIN, TRPO()])
@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places(algorithm: TRPO, junk: float) -> None:
    for dirty, clean in zip(both(algorithm, beside_junk, junk=junk), both(algorithm, learned), strict=True):
        assert_same(dirty, clean)


@pytest.mark.parametrize(
    "options",
    [
        {"max_kl": 0.0},
        {"max_kl": math.nan},
        {"lambda_": 1.1},
        {"cg_iterations": 0},
        {"damping": -0.1},
        {"shrink": 0.0},
        {"shrink": 1.0},
        {"search_steps": 0},
        {"update_epochs": 0},
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TRPO(**options)


def test_the_region_is_what_the_step_searches_by() -> None:
    found = TRPO(max_kl=0.2, cg_iterations=3, damping=0.5, shrink=0.7, search_steps=4).region()
    assert (found.max_kl, found.iterations, found.damping, found.shrink, found.tries) == (0.2, 3, 0.5, 0.7, 4)
