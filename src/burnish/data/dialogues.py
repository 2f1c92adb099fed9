"""Readers of published data sets that have their own column names, as prompts with responses.

Each function reads one of them, row by row, and raises UserError, naming file, row and column, for an invalid value.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from burnish.data import cells
from burnish.data.columns import rows_of
from burnish.data.formats import Example
from burnish.data.messages import Messages
from burnish.run import UserError

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
ROLES = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class Source:
    """A data set with its name for error messages; `chat` asks for dialogues as messages, `left_out` counts skips."""

    dataset: Dataset
    name: str
    chat: bool = False
    left_out: Counter[str] = field(default_factory=Counter)

    def where(self, row: int, column: str) -> str:
        return f"{self.name}, row {row}: column `{column}`"


def are_transcripts(dataset: Dataset) -> bool:
    """Whether `chosen` in the first row is a dialogue with the markers of HH-RLHF."""
    first = next((cell for (cell,) in rows_of(dataset, ("chosen",), size=1)), None)
    return isinstance(first, str) and first.startswith(HUMAN) and ASSISTANT in first


def transcripts(source: Source) -> Iterator[Example]:
    """Anthropic HH-RLHF: `chosen` and `rejected` are whole dialogues, which differ in their last answer.

    The prompt is their common prefix, up to its last `Assistant:` marker. If the dialogues diverge before the last
    answer, the responses are all of the remaining turns.

    Bai et al. (2022), "Training a Helpful and Harmless Assistant with Reinforcement Learning from Human Feedback".
    """
    for number, row in cells.rows(source.dataset, ("chosen", "rejected")):
        texts = [cells.text(row[column], source.where(number, column)) for column in ("chosen", "rejected")]
        shortest = min(map(len, texts))
        same = next((i for i in range(shortest) if texts[0][i] != texts[1][i]), shortest)
        start = texts[0].rfind(ASSISTANT, 0, same)
        if start < 0 or not texts[0].startswith(HUMAN):
            raise UserError(
                f"{source.name}, row {number}: `chosen` and `rejected` must begin with the same {HUMAN.strip()} turn, "
                f"followed by {ASSISTANT.strip()}; fix or remove the row."
            )
        end = start + len(ASSISTANT)
        for column, text in zip(("chosen", "rejected"), texts, strict=True):
            _check_answered(text[end:], source.where(number, column))
        prompt = parsed(texts[0][:end]) if source.chat else texts[0][:end]
        answers = tuple(parsed(ASSISTANT + text[end:]) if source.chat else text[end:] for text in texts)
        yield Example(number, prompt, answers)


def summaries(source: Source) -> Iterator[Example]:
    """OpenAI's comparisons of summaries: `info` is the post, `choice` the index in `summaries` of the better one.

    Stiennon et al. (2020), "Learning to summarize from human feedback"; the prompt has the paper's format (appendix B).
    `extra.confidence`, the labeler's rating on a nine-point scale, is not a probability and is not used.
    """
    for number, row in cells.rows(source.dataset, ("info", "summaries", "choice")):
        post = _post(row["info"], source.where(number, "info"))
        where = source.where(number, "summaries")
        found = row["summaries"] if isinstance(row["summaries"], list) else []
        if len(found) != 2 or not all(isinstance(one, dict) for one in found):
            raise UserError(f"{where} must contain two summaries, each with a `text`; fix or remove the row.")
        texts = [cells.text(one.get("text"), f"{where}, summary {place}") for place, one in enumerate(found)]
        better = _one_of_two(row["choice"], source.where(number, "choice"))
        prompt = [{"role": "user", "content": post}] if source.chat else post
        yield Example(number, prompt, tuple(answer(texts[i], source.chat) for i in (better, 1 - better)))


def _post(info: object, where: str) -> str:
    """The prompt for a Reddit post or a news article."""
    known = info if isinstance(info, dict) else {}
    if known.get("article"):
        return f"Article:\n\n{cells.text(known['article'], f'{where}, `article`')}\n\nTL;DR:"
    post = cells.text(known.get("post"), f"{where}, `post`")
    head = [
        f"{mark}{known[key]}" for mark, key in (("SUBREDDIT: r/", "subreddit"), ("TITLE: ", "title")) if known.get(key)
    ]
    return "\n\n".join([*head, f"POST: {post}", "TL;DR:"])


def forum_comments(source: Source) -> Iterator[Example]:
    """Stanford Human Preferences: `labels` is 1 if `human_ref_A` was preferred; the margin is the score difference.

    Ethayarajh et al. (2022), "Understanding Dataset Difficulty with V-Usable Information".
    """
    scores = tuple(c for c in ("score_A", "score_B") if c in source.dataset.column_names)
    answers = ("human_ref_A", "human_ref_B")
    for number, row in cells.rows(source.dataset, ("history", *answers, "labels", *scores)):
        post = cells.text(row["history"], source.where(number, "history"))
        texts = [cells.text(row[column], source.where(number, column)) for column in answers]
        better = 1 - _one_of_two(row["labels"], source.where(number, "labels"))
        order, margin = (better, 1 - better), None
        if len(scores) == 2:
            votes = [cells.number(row[column], source.where(number, column)) for column in scores]
            margin = votes[better] - votes[1 - better]
        yield Example(
            number, question(post, source.chat), tuple(answer(texts[i], source.chat) for i in order), margin=margin
        )


def rated(rating: str, dialogue: bool) -> Callable[[Source], Iterator[Example]]:
    """A reader for rows with `prompt`, `response` and a `rating`.

    Prompt and response are turns of a `dialogue`, as in HelpSteer, or a text and its continuation, as `burnish sample`
    writes them.
    """

    def read(source: Source) -> Iterator[Example]:
        """For each prompt, the response with the highest rating against the lowest; the margin is their difference.

        Of equal ratings the first is used. Prompts with a single response or with equal ratings are skipped and
        counted, as are the responses in between. An example has the row number of its prompt's first row.

        Wang et al. (2024), "HelpSteer2: Open-source dataset for training top-performing reward models".
        """
        groups: dict[str, list[tuple[int, str, float]]] = {}
        prompts: dict[str, str | Messages] = {}
        for number, row in cells.rows(source.dataset, ("prompt", "response", rating)):
            asked = cells.value(row["prompt"], source.where(number, "prompt"), may_be_empty=not dialogue)
            text = asked if isinstance(asked, str) else json.dumps(asked)
            prompts.setdefault(text, asked)
            response = cells.text(row["response"], source.where(number, "response"))
            score = cells.number(row[rating], source.where(number, rating))
            groups.setdefault(text, []).append((number, response, score))
        for text, group in groups.items():
            best, worst = max(group, key=lambda one: one[2]), min(group, key=lambda one: one[2])
            if len(group) == 1 or best[2] == worst[2]:
                source.left_out["alone" if len(group) == 1 else "ties"] += 1
                continue
            source.left_out["between"] += len(group) - 2
            asked, responses = prompts[text], [response for _, response, _ in (best, worst)]
            turns = isinstance(asked, list)
            prompt = question(asked, source.chat) if dialogue and isinstance(asked, str) else asked
            written = dialogue or turns
            answers = tuple(answer(one, source.chat or turns) if written else one for one in responses)
            yield Example(group[0][0], prompt, answers, margin=best[2] - worst[2])

    return read


def questions(source: Source) -> Iterator[Example]:
    """The prompts of rated responses, one per row."""
    for number, row in cells.rows(source.dataset, ("prompt",)):
        asked = cells.value(row["prompt"], source.where(number, "prompt"))
        yield Example(number, question(asked, source.chat) if isinstance(asked, str) else asked, ())


def question(text: str, chat: bool) -> str | Messages:
    """The user's turn as a prompt that ends where the assistant's answer begins."""
    return [{"role": "user", "content": text.strip()}] if chat else f"{HUMAN} {text.strip()}{ASSISTANT}"


def answer(text: str, chat: bool) -> str | Messages:
    """The assistant's turn as a response."""
    return [{"role": "assistant", "content": text.strip()}] if chat else f" {text.strip()}"


