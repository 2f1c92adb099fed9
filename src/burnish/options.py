"""Options: dataclass fields that state in one place what they mean, which values they allow, and why.

The same metadata refuses a value, documents it in `--help`, and says its range.
"""

import math
from dataclasses import Field, field, fields
from numbers import Real
from types import NoneType
from typing import Any, get_args

MOST = 1_000_000_000
"""The largest number that an option without an upper bound of its own takes: more is a slip of the keyboard."""

LONGEST = 60
"""The most characters of a wrong value that an error message repeats."""

COLDEST = 1e-4
"""The lowest temperature. Far below it logits overflow; from here on, no token but the likeliest is ever drawn."""


def option(
    default: Any,
    help: str,
    *,
    gt: float | int | None = None,
    ge: float | int | None = None,
    lt: float | int | None = None,
    le: float | int | None = None,
    infinite: bool = False,
    several: bool = False,
    why: str = "",
    most: int = MOST,
) -> Any:
    """A dataclass field with a help text and the range of its values.

    `gt`, `ge`, `lt` and `le` are bounds (above, at least, below, at most), `infinite` allows ±∞, and `why` ends the
    sentence that refuses a value. `most` limits what would need more memory or time than any machine has; it is no part
    of the range that `--help` shows, and holds only where nothing else bounds the value above. None, where the field's
    type allows it, is never checked. `several` marks text that may be given as a list, whose items are joined with
    commas.
    """
    bounds = {name: bound for name, bound in (("gt", gt), ("ge", ge), ("lt", lt), ("le", le)) if bound is not None}
    metadata = {"help": help, "bounds": bounds, "infinite": infinite, "several": several, "why": why}
    metadata["most"] = math.inf if "lt" in bounds or "le" in bounds else most
    return field(default=default, metadata=metadata)


def check(options: Any) -> None:
    """Raise ValueError, naming the field, for the first value of a dataclass that is outside its field's range, or is
    no number where the field has a range."""
    for one in fields(options):
        value = getattr(options, one.name)
        if one.metadata.get("bounds") and not isinstance(value, Real) and not (value is None and optional(one)):
            raise ValueError(f"{one.name} must be a number, not {quoted(value)}")
        if one.metadata.get("bounds") and value is not None and not allows(one, value):
            why = f": {one.metadata['why']}" if one.metadata["why"] else ""
            raise ValueError(f"{one.name} must {described(one)}, not {quoted(value)}{why}")
        infinite = one.metadata.get("infinite") and value == math.inf
        if is_number(value) and value > one.metadata.get("most", math.inf) and not infinite:
            raise ValueError(f"{one.name} must be at most {one.metadata['most']}, not {quoted(value)}")


def optional(one: Field) -> bool:
    """Whether the field's type allows None; so it is taken of a type that is written as text."""
    return isinstance(one.type, str) or NoneType in get_args(one.type)


def quoted(value: object) -> str:
    """A value as error messages quote it: at most `LONGEST` characters of it, and how many there are."""
    try:
        text = repr(value) if isinstance(value, str) else str(value)
    except ValueError:  # Python writes out no more digits than `sys.get_int_max_str_digits`
        return "a number of thousands of digits"
    return shortened(text)


def shortened(text: str) -> str:
    """The text, of which only the beginning is kept where it is longer than `LONGEST`."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]}… ({len(text):,} characters)"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def allows(one: Field, value: float | int) -> bool:
    """Whether a number lies in the field's range; NaN never does."""
    tests = {"gt": lambda v, b: v > b, "ge": lambda v, b: v >= b, "lt": lambda v, b: v < b, "le": lambda v, b: v <= b}
    finite = isinstance(value, int) or math.isfinite(value) or (one.metadata["infinite"] and not math.isnan(value))
    return finite and all(tests[name](value, bound) for name, bound in one.metadata["bounds"].items())


def described(one: Field) -> str:
    """The field's range as the end of "must …": "be above 0", "be at least 1", "lie in [0, 1)"."""
    bounds = one.metadata["bounds"]
    if len(bounds) == 2:
        return f"lie in {interval(bounds)}"
    words = {"gt": "be above", "ge": "be at least", "lt": "be below", "le": "be at most"}
    return " ".join(f"{words[name]} {number(bound)}" for name, bound in bounds.items())


def number(bound: float | int) -> str:
    """A bound as text, a whole number in all its digits."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def interval(bounds: dict[str, Any]) -> str:
    """Two bounds in mathematical notation: [0, 1), (0, 1]."""
    low = f"({number(bounds['gt'])}" if "gt" in bounds else f"[{number(bounds['ge'])}"
    high = f"{number(bounds['lt'])})" if "lt" in bounds else f"{number(bounds['le'])}]"
    return f"{low}, {high}"


def shown(one: Field) -> str:
    """The field's range for `--help`, as "> 0" or "in [0, 1)"; empty where any value is allowed."""
    bounds = one.metadata.get("bounds") or {}
    if len(bounds) == 2:
        return f"in {interval(bounds)}"
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return "".join(f"{signs[name]} {number(bound)}" for name, bound in bounds.items())
