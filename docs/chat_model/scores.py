"""Rewards and judges of docs/chat_model.md."""

import re
from typing import Any

AVERAGE = 4.8
"""Letters per word of the chat model's answers before training, at temperature 1."""


def right(prompts: list[Any], responses: list[str], verdict: list[str], **columns: Any) -> list[float]:
    """1 for an answer in which the right one of the words positive and negative comes first."""
    said = [re.search("positive|negative", text.lower()) for text in responses]
    return [float(bool(one) and one[0] == good.lower().rstrip(".")) for one, good in zip(said, verdict, strict=True)]


def plain(prompts: list[Any], responses: list[str], **columns: Any) -> list[float]:
    """By how many letters the words of an answer are shorter than AVERAGE, on average; −5 for an answer without words.

    It is about 0 before training.
    """
    words = [re.findall(r"[^\W\d_]+", text) for text in responses]
    return [AVERAGE - sum(map(len, found)) / len(found) if found else -5.0 for found in words]


def plainer(prompts: list[Any], a: list[str], b: list[str]) -> list[float]:
    """A judge: the plainer answer is better."""
    return [x - y for x, y in zip(plain(prompts, a), plain(prompts, b), strict=True)]


def shorter(prompts: list[Any], a: list[str], b: list[str]) -> list[int]:
    """A judge: the answer with fewer words is better."""
    return [len(y.split()) - len(x.split()) for x, y in zip(a, b, strict=True)]
