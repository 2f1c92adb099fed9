"""Environments that Burnish brings along: a calculator, a table to look things up in, and a game of guessing."""

from typing import Any

import numpy as np

from burnish.arithmetic import exact_value
from burnish.environments.interface import Environment, Messages, Step, opening

LONGEST_EXPRESSION = 200
MOST_GUESSED = 100


class Calculator:
    """A tool for arithmetic; the row's prompt is the question."""

    def reset(self, **columns: Any) -> None:
        """Nothing has to be remembered."""

    def calculate(self, expression: str) -> str:
        """
        The value of an arithmetic expression with +, -, *, / and parentheses.

        Args:
            expression: The expression, such as "(3 + 4) * 12".
        """
        if len(expression) > LONGEST_EXPRESSION:
            raise ValueError(f"an expression may have at most {LONGEST_EXPRESSION} characters")
        value = exact_value(expression)
        return str(value.numerator) if value.denominator == 1 else f"{float(value):.10g}"


class Lookup:
    """A tool that looks a word up in the row's `table`, a mapping."""

    def reset(self, table: dict[str, Any], **columns: Any) -> None:
        self.table = {str(key): str(value) for key, value in table.items() if value is not None}

    def lookup(self, key: str) -> str:
        """
        What the table says about a word.

        Args:
            key: The word to look up.
        """
        return self.table.get(key, "not found")


class Guess(Environment):
    """A game: find a number from 1 to 100, with the answers "higher" and "lower".

    The number is a function of the seed, or the row's `secret` if it has one. The reward is 1 for finding it.
    """

    def reset(self, row: dict[str, Any], seed: int) -> Messages:
        drawn = int(np.random.default_rng(seed).integers(1, MOST_GUESSED + 1))
        self.secret = int(row["secret"]) if row.get("secret") is not None else drawn
        return opening(row.get("prompt"), f"I think of a number from 1 to {MOST_GUESSED}. Guess it.")

    def step(self, text: str) -> Step:
        digits = text.strip().rstrip(".")
        if not digits.isascii() or not digits.isdigit():
            return [{"role": "user", "content": "Say a number."}], 0.0, False
        said = int(digits[:9])
        if said == self.secret:
            return [], 1.0, True
        return [{"role": "user", "content": "higher" if said < self.secret else "lower"}], 0.0, False
