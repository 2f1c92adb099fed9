"""What of the written text is kept: pure functions of a text, and `kept`, which counts what each of them leaves out."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from burnish.evaluation.english import spelled, vocabulary
from burnish.evaluation.text import ngrams, repetition, words

SENTENCES_OF_A_REMARK = 2
FEWEST_WORDS = 8
COMMON_IN = 500
"""A word that is in no dictionary is a word if one in so many of the written texts has it, as "relatable"."""

MOST_REPEATED = 0.2
"""The largest share of 3-grams that a text may have had before."""

SHINGLE, SKETCH, MOST_SHARED = 4, 24, 8
"""Two texts are near duplicates if more than `MOST_SHARED` of their sketches' `SKETCH` shingles of 4 words agree."""

LONGEST_RUN = 7
"""As many words in a row as a text may share with a held-out review: no model has read more of one."""

SENTENCE = re.compile(r".*?[.!?]+[\"'”’)]*(?=\s|$)", re.DOTALL)
MARKUP = re.compile(
    r"^\s*(?:[-*•#>]|\d+[.)]|\|)\s|\*\*|__|```|</?\w+>|https?:|^[^\n]{1,40}:\s*$|\\[()\[]", re.MULTILINE
)
ASSISTANT = re.compile(
    r"\bas an? (?:\w+ )?(?:ai|assistant)\b|\blanguage model\b|\bchatbot\b|\bI(?: am|'m|’m) (?:sorry,? but I|unable to"
    r"|here to help|happy to help|glad to hear|glad you)\b"
    r"|\bI (?:cannot|can't|can’t) (?:provide|help|assist|fulfil|write)\b"
    r"|\b(?:your|you are|you're) (?:review|paragraph|story|text|writing|request|essay|question|prompt|feedback|draft)"
    r"|\brewritten\b|\brewrite\b|\blet me know\b|\bfeel free\b|\brevised\b|\bSmolLM"
    r"|\brephras\w+|\bin this (?:revis\w+|version)\b|\bmore concise\b|\bI(?:'ve|’ve| have) (?:added|changed|edited)\b"
    r"|\bhope (?:this|that) helps\b|\bshort paragraph\b",
    re.IGNORECASE,
)
ECHO = re.compile(
    r"^(?:sure|certainly|of course|here(?:'s| is| are) (?:[\w-]+ ){0,3}(?:review|story|paragraph|description|dialogue"
    r"|version|example|plot|text)|title:|review:)"
    r"|\bin (?:one or two|a few) sentences\b|\bin (?:one|a short) paragraph\b|\bthe first person\b|\b\d+[- ]words?\b",
    re.IGNORECASE,
)
COMMON = frozenset(words("the a an of and to in is it that i was for with as he she his her this on but not you they"))


def cut(text: str, most: int | None = None, exists: Callable[[str], bool] = lambda _: True) -> str:
    """The whole sentences of a text up to the first that cannot be kept; "" if none can. White space becomes single.

    At most the first `most`; up to the first that has a word that does not exist or repeats an earlier one of three
    words or more; and no further than where the last quotation and bracket are closed.
    """
    found: list[str] = []
    before: set[tuple[str, ...]] = set()
    for sentence in SENTENCE.findall(text.strip())[:most]:
        said = tuple(words(sentence))
        if said in before or not all(map(exists, spelled(sentence))):
            break
        before |= {said} if len(said) > 2 else set()
        found.append(sentence)
    while found and is_unbalanced("".join(found)):
        found.pop()
    return re.sub(r"\s+", " ", "".join(found)).strip()


def has_markup(text: str) -> bool:
    """Whether a text has lists, headings, emphasis, links or code."""
    return MARKUP.search(text) is not None


def is_of_an_assistant(text: str) -> bool:
    """Whether a text refuses, speaks of itself as a model, or talks about the user's writing."""
    return ASSISTANT.search(text) is not None


def echoes_the_prompt(text: str) -> bool:
    """Whether a text announces itself, or repeats how long it was asked to be."""
    return ECHO.search(text) is not None


def is_english(text: str) -> bool:
    """Whether at most 2 % of a text's characters are outside ASCII and of 10 words one is a common English one."""
    found = words(text)
    plain = re.sub("[‘’“”–—…é]", "", text)
    foreign = sum(ord(character) > 127 for character in plain)
    return foreign <= 0.02 * len(plain) and 10 * sum(word in COMMON for word in found) >= len(found) > 0


