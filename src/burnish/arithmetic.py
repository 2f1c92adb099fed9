"""The exact value of arithmetic in text: numbers, the four operations, signs and parentheses."""

import ast
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def exact_value(expression: str) -> Fraction:
    """The value of an expression such as "(3 + 4) * 12".

    Raises SyntaxError for what is no expression, ValueError for one with anything but numbers, +, -, *, / and
    parentheses, and ZeroDivisionError for a division by 0.
    """
    return _value(ast.parse(expression, mode="eval").body)


def _value(node: ast.AST) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.operand))
    raise ValueError("an expression may have numbers, +, -, *, / and parentheses")
