"""The clock of templates that write a date, against transformers' own."""

from datetime import datetime

import pytest

from burnish.data.rendering import stopped, tells_time

from .tokenizers_on_the_spot import make

CLOCK = datetime(2024, 3, 7, 9, 5, 4)


def written(template: str, **keywords: str) -> str:
    return str(make().apply_chat_template([{"role": "user"}], chat_template=template, tokenize=False, **keywords))


def test_which_templates_tell_the_time():
    assert tells_time("{{ strftime_now('%Y') }}")
    assert not tells_time("{{ strftime_nowhere }}")
    assert not tells_time("None")


@pytest.mark.parametrize("layout", ["%d %b %Y", "%Y-%m-%d", "%-d.%-m.", "%A, %H:%M:%S", "100 %%", "%B"])
def test_a_stopped_clock_writes_what_strftime_does(layout):
    assert written(stopped(f"{{{{ strftime_now('{layout}') }}}}", CLOCK)) == CLOCK.strftime(layout)


def test_nothing_else_changes():
    template = (
        "  {% if strftime_now is defined %}\n{% set day = strftime_now('%d') %}\n  {{ day }}{% endif %}\n{{ bos }}\n"
    )
    assert written(stopped(template, CLOCK), bos="b") == "  07b"
    assert written(template, bos="b") == f"  {datetime.now():%d}b"
    assert written(stopped("\n a\n", CLOCK)) == written("\n a\n") == "\n a"