def parsed(text: str) -> Messages:
    """The turns of a dialogue as messages; empty turns are dropped and consecutive turns of one speaker merged."""
    parts = re.split(r"\n\n(Human|Assistant):", text)[1:]
    turns: list[dict[str, Any]] = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        if turns and turns[-1]["role"] == ROLES[speaker]:
            turns[-1]["content"] = f"{turns[-1]['content']}\n\n{said.strip()}".strip()
        elif said.strip():
            turns.append({"role": ROLES[speaker], "content": said.strip()})
    return turns


def spoken(prompt: str, text: str) -> list[tuple[str, bool]]:
    """Split a response into pieces, True for the assistant's turns and False for the human's.

    The response is one piece unless its prompt ends with the `Assistant:` marker and it has further turns.
    """
    if not prompt.endswith(ASSISTANT):
        return [(text, True)]
    pieces: list[tuple[str, bool]] = []
    begin, assistant = 0, True
    for mark in re.finditer(rf"{HUMAN}|{ASSISTANT}", text):
        if assistant == (mark[0] == HUMAN):  # the speaker changes here
            end = mark.start() if assistant else mark.end()
            pieces.append((text[begin:end], assistant))
            begin, assistant = end, not assistant
    return [*pieces, (text[begin:], assistant)]


def _check_answered(text: str, where: str) -> None:
    """Raise UserError if the assistant's first or last turn in a response is empty."""
    said = [piece for piece, by_assistant in spoken(ASSISTANT, text) if by_assistant]
    if not said[0].strip() or not said[-1].strip():
        raise UserError(f"{where} has an empty assistant turn; add text or remove the row.")


def _one_of_two(cell: object, where: str) -> int:
    if isinstance(cell, bool | int | float | str) and cell in (0, 1, "0", "1"):
        return int(cell)
    raise UserError(f"{where} is {cells.shown(cell)}, but it must be 0 or 1; fix or remove the row.")
