"""SFT: the mean negative log-likelihood of the responses, by hand and by loops."""

import pytest
import tiny
import torch
from phases import ready

from burnish.algorithms.sft import SFT
from burnish.policies.interface import Models
from burnish.training.step import gradient, objective


def test_the_loss_by_hand() -> None:
    """Two texts, −1 −3 and −2, the rest masked. Over tokens 6/3 = 2; over texts (2 + 2)/2 = 2 too, so the second is
    made −5: tokens 9/3 = 3, texts (2 + 5)/2 = 3.5. Each token's gradient is −1/3; over texts −1/4, −1/4, −1/2."""
    batch = tiny.demonstrations([([0, 4, 5, 6], [False, True, True, False]), ([0, 4], [False, True])])
    for over, expected, slope in (("token", 3.0, (-1 / 3, -1 / 3, -1 / 3)), ("sequence", 3.5, (-0.25, -0.25, -0.5))):
        values = torch.tensor([[9.0, -1.0, -3.0, 9.0], [9.0, -5.0, torch.nan, 9.0]], requires_grad=True)
        algorithm = SFT(over=over)
        loss = algorithm.loss(
            Models(policy=tiny.Table(values)), ready(algorithm, Models(policy=tiny.Table(values)), batch)
        )
        value = objective(loss, batch.counts())
        assert value.item() == pytest.approx(expected)
        value.backward()
        expected_gradient = [[0, slope[0], slope[1], 0], [0, slope[2], 0, 0]]
        torch.testing.assert_close(values.grad, torch.tensor(expected_gradient))


@pytest.mark.parametrize("over", ["token", "sequence"])
def test_loss_and_gradient_are_the_loops(over: str) -> None:
    policy = tiny.make_policy("gpt2")
    rows = tiny.random_rows(6, seed=8)
    found = gradient(SFT(over=over), Models(policy=policy), tiny.demonstrations(rows))
    ours = {name: p.grad.clone() for name, p in policy.parameters().items()}
    policy.model.zero_grad()
    total, count, texts = torch.zeros((), dtype=torch.float64), 0, []
    for ids, mask in rows:
        terms = [-v for v, m in zip(tiny.naive_logprobs(policy.model, ids, mask), mask, strict=True) if m]
        texts.append(sum(terms) / len(terms))
        total, count = total + sum(terms), count + len(terms)
    expected = total / count if over == "token" else sum(texts) / len(texts)
    expected.backward()
    assert found == {"loss": pytest.approx(expected.item(), abs=1e-9)}
    for name, p in policy.parameters().items():
        torch.testing.assert_close(ours[name], p.grad, rtol=1e-6, atol=1e-9)


def test_the_two_means_differ() -> None:
    policy, batch = tiny.make_policy("gpt2"), tiny.demonstrations(tiny.random_rows(6, seed=8))
    losses = [gradient(SFT(over=over), Models(policy=policy), batch)["loss"] for over in ("token", "sequence")]
    assert abs(losses[0] - losses[1]) > 1e-3
