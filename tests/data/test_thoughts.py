"""Thoughts before answers, on text."""

import pytest

from burnish.data.thoughts import TAGS, follows, is_empty, opened, opens, tags_of, thought_of, thoughts

TAG = ("<think>", "</think>")


def test_the_tags_are_the_templates():
    assert tags_of("{{ '[THINK]' + x + '[/THINK]' }}") == ("[THINK]", "[/THINK]")
    assert tags_of("no thoughts") == TAG
    assert all(tags_of(close) == (open_, close) for open_, close in TAGS)


@pytest.mark.parametrize(
    ("context", "is_open", "is_written"),
    [
        ("a<think>", True, True),
        ("a<think>\n", True, True),
        ("a<think>\n\n</think>\n\n", False, True),
        ("a<think>b", False, False),
        ("a", False, False),
        ("a<think>b</think>c", False, False),
    ],
)
def test_a_prompt_that_ends_with_a_thought(context, is_open, is_written):
    assert opens(context, TAG) == is_open
    assert (opened(context, TAG) is not None) == is_written


@pytest.mark.parametrize(
    ("context", "whole", "content", "expected"),
    [
        ("q:", "q:a", "a", "q:a"),
        ("q:<think>\n", "q:<think>\nx</think>a", "", "q:<think>\nx</think>a"),
        ("q:<think>\n", "q:<think>x</think>a", "", "q:<think>\nx</think>a"),
        ("q:<think>\n", "q:a.", "<think>\nx</think>\n\na", "q:<think>\nx</think>\n\na."),
        ("q:<think>\n", "q:\n\na.", "<think>\nx</think>\n\na", "q:<think>\nx</think>\n\na."),
        ("q:<think>\n", "q:a.", "x</think>a", "q:<think>\nx</think>a."),
        ("q:<think>\n", "q:a.", "a", "q:<think>\n\n</think>\n\na."),
        ("q:<think>", "q:a.", "a", "q:<think></think>a."),
        ("q:<think>", "q:</think>a.", "<think>x</think>a", "q:<think>x</think>a."),
        ("q:<think></think>", "q:a.", "a", "q:<think></think>a."),
        ("q:<think>\n</think>", "q:</think>a.", "a", "q:<think>\n</think>a."),
        ("q:<think></think>", "q:<think>x</think>a.", "", None),
        ("q:", "r:a", "a", None),
        ("q:<think>", "r:a", "a", None),
    ],
)
def test_the_answer_behind_its_prompt(context, whole, content, expected):
    assert follows(context, whole, {"content": content}, TAG) == expected


def test_a_thought_of_its_own_key():
    message = {"content": "a", "reasoning_content": "x"}
    assert thought_of(message, TAG, "\n") == ("x\n", "\n\n")
    assert follows("q:<think>\n", "q:a.", message, TAG) == "q:<think>\nx\n</think>\n\na."
    assert thought_of({"content": None, "reasoning_content": " "}, TAG, "") == ("", "")


def test_where_thoughts_are():
    assert thoughts("<think>x</think>\n a<think>y</think>b", False, TAG) == [(0, 18), (19, 35)]
    assert thoughts("x</think>\n a", True, TAG) == [(0, 11)]
    assert thoughts("x</think>\n a", False, TAG) == []


def test_an_empty_thought():
    assert is_empty("\n\n</think>a", TAG)
    assert not is_empty("x</think>a", TAG)
    assert is_empty("</think>", TAG)
