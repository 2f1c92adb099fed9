"""Thoughts that a model writes before its answer, and generation prompts that open one."""

import re
from typing import Any

Tags = tuple[str, str]

TAGS: tuple[Tags, ...] = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<thinking>", "</thinking>"),
)
"""What begins and ends a thought, in the families of reasoning models."""

REASONING = ("reasoning_content", "thinking", "reasoning")
"""The keys under which a message has its thought apart from its content, as in transformers."""


def tags_of(template: str) -> Tags:
    """The tags that a chat template writes or reads; `<think>` if it has none."""
    return next((tags for tags in TAGS if tags[1] in template), TAGS[0])


def opened(context: str, tags: Tags) -> re.Match[str] | None:
    """The thought that a generation prompt ends with; its group 1 is there if the prompt also closes it."""
    return re.search(rf"{re.escape(tags[0])}\s*({re.escape(tags[1])}\s*)?\Z", context)


def opens(context: str, tags: Tags) -> bool:
    """Whether a generation prompt begins a thought that the model is to finish."""
    found = opened(context, tags)
    return found is not None and found[1] is None


def follows(context: str, whole: str, message: dict[str, Any], tags: Tags) -> str | None:
    """The generation prompt `context` followed by the answer; None if `whole`, the text with it, differs before it.

    `whole` may differ in the thought that the generation prompt opens: many templates open it there and leave it out of
    a finished turn. Then the thought is the message's own, from its content or its `reasoning_content`, and an empty
    one if it has none.
    """
    if whole.startswith(context):
        return whole
    begun = opened(context, tags)
    if begun is None or not whole.startswith(context[: begun.start()]):
        return None
    open_, close = tags
    rest = whole[begun.start() :]
    if begun[1] is not None:  # the generation prompt writes an empty thought
        empty = re.match(rf"\s*({re.escape(open_)}\s*)?{re.escape(close)}\s*", rest)
        rest = rest[empty.end() :] if empty else rest
        return None if rest.startswith(open_) else context + rest
    space = context[begun.start() + len(open_) :]
    if rest.lstrip().startswith(open_):
        return context + rest.lstrip()[len(open_) :].removeprefix(space)
    rest = rest.removeprefix(close)
    thought, gap = thought_of(message, tags, space)
    return context + thought + close + ("" if rest[:1].isspace() else gap) + rest


def thought_of(message: dict[str, Any], tags: Tags, space: str) -> tuple[str, str]:
    """A message's thought and the white space after its end, behind a prompt that ends with a tag and `space`."""
    for key in REASONING:
        if isinstance(found := message.get(key), str) and found.strip():
            return found + space, 2 * space
    content, close = message.get("content"), re.escape(tags[1])
    if isinstance(content, str) and (
        # Data of models whose prompt opens the thought often lack the opening tag.
        found_in := re.match(rf"\s*(?:{re.escape(tags[0])})?(.*?){close}(\s*)", content, re.DOTALL)
    ):
        return found_in[1].removeprefix(space), found_in[2]
    return space, 2 * space


def thoughts(answer: str, begun: bool, tags: Tags) -> list[tuple[int, int]]:
    """Where the thoughts of an answer begin and end, with the tags and the white space after them.

    `begun`: the answer stands behind a prompt that opens its first thought.
    """
    first = rf"\A|{re.escape(tags[0])}" if begun else re.escape(tags[0])
    return [found.span() for found in re.finditer(rf"(?:{first}).*?{re.escape(tags[1])}\s*", answer, re.DOTALL)]


def is_empty(answer: str, tags: Tags) -> bool:
    """Whether the thought that the prompt opens is closed without a word."""
    return not answer.partition(tags[1])[0].strip()
