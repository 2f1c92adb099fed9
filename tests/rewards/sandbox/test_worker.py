"""Checks of one text, as the process that is limited runs them."""

import pytest

from burnish.rewards.sandbox.worker import CHECKS, json_schema, regex


def test_patterns_are_found_or_are_all() -> None:
    assert regex({"pattern": "a.c", "text": "xabcx", "whole": False}) == 1
    assert regex({"pattern": "a.c", "text": "xabcx", "whole": True}) == 0
    assert regex({"pattern": "a.c", "text": " a\nc\n", "whole": True}) == 1
    assert regex({"pattern": "a.c", "text": "a\nc", "whole": False}) == 0


@pytest.mark.parametrize(
    ("text", "score"), [("[1]", 1), ('["a"]', 0), ("[NaN]", 0), ("[", 0), ("[" * 10**5, 0), ("[1] 2", 0)]
)
def test_schemas(text: str, score: float) -> None:
    assert json_schema({"schema": {"items": {"type": "integer"}}, "text": text}) == score


def test_kinds() -> None:
    assert set(CHECKS) == {"regex", "json-schema", "math", "gym"}
