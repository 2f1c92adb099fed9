"""The solvers of the trust-region step: against direct solutions, with independent problems, and after convergence."""

import math

import pytest
import torch
from torch import Tensor

import burnish.functional as fn

from .helpers import close, f64, numbers


def spd(*lead: int, size: int, seed: int = 0) -> Tensor:
    root = numbers(*lead, size, size, seed=seed)
    return root @ root.mT + 0.5 * torch.eye(size, dtype=torch.float64)


def times(matrix: Tensor):
    return lambda v: (matrix @ v[..., None]).squeeze(-1)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize("damping", [0, 0.1, 2.0])
def test_solves_as_a_direct_solver_does(lead: tuple[int, ...], damping: float) -> None:
    """In exact arithmetic n iterations are enough; rounding needs a few more."""
    matrix, target = spd(*lead, size=6), numbers(*lead, 6, seed=1)
    result = fn.conjugate_gradient(times(matrix), target, iterations=30, damping=damping)
    damped = matrix + damping * torch.eye(6, dtype=torch.float64)
    close(result, torch.linalg.solve(damped, target[..., None]).squeeze(-1), tolerance=1e-9)


def test_one_iteration_by_hand() -> None:
    """F = diag(1, 3), no damping, target (1, 1): the first step is (b·b / b·Fb) b = (2/4) b; the second solves it."""
    product = times(torch.diag(f64([1.0, 3.0])))
    close(fn.conjugate_gradient(product, f64([1.0, 1.0]), 1, 0.0), [0.5, 0.5])
    close(fn.conjugate_gradient(product, f64([1.0, 1.0]), 2, 0.0), [1.0, 1 / 3])
    close(fn.conjugate_gradient(product, f64([1.0, 1.0]), 0, 0.0), [0.0, 0.0])


def test_defaults() -> None:
    """damping = 0.1 and 10 iterations: with F = I every problem is solved in one, x = b/1.1."""
    close(fn.conjugate_gradient(lambda v: v, f64([2.2, -1.1])), [2.0, -1.0])
    calls = []
    fn.conjugate_gradient(lambda v: calls.append(v) or times(spd(size=30))(v), numbers(30))
    assert len(calls) == 10


def test_problems_are_independent() -> None:
    """One converges at once, one slowly, one has target 0: each result is bit-identical to that of solving it alone."""
    diagonals = torch.stack([torch.ones(8), torch.logspace(-2, 2, 8), torch.ones(8)]).double()
    target = numbers(3, 8)
    target[2] = 0.0
    together = fn.conjugate_gradient(lambda v: diagonals * v, target, 9)
    for run in range(3):
        alone = fn.conjugate_gradient(lambda v, run=run: diagonals[run] * v, target[run], 9)
        assert torch.equal(together[run], alone)
    assert (together[2] == 0).all()


def test_a_solved_problem_stays_solved() -> None:
    """After convergence, also with a residual of exactly 0, nothing changes and nothing divides by 0."""
    matrix, target = spd(size=5), numbers(5)
    exact = torch.linalg.solve(matrix, target)
    close(fn.conjugate_gradient(times(matrix), target, 500, 0.0), exact, tolerance=1e-9)
    assert fn.conjugate_gradient(lambda v: v, f64([3.0, 4.0]), 50, 1.0).tolist() == [1.5, 2.0]


def test_solved_problems_need_no_more_products() -> None:
    """Five unknowns are solved to rounding in a few more than five products, not in the 500 allowed."""
    calls = []
    product = times(spd(size=5))
    fn.conjugate_gradient(lambda v: calls.append(v) or product(v), numbers(5), 500, 0.1)
    assert 5 <= len(calls) <= 10


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_tiny_and_huge_targets_in_float32(size: float) -> None:
    """Their squares overflow or underflow in float32; the solution must still be linear in the target."""
    target = torch.tensor([3.0, 4.0]) * size
    close(fn.conjugate_gradient(lambda v: v, target, damping=1.0) / size, torch.tensor([1.5, 2.0]), tolerance=1e-6)


def test_nonpositive_curvature_stops_a_problem() -> None:
    """F = diag(−1, −1) has no minimum; the other problem has one."""
    curvature = f64([[-1.0, -1.0], [1.0, 1.0]])
    close(fn.conjugate_gradient(lambda v: curvature * v, f64([[1.0, 2.0], [1.0, 2.0]]), damping=0), [[0, 0], [1, 2]])


def test_nonfinite_input_gives_nan_in_its_own_problem_only() -> None:
    target = f64([[float("nan"), 1.0], [1.0, 2.0], [1.0, 2.0]])

    def product(v: Tensor) -> Tensor:
        return torch.stack([v[0], v[1], v[2] * float("nan")])

    result = fn.conjugate_gradient(product, target, damping=1)
    assert result[0].isnan().all()
    close(result[1], [0.5, 1.0])
    assert result[2].isnan().all()


def test_solution_carries_no_gradient() -> None:
    weight = f64([2.0, 3.0]).requires_grad_()
    assert not fn.conjugate_gradient(lambda v: weight * v, f64([1.0, 1.0]).requires_grad_()).requires_grad


def test_search_by_hand() -> None:
    """Steps of 8, 4, 2, 1 with a limit of 3: the third is the first short enough."""
    step, accepted = fn.backtracking_search(lambda s: s.abs().amax(-1) <= 3, f64([8.0, -4.0]), shrink=0.5, steps=4)
    close(step, [2.0, -1.0])
    assert accepted.item() is True


def test_search_defaults() -> None:
    """0.8⁹ = 0.134 is the shortest of ten: a limit just above it is met, one just below is not."""
    for limit, expected in ((0.8**9 + 1e-9, True), (0.8**9 - 1e-9, False)):
        step, accepted = fn.backtracking_search(lambda s, limit=limit: s.abs().amax(-1) <= limit, f64([1.0]))
        assert accepted.item() is expected
        close(step, [0.8**9 if expected else 0.0])


def test_searches_are_independent() -> None:
    """Limits 10, 3 and 0.1 on a first step of 8 halved three times: accepted at once, at 2, and never (exactly 0)."""
    shown = []

    def evaluate(step: Tensor) -> Tensor:
        shown.append(step[..., 0].tolist())
        return step.abs().amax(-1) <= f64([10.0, 3.0, 0.1])

    step, accepted = fn.backtracking_search(evaluate, torch.full((3, 2), 8.0, dtype=torch.float64), 0.5, 4)
    close(step, [[8.0, 8.0], [2.0, 2.0], [0.0, 0.0]])
    assert accepted.tolist() == [True, True, False]
    assert shown == [[8.0, 8.0, 8.0], [8.0, 4.0, 4.0], [8.0, 2.0, 2.0], [8.0, 2.0, 1.0]]


def test_an_accepted_step_is_not_given_up() -> None:
    """Later evaluations of an accepted step are ignored."""
    verdicts = iter([torch.tensor([True, False]), torch.tensor([False, True])])
    step, accepted = fn.backtracking_search(lambda s: next(verdicts), f64([[1.0], [1.0]]), 0.5, 2)
    close(step, [[1.0], [0.5]])
    assert accepted.tolist() == [True, True]


def test_a_nonfinite_step_that_is_never_accepted_becomes_0() -> None:
    step, accepted = fn.backtracking_search(lambda s: s.sum(-1) < math.inf, f64([[float("nan"), 1.0], [1.0, 1.0]]))
    close(step, [[0.0, 0.0], [1.0, 1.0]])
    assert accepted.tolist() == [False, True]
