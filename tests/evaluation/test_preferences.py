"""Implicit-reward margins on comparisons, against the oracle."""

import numpy as np
import pytest
import tiny
import torch

from burnish.evaluation.preferences import accuracy_scores, implicit_margins, log_margins


def test_margins_are_the_oracles_in_order() -> None:
    policy, reference = tiny.make_policy("gpt2", resid_pdrop=0.5), tiny.make_policy("gpt2", seed=1)
    policy.dropout(True)
    pairs = tiny.random_pairs(7, seed=2)
    batch = tiny.preferences(pairs)
    margins = implicit_margins(policy, reference, [batch.select(slice(0, 3)), batch.select(slice(3, 7))], beta=0.3)
    expected = []
    for pair in pairs:
        with torch.no_grad():
            ratios = [
                sum(tiny.naive_logprobs(policy.model, *row)) - sum(tiny.naive_logprobs(reference.model, *row))
                for row in pair
            ]
        expected.append(0.3 * (ratios[0] - ratios[1]).item())
    assert margins == pytest.approx(expected, abs=1e-9)
    assert np.abs(margins).min() > 1e-3


def test_a_policy_that_is_its_reference_prefers_nothing() -> None:
    policy, batch = tiny.make_policy("llama"), tiny.preferences(tiny.random_pairs(3))
    assert implicit_margins(policy, policy, [batch], beta=1.0).tolist() == [0.0] * 3


def test_ties_are_half_right() -> None:
    assert accuracy_scores(np.array([2.0, -1e-9, 0.0, 1e-9])).tolist() == [1.0, 0.0, 0.5, 1.0]


def test_log_margins_are_the_oracles_in_order() -> None:
    policy, pairs = tiny.make_policy("gpt2", resid_pdrop=0.5), tiny.random_pairs(5, seed=2)
    policy.dropout(True)
    batch = tiny.preferences(pairs)
    found = log_margins(policy, [batch.select(slice(0, 2)), batch.select(slice(2, 5))])
    with torch.no_grad():
        sums = [[sum(tiny.naive_logprobs(policy.model, *row)).item() for row in pair] for pair in pairs]
    assert found == pytest.approx([chosen - rejected for chosen, rejected in sums], abs=1e-9)
