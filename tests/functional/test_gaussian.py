"""Diagonal Gaussians: against loops over the density, and by numerical integration of the definitions."""

import math

import torch

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, numbers


def density(x: float, mean: float, std: float) -> float:
    return math.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


def integral(function, low: float = -40.0, high: float = 40.0, pieces: int = 80_000) -> float:
    """The trapezoidal rule, which is exact to rounding for smooth functions that vanish at both ends."""
    width = (high - low) / pieces
    return width * math.fsum(function(low + i * width) for i in range(pieces + 1))


def test_logprobs_against_loops() -> None:
    mean, log_std, actions = numbers(2, 4, 3), numbers(2, 4, 3, seed=1), numbers(2, 4, 3, seed=2)
    expected = torch.zeros(2, 4, dtype=torch.float64)
    for i in range(2):
        for j in range(4):
            for k in range(3):
                one = density(actions[i, j, k].item(), mean[i, j, k].item(), math.exp(log_std[i, j, k].item()))
                expected[i, j] += math.log(one)
    close(fn.gaussian_logprobs(mean, log_std, actions), expected)


def test_logprobs_by_hand() -> None:
    """At the mean of a unit Gaussian −½ log 2π; ½ less one σ away; log 2 less with twice the σ."""
    peak = -0.5 * math.log(2 * math.pi)
    close(fn.gaussian_logprobs(f64([3.0]), f64([0.0]), f64([3.0])), peak)
    close(fn.gaussian_logprobs(f64([3.0]), f64([0.0]), f64([4.0])), peak - 0.5)
    close(fn.gaussian_logprobs(f64([3.0, 1.0]), f64([math.log(2), 0.0]), f64([5.0, 1.0])), 2 * peak - 0.5 - math.log(2))


def test_one_log_std_for_all_observations() -> None:
    """log_std broadcasts over observations: shapes [5, 2], [2] and [5, 2] → [5]."""
    mean, log_std, actions = numbers(5, 2), numbers(2, seed=1), numbers(5, 2, seed=2)
    close(
        fn.gaussian_logprobs(mean, log_std, actions), fn.gaussian_logprobs(mean, log_std.expand(5, 2).clone(), actions)
    )
    assert fn.gaussian_logprobs(mean, f64([0.0]), actions).shape == (5,)
    close(fn.gaussian_logprobs(mean, f64([0.3]), actions), fn.gaussian_logprobs(mean, f64([0.3, 0.3]), actions))


def test_entropy_is_the_integral_of_its_definition() -> None:
    for std in (0.5, 1.3):

        def term(x: float, std: float = std) -> float:
            p = density(x, 0.7, std)
            return -p * math.log(p) if p > 0 else 0.0

        close(fn.gaussian_entropy(f64([math.log(std)])), integral(term), tolerance=1e-9)
    close(fn.gaussian_entropy(f64([[0.0, math.log(3)]])), [1 + math.log(2 * math.pi) + math.log(3)])


def test_kl_is_the_integral_of_its_definition() -> None:
    """All parameters differ, so that swapping p and q would change the result."""

    def term(x: float) -> float:
        p, q = density(x, 0.5, 0.8), density(x, -0.4, 1.7)
        return p * math.log(p / q) if p > 0 and q > 0 else 0.0

    result = fn.gaussian_kl(f64([0.5]), f64([math.log(0.8)]), f64([-0.4]), f64([math.log(1.7)]))
    close(result, integral(term), tolerance=1e-9)


def test_kl_sums_over_actions_and_vanishes_only_at_equality() -> None:
    """Means one standard deviation of q apart cost ½ each; equal distributions exactly 0."""
    mean, log_std = numbers(4, 3), numbers(3, seed=1)
    assert (fn.gaussian_kl(mean, log_std, mean, log_std) == 0).all()
    close(fn.gaussian_kl(mean + log_std.exp(), log_std, mean, log_std), [1.5] * 4)
    assert (fn.gaussian_kl(mean, log_std + 1e-4, mean, log_std) > 0).all()


