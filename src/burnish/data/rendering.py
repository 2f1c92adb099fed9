"""How conversations are rendered, which of their tokens are trained, and the clock of templates that write a date."""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache

CODES = "aAwdbBmyYHIMSpfzZjUWcxXGuVeDFTRhnt%"
"""The directives of `strftime`; those that a platform does not know are left as they are."""

_CLOCK = re.compile(r"\bstrftime_now\b")


@dataclass(frozen=True)
class Rendering:
    """What of a conversation is trained, and when it is rendered.

    `mask_formatting` masks tokens that only begin or end a turn, `train_thoughts` is False to mask the thoughts before
    answers, and `last_answer_only` trains the last assistant turn alone. `clock` is the time for templates that write
    it (`strftime_now`); None is now.
    """

    mask_formatting: bool = False
    train_thoughts: bool = True
    last_answer_only: bool = False
    clock: datetime | None = None


USUAL = Rendering()
"""Every answer with its thoughts, rendered now."""


def tells_time(template: str) -> bool:
    """Whether a chat template writes the date or time."""
    return bool(_CLOCK.search(template))


def stopped(template: str, clock: datetime) -> str:
    """The template with its clock stopped: a macro replaces transformers' `strftime_now`.

    A function cannot be passed as a keyword, because transformers gives templates plain data only.
    """
    return _macro(clock) + template


@cache
def _macro(clock: datetime) -> str:
    """`strftime_now` in Jinja: each directive of the format is replaced by its text."""
    codes = [f"%{minus}{code}" for code in CODES for minus in ("", "-")]
    words = {code: text for code in codes if (text := clock.strftime(code)) != code}
    replaced = "".join(f".replace({code!r}, {text!r})" for code, text in words.items())
    # The newline is dropped by `trim_blocks`, so that the template begins at the beginning of a line.
    return f"{{% macro strftime_now(format) -%}}{{{{ format{replaced} }}}}{{%- endmacro %}}\n"
