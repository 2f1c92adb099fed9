"""Tokenises examples: prompt and responses are tokenised once, concatenated, and truncated to a length.

Prompt and response are tokenised separately, without special tokens, and concatenated as ids. The joint text is never
tokenised, so that the responses of a row share identical prompt ids and a response is trained on exactly the ids that
follow the prompt when the model samples.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from transformers import PreTrainedTokenizerBase

from burnish.data import templates
from burnish.data.dialogues import spoken
from burnish.data.formats import Example
from burnish.data.tokenised import Response, chunks
from burnish.run import UserError


@dataclass(frozen=True)
class Encoder:
    """A tokenizer with what tokenisation needs to know: its BOS and EOS, and the tokens that can end a turn."""

    tokenizer: PreTrainedTokenizerBase
    bos: int | None
    eos: int
    eos_text: str
    closers: dict[int, str]
    special: frozenset[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Encoder":
        added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if str(token).strip()}
        eos = -1 if tokenizer.eos_token_id is None else tokenizer.eos_token_id  # not needed to tokenise prompts
        special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        named = frozenset(special | set(tokenizer.all_special_ids))
        return cls(tokenizer, tokenizer.bos_token_id, eos, str(tokenizer.eos_token), added, named)

    @classmethod
    def checked(cls, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str) -> "Encoder":
        """The encoder for training data. Raises UserError if `max_length` is below 1 or there is no EOS token."""
        if max_length < 1:
            raise UserError(f"max_length is {max_length}; it must be at least 1.")
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"{name}: the tokenizer has no EOS token, so responses would never end; set its `eos_token`."
            )
        return cls.of(tokenizer)

    def ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(
            texts,
            add_special_tokens=False,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]

    def with_bos(self, ids: list[int]) -> list[int]:
        return ids if self.bos is None else [self.bos, *self.without_bos(ids)]

    def without_bos(self, ids: list[int]) -> list[int]:
        start = 0
        while start < len(ids) and ids[start] == self.bos:
            start += 1
        return ids[start:]

    def closed(self, ids: list[int], text: str) -> int:
        """The number of ids in a turn: up to its last end-of-turn token, if only white space follows."""
        last = next((k for k in range(len(ids) - 1, -1, -1) if ids[k] in self.closers), None)
        if last is None or not text.rstrip().endswith(self.closers[ids[last]].rstrip()):
            return len(ids)
        return last + 1

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

    def ended(self, ids: list[int], text: str) -> list[int]:
        """The ids, ending in exactly one EOS: truncated after their own EOS, or with an EOS appended."""
        if self.eos not in ids or not text.rstrip().endswith(self.eos_text.rstrip()):
            return [*ids, self.eos]
        end = len(ids) - ids[::-1].index(self.eos)
        while end > 1 and ids[end - 2] == self.eos:
            end -= 1
        return ids[:end]


@dataclass(frozen=True)
class Fitted:
    """A tokenised example: the full `prompt`, the full responses in `whole`, and both combined and truncated.

    `responses` contain prompt and response within the length limit; their first `start` ids are the prompt's. They are
    empty if the row is dropped; `formatting_only` is True if only masking its formatting tokens causes that.
    """

    example: Example
    prompt: list[int]
    whole: list[Response]
    start: int
    responses: list[Response]
    formatting_only: bool = False

    @property
    def cut_prompt(self) -> int:
        return len(self.prompt) - self.start

    @property
    def cut_responses(self) -> list[int]:
        lengths = [len(found.tokens) - self.start for found in self.responses]
        return [len(whole.tokens) - length for whole, length in zip(self.whole, lengths, strict=False)]


def fit(
    examples: Iterable[Example], encoder: Encoder, max_length: int, name: str, mask_formatting: bool = False
) -> Iterator[Fitted]:
    """Tokenise each example to at most `max_length` ids: cut the prompt on the left, then responses on the right.

    An example is dropped if any response has no trained token left. `mask_formatting` masks out special tokens and the
    white space after the end of a turn.
    """
    for chunk in chunks(examples):
        for example, (prompt, responses) in zip(chunk, _encode(chunk, encoder, name), strict=True):
            yield _fit(example, prompt, responses, encoder, max_length, mask_formatting)


def _encode(chunk: list[Example], encoder: Encoder, name: str) -> Iterator[tuple[list[int], list[Response]]]:
    """For each example, the prompt's ids, starting with BOS, and the full responses, ending with EOS."""
    parts: list[tuple[str, list[list[templates.Piece]]]] = []
    for example in chunk:
        if isinstance(example.prompt, str):
            parts.append((example.prompt, [spoken(example.prompt, str(text)) for text in example.responses]))
        else:
            where = f"{name}, row {example.row}"
            turns = tuple(response for response in example.responses if isinstance(response, list))
            parts.append(templates.split(example.prompt, turns, encoder.tokenizer, where))
    texts = [text for start, answers in parts for text in (start, *(t for pieces in answers for t, _ in pieces))]
    ids = iter(encoder.ids(texts))
    for start, answers in parts:
        prompt = encoder.with_bos(next(ids))
        yield prompt, [_response(pieces, ids, encoder, begins=not start) for pieces in answers]


def _response(pieces: list[templates.Piece], ids: Iterator[list[int]], encoder: Encoder, begins: bool) -> Response:
    tokens: list[int] = []
    mask: list[bool] = []
    for place, (text, trained) in enumerate(pieces):
        piece = next(ids)
        if begins and place == 0:
            piece = encoder.without_bos(piece)  # the row has a BOS already
        if place == len(pieces) - 1:
            piece = encoder.ended(piece, text)
            end = len(piece)
        else:
            end = encoder.closed(piece, text) if trained else 0
        tokens += piece
        mask += [True] * end + [False] * (len(piece) - end)
    return Response(tokens, mask)


def _fit(
    example: Example,
    prompt: list[int],
    responses: list[Response],
    encoder: Encoder,
    max_length: int,
    mask_formatting: bool,
) -> Fitted:
    """Combine and truncate prompt and responses. The first token of a row is never trained: it has no context."""
    longest = max(len(response.tokens) for response in responses)
    start = cut_left(prompt, max_length - longest, encoder.bos)
    room = max_length - len(start)

    def together(response: Response) -> Response:
        mask = [False] * len(start) + response.mask[:room]
        return Response(start + response.tokens[:room], [False, *mask[1:]] if mask else [])

    usual = [together(response) for response in responses]
    if mask_formatting:
        responses = [encoder.without_formatting(response) for response in responses]
    fitted = [together(response) for response in responses]
    whole_there, there = (all(any(one.mask) for one in group) for group in (usual, fitted))
    return Fitted(example, prompt, responses, len(start), fitted if there else [], whole_there and not there)


def cut_left(ids: list[int], length: int, bos: int | None) -> list[int]:
    """The last `length` ids; a leading BOS is always kept."""
    if len(ids) <= length:
        return ids
    kept = 0 if bos is None else 1
    return ids[:kept] + ids[len(ids) - max(length - kept, 0) :]
