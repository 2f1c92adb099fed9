import itertools

import torch

from burnish.policies.control.choices import Categoricals

SIZES = (2, 3, 4)
ACTIONS = torch.tensor(list(itertools.product(*map(range, SIZES))))


def some(seed: int) -> Categoricals:
    generator = torch.Generator().manual_seed(seed)
    return Categoricals(torch.randn(5, sum(SIZES), dtype=torch.float64, generator=generator), SIZES)


def joint(distribution: Categoricals) -> torch.Tensor:
    """The probability of each of the 24 actions, `[24, 5]`, by the product of softmaxes."""
    each = [part.softmax(-1) for part in distribution.logits.split(SIZES, -1)]
    return torch.stack([each[0][:, a] * each[1][:, b] * each[2][:, c] for a, b, c in ACTIONS.tolist()])


def test_probabilities_entropy_and_divergence_are_those_of_all_actions() -> None:
    one, two = some(0), some(1)
    p, q = joint(one), joint(two)
    torch.testing.assert_close(p.sum(0), torch.ones(5, dtype=torch.float64))
    logprobs = torch.stack([one.logprobs(action.expand(5, 3)) for action in ACTIONS])
    torch.testing.assert_close(logprobs, p.log())
    torch.testing.assert_close(one.entropy(), -(p * p.log()).sum(0))
    torch.testing.assert_close(one.kl(two), (p * (p / q).log()).sum(0))
    assert one.kl(one).abs().max() == 0


def test_the_fisher_matrix_is_the_mean_of_squared_scores() -> None:
    """F u = Σ_a π(a) ∇log π(a) ∇log π(a)ᵀ u over all 24 actions, the gradients by autograd."""
    one, change = some(2), torch.randn(5, sum(SIZES), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    logits, expected = one.logits.clone().requires_grad_(), torch.zeros_like(change)
    for action, probability in zip(ACTIONS, joint(one), strict=True):
        (score,) = torch.autograd.grad(Categoricals(logits, SIZES).logprobs(action.expand(5, 3)).sum(), logits)
        expected += probability[:, None] * score * (score * change).sum(-1, keepdim=True)
    torch.testing.assert_close(one.fisher(change), expected)


def test_the_likeliest_action_is_that_of_all() -> None:
    one = some(6)
    torch.testing.assert_close(one.mode(), ACTIONS[joint(one).argmax(0)])


def test_each_choice_is_drawn_with_its_own_noise() -> None:
    """A fine grid of noise draws each value as often as its probability says; the others' noise does not matter."""
    one = Categoricals(some(4).logits[0], SIZES)
    grid = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    for k, part in enumerate(one.logits.split(SIZES)):
        noise = torch.full((10_000, 3), 0.3, dtype=torch.float64)
        noise[:, k] = grid
        actions, logprobs = Categoricals(one.logits.expand(10_000, -1), SIZES).draw(noise)
        share = torch.bincount(actions[:, k], minlength=SIZES[k]) / 10_000
        torch.testing.assert_close(share.double(), part.softmax(-1), rtol=0, atol=2e-4)
        others = [i for i in range(3) if i != k]
        assert (actions[:, others] == actions[0, others]).all()
        torch.testing.assert_close(logprobs, Categoricals(one.logits.expand(10_000, -1), SIZES).logprobs(actions))
    assert not one.detach().logits.requires_grad