def test_gradients_against_finite_differences() -> None:
    mean, log_std, actions = numbers(3, 2), numbers(2, seed=1), numbers(3, 2, seed=2)
    assert_gradients(fn.gaussian_logprobs, mean, log_std, actions)
    assert_gradients(fn.gaussian_entropy, log_std)
    assert_gradients(fn.gaussian_kl, mean, log_std, actions, numbers(2, seed=3))


# Squashed by tanh --------------------------------------------------------------------------------------------------


def test_a_squashed_density_by_hand() -> None:
    """At u = 0 the slope of tanh is 1, and the density that of the Gaussian. At u = ½ log 3, a = ½ and the slope is
    1 − ¼ = ¾; two numbers multiply."""
    peak = -0.5 * math.log(2 * math.pi)
    close(fn.squashed_gaussian_logprobs(f64([0.0]), f64([0.0]), f64([0.0])), peak)
    u = 0.5 * math.log(3)
    one = peak - u**2 / 2 - math.log(0.75)
    close(fn.squashed_gaussian_logprobs(f64([0.0]), f64([0.0]), f64([u])), one)
    close(fn.squashed_gaussian_logprobs(f64([0.0, 0.0]), f64([0.0, 0.0]), f64([u, 0.0])), one + peak)


def test_a_squashed_density_integrates_to_1() -> None:
    """Over a in (−1, 1), a substituted by tanh u: da = (1 − tanh² u) du, so that the ends are not cut off."""
    for mean, std in ((0.0, 1.0), (1.5, 0.4), (-0.7, 2.0)):
        u = torch.linspace(-25, 25, 20_001, dtype=torch.float64)
        logprobs = fn.squashed_gaussian_logprobs(f64([mean]), f64([math.log(std)]), u[:, None])
        slopes = 1 / u.cosh().square()
        close(torch.trapezoid(logprobs.exp() * slopes, u), 1.0, tolerance=1e-9)
        a = torch.linspace(-1, 1, 200_003, dtype=torch.float64)[1:-1]  # and directly, where the density is bounded
        if std < 1:
            direct = fn.squashed_gaussian_logprobs(f64([mean]), f64([math.log(std)]), a.atanh()[:, None]).exp()
            close(torch.trapezoid(direct, a), 1.0, tolerance=1e-4)


def test_squashed_densities_are_torchs() -> None:
    mean, log_std, noise = numbers(50, 3), 0.3 * numbers(3, seed=1), numbers(50, 3, seed=2)
    actions, logprobs = fn.squashed_gaussian_sample(mean, log_std, noise)
    base = torch.distributions.Normal(mean, log_std.exp())
    other = torch.distributions.TransformedDistribution(base, torch.distributions.TanhTransform(cache_size=1))
    close(logprobs, other.log_prob(actions).sum(-1), tolerance=1e-7)
    close(actions, (mean + log_std.exp() * noise).tanh())
    assert_gradients(fn.squashed_gaussian_logprobs, mean[:3], log_std, noise[:3])
    for part in (0, 1):
        assert_gradients(lambda *x, part=part: fn.squashed_gaussian_sample(*x)[part], mean[:3], log_std, noise[:3])


def test_a_squashed_density_is_finite_where_tanh_has_rounded_to_1() -> None:
    """u = 30: tanh u is 1 in float32. log(1 − tanh² u) = −2·30 + 2 log 2 + log(1 + e⁻⁶⁰)·(−2), within 1e-25."""
    u = torch.tensor([30.0], requires_grad=True)
    zero = torch.zeros(1)
    logprob = fn.squashed_gaussian_logprobs(u, zero, u)
    assert u.tanh().item() == 1
    expected = -0.5 * math.log(2 * math.pi) + 60 - 2 * math.log(2)
    torch.testing.assert_close(logprob.item(), expected, rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(logprob, u)
    assert slope.item() == 2.0
    low = fn.squashed_gaussian_logprobs(-u, zero, -u)
    torch.testing.assert_close(low.item(), expected, rtol=1e-6, atol=0)