def is_unbalanced(text: str) -> bool:
    """Whether a quotation or a bracket is opened and not closed, as where a text was cut."""
    quotes = text.count('"') % 2 or text.count("“") != text.count("”")
    return bool(quotes) or any(text.count(a) != text.count(b) for a, b in ("()", "[]"))


def loops(text: str) -> bool:
    """Whether a text repeats its words: more than a fifth of its 3-grams, or a word three times in a row."""
    found = words(text)
    thrice = any(a == b == c for a, b, c in zip(found, found[1:], found[2:], strict=False))
    return thrice or repetition(text) > MOST_REPEATED


def shingles(text: str) -> frozenset[int]:
    """The `SKETCH` smallest hashes of a text's 4-grams.

    Broder (1997), "On the resemblance and containment of documents".
    """
    found = {" ".join(gram) for gram in ngrams(words(text), SHINGLE)} or {" ".join(words(text))}
    return frozenset(sorted(_hash(shingle) for shingle in found)[:SKETCH])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


class Seen:
    """The texts that were kept, and those it begins with, to recognise duplicates of them."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.exact: set[tuple[str, ...]] = set()
        self.holders: dict[int, list[int]] = {}
        self.count = 0
        for text in texts:
            self.reason(text)

    def reason(self, text: str) -> str | None:
        """ "duplicate" or "near duplicate" of an earlier text; otherwise None, and the text counts as seen."""
        exact, sketch = tuple(words(text)), shingles(text)
        if exact in self.exact:
            return "duplicate"
        shared = Counter(holder for shingle in sketch for holder in self.holders.get(shingle, ()))
        if shared and max(shared.values()) > min(MOST_SHARED, len(sketch) // 2):
            return "near duplicate"
        self.exact.add(exact)
        for shingle in sketch:
            self.holders.setdefault(shingle, []).append(self.count)
        self.count += 1
        return None


def runs_of(texts: Iterable[str], length: int = LONGEST_RUN + 1) -> set[tuple[str, ...]]:
    """Every run of `length` words of the texts: none of the held-out ones may be in a training text."""
    return {run for text in texts for run in ngrams(words(text), length)}


def copies(text: str, held_out: Collection[tuple[str, ...]], length: int = LONGEST_RUN + 1) -> bool:
    """Whether a text shares a run of `length` words with the held-out ones, see `runs_of`."""
    return any(run in held_out for run in ngrams(words(text), length))


CHECKS = {
    "markup": has_markup,
    "assistant": is_of_an_assistant,
    "echo": echoes_the_prompt,
    "not English": lambda text: not is_english(text),
    "loop": loops,
}
"""Why a text is left out, and the function that says so, in the order in which they are asked."""


def kept(
    rows: Sequence[Mapping[str, Any]],
    held_out: Sequence[str],
    exists: Callable[[str], bool],
    earlier: Sequence[str] = (),
) -> tuple[list[str], dict[str, int]]:
    """The texts of records of `write` that are kept, and how many each filter leaves out, with "kept" and "shortened".

    Every text is first cut to whole sentences, a remark to two, and then before the first sentence that has a word that
    neither `exists` nor is common among all texts, earlier ones too, see `cut`. None may share a run of words with a
    text of `held_out`, or be a duplicate of one or of an `earlier` text.
    """
    every = [*earlier, *(row["text"] for row in rows)]
    common = vocabulary(every, max(2, len(every) // COMMON_IN))
    known = cache(lambda word: word in common or exists(word))
    counts = dict.fromkeys(["kept", "shortened", *CHECKS, "held out", "short", "duplicate", "near duplicate"], 0)
    runs, seen, texts = runs_of(held_out), Seen([*held_out, *earlier]), []
    for row in rows:
        most = SENTENCES_OF_A_REMARK if row["kind"] == "remark" else None
        whole, text = cut(row["text"], most), cut(row["text"], most, known)
        reason = _reason(row["text"], whole, text, runs) or seen.reason(text)
        counts[reason or "kept"] += 1
        if reason is None:
            counts["shortened"] += text != whole
            texts.append(text)
    return texts, counts


def _reason(raw: str, whole: str, text: str, runs: Collection[tuple[str, ...]]) -> str | None:
    """Why a text is left out on its own: its markup, what its whole sentences say, or that too little is left."""
    if has_markup(raw):
        return "markup"
    found = next((name for name, check in CHECKS.items() if whole and check(whole)), None)
    if found is None and copies(text, runs):
        return "held out"
    return found or ("short" if len(words(text)) < FEWEST_WORDS else None)
