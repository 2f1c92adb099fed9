"""Options: every bound refuses what is outside it, in a sentence that names the field, and is shown in help."""

import dataclasses
import math
from typing import Any

import pytest

from burnish.options import allows, check, described, option, shown


@dataclasses.dataclass(frozen=True)
class Some:
    """One option of each kind."""

    above: float = option(1.0, "a", gt=0)
    least: int = option(1, "b", ge=1)
    closed: float = option(0.5, "c", ge=0, le=1)
    half: float = option(0.5, "d", ge=0, lt=1, why="at 1 nothing is left")
    open_: float = option(0.5, "e", gt=0, lt=1)
    endless: float = option(1.0, "f", gt=0, infinite=True)
    maybe: float | None = option(None, "g", gt=0)
    most: int = option(1, "h", le=2**32 - 1)
    below: float = option(0.0, "j", lt=0.5)
    low_open: float = option(1.0, "k", gt=0, le=1)
    costly: int = option(1, "l", ge=1, most=1000)
    free: str = option("x", "i")

    def __post_init__(self) -> None:
        check(self)


FIELDS = {field.name: field for field in dataclasses.fields(Some)}


@pytest.mark.parametrize(
    ("name", "good", "bad", "sentence"),
    [
        ("above", [1e-9, 5], [0, -1, math.nan, math.inf], "above must be above 0, not {}"),
        ("least", [1, 10**9], [0, -3], "least must be at least 1, not {}"),
        ("closed", [0, 1], [-0.1, 1.1, math.nan], "closed must lie in [0, 1], not {}"),
        ("half", [0, 0.999], [1, -0.1], "half must lie in [0, 1), not {}: at 1 nothing is left"),
        ("open_", [0.001, 0.999], [0, 1], "open_ must lie in (0, 1), not {}"),
        ("endless", [math.inf, 3], [0, -math.inf, math.nan], "endless must be above 0, not {}"),
        ("maybe", [None, 2], [0, math.inf], "maybe must be above 0, not {}"),
        ("most", [-5, 2**32 - 1], [2**32], "most must be at most 4294967295, not {}"),
        ("below", [-3.0, 0.499], [0.5, 7, math.nan, -math.inf], "below must be below 0.5, not {}"),
        ("low_open", [0.1, 1], [0, 1.001], "low_open must lie in (0, 1], not {}"),
        ("costly", [1, 1000], [0, -(10**400)], "costly must be at least 1, not {}"),
        ("costly", [999], [1001, 10**30, 10**400], "costly must be at most 1000, not {}"),
        ("least", [10**9], [10**9 + 1, 10**400], "least must be at most 1000000000, not {}"),
        ("above", [1e9], [1e10, 1e300], "above must be at most 1000000000, not {}"),
        ("endless", [1e9], [-1e300], "endless must be above 0, not {}"),
        ("endless", [math.inf], [1e300], "endless must be at most 1000000000, not {}"),
        ("closed", [0.5], ["a", None, [1]], "closed must be a number, not {!r}"),
        ("maybe", [None], ["a"], "maybe must be a number, not {!r}"),
    ],
)
def test_values_inside_pass_and_those_outside_are_refused(name: str, good: list, bad: list, sentence: str) -> None:
    for value in good:
        assert getattr(Some(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(ValueError, match="must") as refused:
            Some(**{name: value})
        digits = str(value)
        told = value if len(digits) <= 60 else f"{digits[:40]}… ({len(digits)} characters)"
        assert str(refused.value) == sentence.format(told)


def test_the_first_field_outside_its_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"^least must"):
        Some(least=0, closed=7)


@pytest.mark.parametrize(
    ("name", "help_"),
    [
        ("above", "> 0"),
        ("least", "≥ 1"),
        ("closed", "in [0, 1]"),
        ("half", "in [0, 1)"),
        ("open_", "in (0, 1)"),
        ("endless", "> 0"),
        ("maybe", "> 0"),
        ("most", "≤ 4294967295"),
        ("below", "< 0.5"),
        ("low_open", "in (0, 1]"),
        ("costly", "≥ 1"),
        ("free", ""),
    ],
)
def test_the_range_is_shown_in_help(name: str, help_: str) -> None:
    assert shown(FIELDS[name]) == help_


def test_a_range_is_described_and_asked() -> None:
    assert described(FIELDS["half"]) == "lie in [0, 1)"
    assert described(FIELDS["above"]) == "be above 0"
    assert described(FIELDS["most"]) == "be at most 4294967295"
    assert allows(FIELDS["half"], 0)
    assert not allows(FIELDS["half"], 1)
    assert [allows(FIELDS["endless"], value) for value in (math.inf, -math.inf, math.nan)] == [True, False, False]
    assert not any(allows(FIELDS["above"], value) for value in (math.inf, -math.inf, math.nan))


def test_help_and_default_are_the_fields_own() -> None:
    assert FIELDS["half"].default == 0.5
    assert FIELDS["half"].metadata["help"] == "d"
    assert FIELDS["maybe"].default is None


def test_a_field_without_metadata_is_left_alone() -> None:
    @dataclasses.dataclass
    class Plain:
        x: Any = -1
        y: float = option(math.nan, "without a bound, any value goes")

    check(Plain())
