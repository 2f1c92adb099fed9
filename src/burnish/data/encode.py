"""Tokenises examples: each prompt with its response as one text.

The ids are the model's own: a conversation's are those of `apply_chat_template`, plain text's those that the tokenizer
gives for prompt and response together, with its own special tokens. The mask is laid over them by characters.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise, takewhile
from typing import Any

from transformers import PreTrainedTokenizerBase

from burnish.data.dialogues import spoken
from burnish.data.formats import Example, Messages
from burnish.data.rendering import USUAL, Rendering
from burnish.data.templates import Span, Template, Text, Written, conversation
from burnish.data.tokenised import Response, chunks
from burnish.ends import special_tokens
from burnish.run import UserError


@dataclass(frozen=True)
class Laid:
    """The ids of a text with their mask; the first `start` lie wholly in its prompt."""

    tokens: list[int]
    mask: list[bool]
    start: int


@dataclass(frozen=True)
class Tokens:
    """A text's ids with the characters of each, and the special tokens that the tokenizer puts around it."""

    before: list[int]
    ids: list[int]
    spans: list[Span]
    after: list[int]


@dataclass(frozen=True)
class Encoder:
    """A tokenizer with what tokenisation needs to know: its BOS and EOS, its special tokens and its chat template."""

    tokenizer: PreTrainedTokenizerBase
    bos: int | None
    eos: int
    eos_text: str
    special: frozenset[int]
    template: Template

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, how: Rendering = USUAL) -> "Encoder":
        eos = -1 if tokenizer.eos_token_id is None else tokenizer.eos_token_id  # not needed to tokenise prompts
        special = frozenset(special_tokens(tokenizer).values())
        template = Template.of(tokenizer, how)
        return cls(tokenizer, tokenizer.bos_token_id, eos, str(tokenizer.eos_token), special, template)

    @classmethod
    def checked(
        cls, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str, how: Rendering = USUAL
    ) -> "Encoder":
        """The encoder for training data. Raises UserError if `max_length` is below 1 or there is no EOS token."""
        check_length(max_length)
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"{name}: the tokenizer has no EOS token, so responses would never end; set its `eos_token`."
            )
        return cls.of(tokenizer, how)

    @property
    def how(self) -> Rendering:
        return self.template.how

    def written(self, example: Example, name: str) -> Written:
        """An example as texts."""
        if example.conversational:
            return conversation(example, self.template.at(f"{name}, row {example.row}", example.template_options))
        texts = [self._plain(str(example.prompt), str(response)) for response in example.responses]
        several = any(len(text.spans) > 1 for text in texts)
        if several and self.how.last_answer_only:
            texts = [replace(text, spans=text.spans[-1:]) for text in texts]
        return Written([texts], Counter(earlier_answers=int(several)))

    def _plain(self, prompt: str, response: str) -> Text:
        """Plain text; white space after an EOS that the response has itself is left out."""
        spans: list[Span] = []
        place = len(prompt)
        for piece, trained in spoken(prompt, response):
            spans += [(place, place + len(piece))] if trained else []
            place += len(piece)
        bare = response.rstrip()
        text = prompt + (bare if bare.endswith(self.eos_text) else response)
        return Text(text, len(prompt), tuple(spans), plain=True)

    def prompts(
        self, prompts: Sequence[str | Messages], options: Sequence[dict[str, Any]], name: str
    ) -> list[list[int]]:
        """The ids of prompts to sample from: rendered up to where the answer begins, plain ones without an end."""
        talks, ids = [isinstance(prompt, list) for prompt in prompts], dict[int, list[int]]()
        texts = [
            self.template.at(f"{name}, row {number}", options[number]).prompt(prompt)
            if isinstance(prompt, list)
            else prompt
            for number, prompt in enumerate(prompts)
        ]
        for talk in (True, False):
            places = [i for i, one in enumerate(talks) if one == talk]
            found = self.tokens([texts[i] for i in places], not talk, [[0]] * len(places))
            ids |= {i: one.before + one.ids for i, one in zip(places, found, strict=True)}
        return [ids[i] for i in range(len(texts))]

    def laid(self, texts: list[Text]) -> list[Laid]:
        """The texts' ids and masks."""
        found: dict[int, Laid] = {}
        for plain in (False, True):
            places = [i for i, text in enumerate(texts) if text.plain == plain]
            marks = [[0, texts[i].start, *(edge for span in texts[i].spans for edge in span)] for i in places]
            tokens = self.tokens([texts[i].text for i in places], plain, marks)
            found |= {i: self._lay(texts[i], one) for i, one in zip(places, tokens, strict=True)}
        return [found[i] for i in range(len(texts))]

    def _lay(self, text: Text, found: Tokens) -> Laid:
        """Ids and mask: one BOS at most before plain text, and one trained end behind every text.

        A token that reaches from the prompt into the response belongs to the response.
        """
        before, ids = found.before, list(found.ids)
        start = self._before(text.start, text.text, found)
        ranges = [(self._before(a, text.text, found), b) for a, b in text.spans]
        mask = [any(first <= i and begin < end for first, end in ranges) for i, (begin, _) in enumerate(found.spans)]
        while text.plain and len(ids) > start + 1 and ids[-2:] == [self.eos] * 2:
            del ids[-1], mask[-1]
        after = [] if text.closed else found.after
        if not text.closed and self.eos not in after and ids[-1:] != [self.eos]:
            after = [*after, self.eos]
        elif ids[-1:] == [self.eos] == after[:1]:
            after = after[1:]
        tokens = before + ids + after
        return Laid(tokens, [False] * len(before) + mask + [True] * len(after), len(before) + start)

    def _before(self, edge: int, text: str, found: Tokens) -> int:
        """The number of ids that lie wholly before a character.

        If a token reaches over it, those that the text before it has alone are before it nevertheless: an added token
        that takes the white space behind it, or the bytes of one of several unknown characters.
        """
        count = sum(1 for _ in takewhile(lambda span: span[1] <= edge, found.spans))
        if count < len(found.spans) and found.spans[count][0] < edge:
            alone = self.tokenizer(text[:edge], add_special_tokens=False, verbose=False)["input_ids"]
            count = max(count, in_common([alone, found.ids]))
        return count

    def tokens(self, texts: list[str], special: bool, marks: list[list[int]]) -> list[Tokens]:
        """The tokenizer's ids of each text; `special`: with what it puts around a text, but at most one BOS.

        A tokenizer that does not say which characters a token has is asked for the ids of the text up to each of
        `marks`: a token begins at the last mark whose ids the text's ids begin with.
        """
        if not texts:
            return []
        first, last = self.around if special else (0, 0)
        ids = self.tokenizer(
            texts,
            add_special_tokens=special,
            return_offsets_mapping=self.tokenizer.is_fast,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        split = []
        for number, whole in enumerate(ids["input_ids"]):
            end = len(whole) - last
            if self.tokenizer.is_fast:
                spans = _filled(ids["offset_mapping"][number][first:end])
            else:
                spans = self._by_prefixes(texts[number], whole[first:end], marks[number])
            split.append(Tokens(whole[:first], whole[first:end], spans, whole[end:]))
        return [self._with_one_bos(one) for one in split] if special else split

    @cached_property
    def around(self) -> tuple[int, int]:
        """The numbers of special tokens that the tokenizer puts before and behind a text."""
        bare, whole = (self.tokenizer("a film", add_special_tokens=special)["input_ids"] for special in (False, True))
        first = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        return first, len(whole) - len(bare) - first

    def _with_one_bos(self, found: Tokens) -> Tokens:
        """Without the BOS that a text has itself behind another one."""
        ids = found.before[-1:] + found.ids
        more = sum(1 for _ in takewhile(lambda pair: pair == (self.bos, self.bos), pairwise(ids)))
        return Tokens(found.before, found.ids[more:], found.spans[more:], found.after)

    def _by_prefixes(self, text: str, ids: list[int], marks: list[int]) -> list[Span]:
        spans: list[Span] = []
        begin = 0
        for end in sorted({*marks, len(text)}):
            part = self.tokenizer(text[:end], add_special_tokens=False, verbose=False)["input_ids"]
            count = len(ids) if end == len(text) else in_common([ids, part])
            spans += [(begin, end)] * (count - len(spans))
            begin = end
        return spans

    def without_formatting(self, response: Response) -> Response:
        """The response with its special tokens, and the white space after an end of turn, masked out."""
        mask: list[bool] = []
        for trained, turn in groupby(zip(response.tokens, response.mask, strict=True), key=lambda pair: pair[1]):
            ids = [token for token, _ in turn]
            word = next((k for k in range(len(ids) - 1, -1, -1) if not self._is_formatting(ids[k])), -1)
            closing = next((k for k in range(word + 1, len(ids)) if ids[k] in self.special), len(ids))
            mask += [trained and token not in self.special and k < closing for k, token in enumerate(ids)]
        return Response(response.tokens, mask)

    def _is_formatting(self, token: int) -> bool:
        return token in self.special or str(self.tokenizer.decode([token])).isspace()


def _filled(spans: list[Span]) -> list[Span]:
    """Some byte-level tokenizers leave the spaces before a word out of its characters; a token of spaces alone then has
    none, and gets those after the token before it."""
    filled: list[Span] = []
    for begin, end in spans:
        filled.append((filled[-1][1] if begin == end and filled else begin, end))
    return filled


def whole(
    examples: Iterable[Example], encoder: Encoder, name: str
) -> Iterator[tuple[Example, list[Laid], dict[str, int]]]:
    """The rows of each example before truncation: per response its ids; an empty row if nothing is to be trained."""
    for chunk in chunks(examples):
        written = [encoder.written(example, name) for example in chunk]
        laid = iter(encoder.laid([text for one in written for row in one.rows for text in row]))
        for example, one in zip(chunk, written, strict=True):
            for number, row in enumerate(one.rows or [[]]):
                yield example, [next(laid) for _ in row], dict(+one.notes) if number == 0 else {}


def in_common(lists: Sequence[list[int]]) -> int:
    """The number of ids that all lists begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*lists, strict=False)))


def check_length(max_length: int) -> None:
    """Raise UserError for a limit that leaves no room."""
    if max_length < 1:
        raise UserError(f"max_length is {max_length}; it must be at least 1.")
