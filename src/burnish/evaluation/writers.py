"""Models that write texts which are kept: a model in this process, or one behind HTTP.

A text is a function of the model, of what it goes on with, and of how it is drawn. One that cannot be used is kept,
with the reason.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.data import tokenise
from burnish.data.thoughts import TAGS, Tags, opens, tags_of
from burnish.ends import special_tokens
from burnish.evaluation.readings import Reading, is_unicode
from burnish.evaluation.served_model import ServedModel, brief
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import longest_row, sample
from burnish.policies.language.stops import BEFORE, Stops

TAIL = 16
"""So many tokens of a prompt say whether it opens a thought."""
ENDS = (None, "stop", "eos", "eos_token", "stop_sequence", "end_turn")
"""What servers say of a text that has an end; None is not to say."""


@dataclass(frozen=True)
class Talk:
    """What a model goes on with: `messages`, or the `text` if it has no chat template.

    `options` are keywords for the template. The text must be `whole`: have an end before the largest number of tokens.
    """

    messages: Sequence[dict[str, Any]]
    text: str
    whole: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def number(self, most: int) -> int:
        """A number below `most` that the talk alone decides: of a random stream, or a seed."""
        asked = json.dumps([list(self.messages), self.text, dict(self.options)], sort_keys=True, default=str)
        return int(hashlib.sha256(asked.encode()).hexdigest(), 16) % most


@dataclass(frozen=True)
class PolicyWriter:
    """Writes with a language model in this process, at most `max_new_tokens` tokens; at temperature 0 the likeliest.

    The random stream of a text is that of its talk and the `seed`. Where the model has no chat template, its text also
    ends before one of `stops`. `checksum` says which weights and tokenizer the model has.
    """

    name: str
    policy: LanguagePolicy
    checksum: str
    max_new_tokens: int
    temperature: float = 1.0
    seed: int = 0
    stops: tuple[str, ...] = ()
    at_once: int = 32

    @property
    def identity(self) -> str:
        return drawn_as(self.checksum, self.max_new_tokens, self.temperature, self.seed)

    def __call__(self, talks: Sequence[Talk], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        chat = bool(self.policy.tokenizer.chat_template)
        asked: list[Any] = [list(one.messages) if chat else one.text for one in talks]
        options = [dict(one.options) if chat else {} for one in talks]
        ids: dict[int, list[int]] = {}
        for number, one in enumerate(tokenise.questions(asked, self.policy.tokenizer, options)):
            if isinstance(one, str):
                yield number, Reading(None, one, requests=0)
            elif len(one) >= (room := longest_row(self.policy, len(one))):
                problem = f"the question has {len(one)} tokens, and the model reads {room}"
                yield number, Reading(None, problem, requests=0)
            else:
                ids[number] = one
        yield from zip(ids, self.drawn(list(ids.values()), [talks[number] for number in ids], chat), strict=True)

    @property
    def tags(self) -> Tags:
        """What begins and ends a thought of the model's."""
        tokenizer = self.policy.tokenizer
        return tags_of(str(tokenizer.get_chat_template()) if tokenizer.chat_template else "")

    def drawn(self, ids: Sequence[list[int]], talks: Sequence[Talk], chat: bool) -> Iterator[Reading]:
        """What the model writes behind each prompt; without a template as it stands there, white space included."""
        if not ids:
            return
        stops = None if chat or not self.stops else Stops(self.stops, self.policy.tokenizer)
        knobs: dict[str, Any] = {"temperature": self.temperature} if self.temperature else {"top_k": 1}
        streams = [one.number(2**62) for one in talks]
        limit = self.max_new_tokens
        sampled = sample(self.policy, ids, seed=self.seed, max_new_tokens=limit, stops=stops, streams=streams, **knobs)
        ends, tokenizer, tags = self.policy.ends, self.policy.tokenizer, self.tags
        special = special_tokens(tokenizer)
        decoder = Decoder.of(self.policy)
        decoder = replace(decoder, hidden=decoder.hidden - {special[tag] for tag in tags if tag in special})
        for prompt, tokens, ended, talk in zip(ids, sampled.tokens, sampled.ended, talks, strict=True):
            cut = None if stops is None else stops.cut(prompt, ends.without(tokens))
            before = [] if chat else prompt[-BEFORE:]
            alone, text = decoder.texts([before] * 2, [[], tokens if cut is None else cut.tokens])
            text = text[len(alone) :] + ("" if cut is None else cut.rest)
            begun = chat and opens(str(tokenizer.decode(prompt[-TAIL:])), tags)
            text, whole = text.strip() if chat else text.rstrip(), ended or cut is not None
            yield in_text(text, whole, talk.whole, limit, tags=(tags,), begun=begun)


@dataclass(frozen=True)
class ServerWriter(ServedModel):
    """Writes with a served model, at most `max_new_tokens` tokens; the seed of a request is that of its talk and the
    `seed`."""

    max_new_tokens: int = 512
    temperature: float = 1.0
    seed: int = 0

    @property
    def identity(self) -> str:
        return drawn_as(self.name, self.max_new_tokens, self.temperature, self.seed)

    def __call__(self, talks: Sequence[Talk], most: int | None = None) -> Iterator[tuple[int, Reading]]:
        tries = self.tries_for(len(talks), most)
        return self.each(lambda talk: self.ask(talk, tries), talks)

    def ask(self, talk: Talk, tries: int) -> Reading:
        """What the server's model writes."""
        seed = (talk.number(2**31) + self.seed) % 2**31
        wanted: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_new_tokens, "seed": seed}
        return self.answer(talk.messages, tries, lambda reply, n: self.read(reply, talk.whole, n), **wanted)

    def read(self, reply: Any, whole: bool, requests: int) -> Reading:
        """The text in a reply."""
        try:
            choice = reply["choices"][0]
            said, reason = choice["message"]["content"] or "", choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            said, reason = None, None
        if not isinstance(said, str):
            return Reading(None, f"a reply without a message: {brief(reply)}", requests, refused=True)
        why = "" if reason == "length" else f"no end: the server stopped with {str(reason)[:40]!r}"
        return in_text(said.strip(), reason in ENDS, whole, self.max_new_tokens, requests, why=why)


def drawn_as(model: str, max_new_tokens: int, temperature: float, seed: int) -> str:
    """Which model writes, and how its texts are drawn."""
    return f"{model}, {max_new_tokens} tokens, temperature {temperature:g}, seed {seed}"


def in_text(
    said: str,
    ended: bool,
    whole: bool,
    most: int,
    requests: int = 1,
    *,
    tags: Sequence[Tags] = TAGS,
    begun: bool = False,
    why: str = "",
) -> Reading:
    """A text without the thought before it, between any of these `tags`, or why it cannot be used.

    `begun`: the text stands behind a prompt that opens its thought. `why` it has no end, if it is not for its length.
    """
    text, problem = said, ""
    for _, closed in tags:
        if closed in text:
            text, begun = text.rpartition(closed)[2].lstrip(), False
    if begun or any(opened in text for opened, _ in tags):
        problem = f"a thought without an end within {most} tokens"
    elif not text.strip():
        problem = "an empty answer"
    elif whole and not ended:
        problem = why or f"no end within {most} tokens"
    elif not is_unicode(text):
        problem = "a text with half of a surrogate pair"
    return Reading(None, problem, requests, text=text)
