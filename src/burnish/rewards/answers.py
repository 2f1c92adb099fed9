"""Answers in text: where one stands, and when two are the same."""

import re
import unicodedata
from decimal import Decimal, InvalidOperation

CLOSE = Decimal("1e-6")
"""How far two numbers may differ, as a share of the larger, if one of them is not whole."""

_NUMBER = re.compile(
    r"(?:(?<![\w)])[-+−])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,4}(?!\w))?", re.ASCII
)
_EDGES = " \t\r\n.,;:!?\"'`*$"


def after(text: str, marker: str) -> str | None:
    """What stands after the last marker, on its line; None where there is none.

    The marker `boxed` is LaTeX's \\boxed{…} with its braces balanced; one as `<answer>` ends at `</answer>`, or at the
    end of the text.
    """
    if marker == "boxed":
        return boxed(text)
    place = text.rfind(marker)
    if place < 0:
        return None
    rest = text[place + len(marker) :]
    if re.fullmatch(r"<[^<>/]+>", marker):
        return rest.partition(f"</{marker[1:]}")[0]
    return rest.lstrip().partition("\n")[0]


def boxed(text: str) -> str | None:
    """The content of the last \\boxed{…}; None where there is none or its braces do not close."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for place in range(start + len("\\boxed"), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : place]
    return None


def normalised(text: str) -> str:
    """The text in lower case, without punctuation and quotes around it, with single spaces and no width variants."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.strip(_EDGES).split())


def last_number(text: str) -> Decimal | None:
    """The last number in a text, exactly; commas between thousands are left out. None where there is none."""
    found = None
    for found in _NUMBER.finditer(text):  # noqa: B007
        pass
    if found is None:
        return None
    try:
        return Decimal(found.group().replace(",", "").replace("−", "-"))
    except InvalidOperation:
        return None


def same_number(one: Decimal, other: Decimal) -> bool:
    """Whether two numbers are equal; to six digits, if one of them is not whole."""
    if one == other:
        return True
    if one == one.to_integral_value() and other == other.to_integral_value():
        return False
    return abs(one - other) <= CLOSE * max(abs(one), abs(other))
