"""Exact values of arithmetic in text; test_builtin.py of the environments and test_gym.py of the tasks have more."""

from fractions import Fraction

import pytest

from burnish.arithmetic import exact_value


def test_values_are_exact() -> None:
    assert exact_value("(3 + 4) * 12 / 5") == Fraction(84, 5)
    assert exact_value("0.1 + 0.2 - +-1") == Fraction(13, 10)


@pytest.mark.parametrize("expression", ["2 ** 9", "x", "True + 1", "1j", "f(1)", "'a'"])
def test_anything_but_numbers_and_four_operations_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="an expression may have numbers"):
        exact_value(expression)


def test_a_division_by_0_and_half_an_expression() -> None:
    with pytest.raises(ZeroDivisionError):
        exact_value("1 / (2 - 2)")
    with pytest.raises(SyntaxError):
        exact_value("1 +")
