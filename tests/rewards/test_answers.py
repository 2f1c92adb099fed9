"""Where an answer stands in a text, and when two are the same."""

from decimal import Decimal

import pytest

from burnish.rewards.answers import after, boxed, last_number, normalised, same_number


def test_an_answer_stands_after_its_last_marker_on_that_line() -> None:
    assert after("#### 4, no:\n#### 5\nthanks", "####") == "5"
    assert after("The answer is:\n 7", "answer is:") == "7"
    assert after("5", "####") is None
    assert after("a <answer> 5\n6 </answer> b", "<answer>") == " 5\n6 "
    assert after("a <answer> 5", "<answer>") == " 5"


def test_boxes_have_balanced_braces() -> None:
    assert boxed(r"\boxed{1} so \boxed{\frac{1}{2}}.") == r"\frac{1}{2}"
    assert boxed(r"\boxed{1} so \boxed{\frac{1}{2}") is None
    assert boxed("{}" * 10) is None
    assert boxed(r"\boxed{" + "{" * 100_000 + "}" * 100_001) == "{" * 100_000 + "}" * 100_000
    assert after(r"\boxed{x}", "boxed") == "x"


def test_texts_are_normalised() -> None:
    assert normalised("  The  ANSWER, x.\n") == "the answer, x"
    assert normalised("“x”") == "“x”"
    assert normalised("$12$") == normalised("１２") == "12"
    assert normalised("") == normalised("...") == ""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("72", "72"),
        ("it is -1,234,567.50, I think.", "-1234567.50"),
        ("5-3", "3"),
        ("(−4)", "-4"),
        ("= -3", "-3"),
        (".5", "0.5"),
        ("1e5", "100000"),
        ("2, 3", "3"),
        ("10**10**10", "10"),
        ("9" * 5000, "9" * 5000),
        ("1e9999", "1e9999"),
        ("none", None),
        ("١٢", None),
    ],
)
def test_the_last_number_is_read_exactly(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


def test_whole_numbers_are_equal_or_not_and_others_to_six_digits() -> None:
    assert same_number(Decimal("72.0"), Decimal(72))
    assert not same_number(Decimal(1_000_001), Decimal(1_000_000))
    assert same_number(Decimal("0.3333333"), Decimal(1) / 3)
    assert not same_number(Decimal("0.3333"), Decimal(1) / 3)
    assert not same_number(Decimal("1e9999"), Decimal(5))
    assert not same_number(Decimal("1e-9999"), Decimal(5))
