"""The data of docs/chat_model.md: conversations about film reviews, questions, and pairs of answers to them.

    python docs/chat_model/make_data.py FOLDER                     writes reviews, questions, and held-out ones
    python docs/chat_model/make_data.py FOLDER BRIEF.jsonl ANSWERS.jsonl …       writes pairs.jsonl

The reviews are the built-in ones; the questions are made here. BRIEF and ANSWERS are what `burnish sample` wrote: for
the questions with a system message that asks for a short answer, and for the questions as they are.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from burnish.data import builtin

TOPICS = ("rain", "bread", "the moon", "bees", "paper", "sleep", "the sea", "tea", "trees", "glass", "music", "snow")
TOPICS += ("cats", "salt", "wind", "maps", "clocks", "bridges", "soap", "gold")
HELD_OUT_TOPICS = ("milk", "the sun", "books", "rivers", "dogs", "iron", "dreams", "wheels")
BRIEFLY = {"role": "system", "content": "Answer in one short sentence."}
QUESTIONS = ("What is {} good for?", "Tell me something about {}.")


def verdict(mean: float) -> str:
    return "Positive." if mean > 0 else "Negative."


def ask(review: str) -> dict[str, str]:
    return {"role": "user", "content": f"Is this film review positive or negative?\n\n{review}"}


def reviews(name: str, count: int) -> list[tuple[str, float]]:
    """Short reviews that their raters agree on, as many positive as negative, in random order."""
    rows = [(row["text"], row["mean"]) for row in builtin.rated(name) if len(row["text"].split()) <= 25]
    good, bad = ([one for one in rows if sign * one[1] >= 1.5][: count // 2] for sign in (1, -1))
    return random.Random(0).sample(good + bad, count)


def conversations(count: int) -> list[dict[str, Any]]:
    """Each asks about two reviews."""
    turns = [
        [ask(text), {"role": "assistant", "content": verdict(mean)}] for text, mean in reviews("preferences", 2 * count)
    ]
    return [{"messages": first + second} for first, second in zip(turns[::2], turns[1::2], strict=True)]


def questions(topics: tuple[str, ...], *before: dict[str, str]) -> list[dict[str, Any]]:
    asked = [{"role": "user", "content": form.format(topic)} for topic in topics for form in QUESTIONS]
    return [{"prompt": [*before, question]} for question in asked]


def pairs(brief: list[dict[str, Any]], answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pairs for the prompts of `answers`: the brief answer is chosen.

    It is left out where it is not shorter, and where one of the two was cut off.
    """
    shorter = {row["row"]: row for row in brief}
    found = []
    for row in answers:
        both = (shorter[row["row"]], row)
        chosen, rejected = (one["completion"] for one in both)
        if len(chosen.split()) < len(rejected.split()) and all(one["ended"] for one in both):
            said = [[{"role": "assistant", "content": text}] for text in (chosen, rejected)]
            found.append({"prompt": row["prompt"], "chosen": said[0], "rejected": said[1]})
    return found


def read(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 3:
        answers = [row for path in sys.argv[3:] for row in read(path)]
        write(folder / "pairs.jsonl", pairs(read(sys.argv[2]), answers))
    else:
        write(folder / "reviews.jsonl", conversations(320))
        held = [{"prompt": [ask(text)], "verdict": verdict(mean)} for text, mean in reviews("held_out", 100)]
        write(folder / "reviews_held_out.jsonl", held)
        write(folder / "questions.jsonl", questions(TOPICS))
        write(folder / "questions_briefly.jsonl", questions(TOPICS, BRIEFLY))
        write(folder / "questions_held_out.jsonl", questions(HELD_OUT_TOPICS))
