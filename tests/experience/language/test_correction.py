"""Weights and metrics of a sampler that is not the policy, by hand."""

import math

import pytest
import torch

from burnish.experience.language.completions import Completions
from burnish.experience.language.correction import Corrected, mismatch, weights
from burnish.experience.language.group_completions import GroupCompletions
from burnish.experience.language.taught import TaughtCompletions

MASK = torch.tensor([[False, True, True], [False, True, False]])
OLD = torch.tensor([[math.nan, math.log(0.5), math.log(0.6)], [0.0, math.log(0.1), math.nan]], dtype=torch.float64)
SAMPLER = torch.tensor([[0.0, math.log(0.1), math.log(0.6)], [math.nan, math.log(0.4), 0.0]], dtype=torch.float64)
"""Ratios 5 and 1 in one completion, ¼ in the other."""


def knobs(**options: object) -> GroupCompletions:
    return GroupCompletions(reward="a test", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sampler_correction": "truncate"}, [2.0, 1.0, 0.25]),
        ({"sampler_correction": "truncate", "correction_low": 0.5, "correction_high": 3.0}, [3.0, 1.0, 0.5]),
        ({"sampler_correction": "truncate", "correction_level": "sequence"}, [2.0, 2.0, 0.25]),
        ({"sampler_correction": "mask", "correction_low": 0.5}, [0.0, 1.0, 0.0]),
        (
            {"sampler_correction": "mask", "correction_level": "sequence_mean", "correction_high": 3.0},
            [5**0.5, 5**0.5, 0.25],
        ),
    ],
)
def test_weights_by_hand(options: dict, expected: list[float]) -> None:
    found = weights(knobs(**options), OLD, SAMPLER, MASK)
    torch.testing.assert_close(found[MASK], torch.tensor(expected, dtype=torch.float64))


def test_mismatch_by_hand() -> None:
    """k3 of μ against π: ρ − 1 − log ρ. Completions weigh 5 and ¼: (5¼)²/(2·25.0625)."""
    found = mismatch(knobs(), OLD, SAMPLER, MASK)
    assert found == {
        "sampler/kl": pytest.approx((4 - math.log(5) - 0.75 + math.log(4)) / 3),
        "sampler/ratio_max": pytest.approx(5),
        "sampler/effective_sample_size": pytest.approx(5.25**2 / (2 * 25.0625)),
    }
    masked = mismatch(knobs(sampler_correction="mask", correction_low=0.5), OLD, SAMPLER, MASK)
    assert (masked["sampler/kept"], masked["sampler/limited"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    cut = mismatch(knobs(sampler_correction="truncate"), OLD, SAMPLER, MASK)
    assert (cut["sampler/kept"], cut["sampler/limited"]) == (1, pytest.approx(1 / 3))


def test_the_policy_itself_differs_in_nothing() -> None:
    found = mismatch(knobs(), SAMPLER, SAMPLER, MASK)
    assert found == {"sampler/kl": 0, "sampler/ratio_max": 1, "sampler/effective_sample_size": 1}


@pytest.mark.parametrize("level", ["token", "sequence", "sequence_mean"])
@pytest.mark.parametrize("kind", ["truncate", "mask"])
def test_weights_of_the_policy_itself_are_one(kind: str, level: str) -> None:
    found = weights(knobs(sampler_correction=kind, correction_level=level), SAMPLER, SAMPLER, MASK)
    assert (found[MASK] == 1).all()


@pytest.mark.parametrize("kind", [Completions, GroupCompletions, TaughtCompletions])
def test_the_options_are_the_same_wherever_they_are(kind: type[Corrected]) -> None:
    for key, value in (("correction_level", "sequence"), ("correction_low", 0.5), ("correction_high", 3.0)):
        with pytest.raises(ValueError, match=f"{key} only applies to a correction: set sampler_correction too"):
            kind(**{key: value})
        assert getattr(kind(sampler_correction="mask", **{key: value}), key) == value
    with pytest.raises(ValueError, match=r"correction_low must lie in \[0, 1\], not 1.5"):
        kind(sampler_correction="mask", correction_low=1.5)
    assert (kind().correcting, kind(sampler_correction="mask").correcting) == (False, True)
