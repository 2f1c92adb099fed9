"""Text as ids: one prompt, its responses, one BOS, one trained EOS, at most `max_length` ids in all.

Prompt and response are tokenised once, each by itself and without special tokens, and put together as ids; the joint
text is never tokenised, so that the responses of a row share identical prompt ids and a response is trained on exactly
the ids that follow the prompt when the model samples.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from burnish.data import formats, templates
from burnish.data.formats import Example, Messages
from burnish.data.tokenised import Response, Tokenised, collect
from burnish.run import UserError

_CHUNK = 1000


def demonstrations(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str) -> Tokenised:
    """Each row as prompt and response, trained on the response: in conversations, on each of the assistant's turns.

    Raises UserError for rows that cannot be read, a tokenizer without EOS, and when no row is left.
    """
    columns = formats.demonstration_columns(dataset, name)
    return tokenise(formats.demonstrations(dataset, name), columns, tokenizer, max_length, name, comparisons=False)


def preferences(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str) -> Tokenised:
    """Each row as a prompt with two responses, chosen first; equal ones are kept, counted and warned of.

    Raises UserError as `demonstrations` does.
    """
    columns = formats.preference_columns(dataset, name)
    found = tokenise(formats.preferences(dataset, name), columns, tokenizer, max_length, name, comparisons=True)
    if found.counts["equal"] == len(found):
        raise UserError(f"{name}: in every row chosen and rejected are the same; there is nothing to learn from them")
    if found.counts["equal"]:
        warnings.warn(
            f"{name}: {found.counts['equal']} of {len(found)} rows have a chosen and a rejected response of the same "
            "tokens; they are kept, but teach nothing.",
            stacklevel=2,
        )
    return found


def tokenise(
    examples: Iterable[Example],
    columns: tuple[str, ...],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str,
    comparisons: bool,
) -> Tokenised:
    """Examples with G responses each as a `Tokenised`; `columns` and `name` say in messages where they come from.

    Its counts: `rows` read, `used` and `dropped` (some response has no trained token within `max_length`); of the rows
    used, `truncated_prompts`, `truncated_responses` and `equal` (all responses alike as trained); of all rows,
    `long_prompts`, whose prompt alone is longer than `max_length`.
    """
    if max_length < 1:
        raise UserError(f"max_length is {max_length}; it must be at least 1.")
    if tokenizer.eos_token_id is None:
        raise UserError(f"{name}: the tokenizer has no EOS token, so no response could ever end; set its `eos_token`.")
    encoder = _Encoder.of(tokenizer)
    keys = ("rows", "used", "dropped", "truncated_prompts", "truncated_responses", "long_prompts", "equal")
    counts = dict.fromkeys(keys, 0)

    def batches() -> Iterator[list[tuple[int, list[Response]]]]:
        remaining = iter(examples)
        while chunk := list(islice(remaining, _CHUNK)):
            kept = []
            for example, (prompt, responses) in zip(chunk, _encode(chunk, encoder, name), strict=True):
                if (fitted := _fit(prompt, responses, encoder, max_length, counts)) is not None:
                    kept.append((example.row, fitted))
            yield kept

    rows, sizes, fingerprint = collect(batches(), comparisons)
    if not counts["used"]:
        raise UserError(
            f"{name}: none of its {counts['rows']} rows has a response token within max_length {max_length}; raise it."
            if counts["rows"]
            else f"{name} has no rows; give a data set with at least one."
        )
    return Tokenised(rows, counts | sizes, fingerprint, name, columns, comparisons)


def prompts(
    texts: Sequence[str | Messages], tokenizer: PreTrainedTokenizerBase, max_length: int, name: str = "prompts"
) -> list[list[int]]:
    """Prompts to continue, as ids: one BOS, then at most the last `max_length` − 1 ids of the text.

    A conversation is rendered up to where the assistant begins to speak. Raises UserError for a prompt of no ids.
    """
    if max_length < 1:
        raise UserError(f"max_length is {max_length}; it must be at least 1.")
    encoder = _Encoder.of(tokenizer)
    rendered = [
        text if isinstance(text, str) else templates.render(text, tokenizer, f"{name}, row {number}", answer_next=True)
        for number, text in enumerate(texts)
    ]
    found = [_cut_left(encoder.with_bos(ids), max_length, encoder.bos) for ids in encoder.ids(rendered)]
    for number, ids in enumerate(found):
        if not ids:
            raise UserError(f"{name}, row {number}: is empty, and the tokenizer has no BOS token to begin with.")
    return found


@dataclass(frozen=True)
class _Encoder:
    """What tokenisation asks of a tokenizer: ids of texts, its BOS and EOS, and the tokens that may close a turn."""

    tokenizer: PreTrainedTokenizerBase
    bos: int | None
    eos: int
    eos_text: str
    closers: dict[int, str]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "_Encoder":
        added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if str(token).strip()}
        eos = -1 if tokenizer.eos_token_id is None else tokenizer.eos_token_id  # prompts to continue need none
        return cls(tokenizer, tokenizer.bos_token_id, eos, str(tokenizer.eos_token), added)

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
        """How many ids belong to a turn: up to the last token that may close one, if only white space follows it."""
        last = next((k for k in range(len(ids) - 1, -1, -1) if ids[k] in self.closers), None)
        if last is None or not text.rstrip().endswith(self.closers[ids[last]].rstrip()):
            return len(ids)
        return last + 1

    def ended(self, ids: list[int], text: str) -> list[int]:
        """The ids with exactly one EOS as their end: their own, less what follows it, or else a new one."""
        if self.eos not in ids or not text.rstrip().endswith(self.eos_text.rstrip()):
            return [*ids, self.eos]
        end = len(ids) - ids[::-1].index(self.eos)
        while end > 1 and ids[end - 2] == self.eos:
            end -= 1
        return ids[:end]


def _encode(chunk: list[Example], encoder: _Encoder, name: str) -> Iterator[tuple[list[int], list[Response]]]:
    """Of each example the prompt's ids, BOS in front, and the whole responses, EOS at the end."""
    parts: list[tuple[str, list[list[templates.Piece]]]] = []
    for example in chunk:
        if isinstance(example.prompt, str):
            parts.append((example.prompt, [[(str(text), True)] for text in example.responses]))
        else:
            where = f"{name}, row {example.row}"
            turns = tuple(response for response in example.responses if isinstance(response, list))
            parts.append(templates.split(example.prompt, turns, encoder.tokenizer, where))
    texts = [text for start, answers in parts for text in (start, *(t for pieces in answers for t, _ in pieces))]
    ids = iter(encoder.ids(texts))
    for start, answers in parts:
        prompt = encoder.with_bos(next(ids))
        yield prompt, [_response(pieces, ids, encoder, begins=not start) for pieces in answers]


def _response(pieces: list[templates.Piece], ids: Iterator[list[int]], encoder: _Encoder, begins: bool) -> Response:
    tokens: list[int] = []
    mask: list[bool] = []
    for place, (text, trained) in enumerate(pieces):
        piece = next(ids)
        if begins and place == 0:
            piece = encoder.without_bos(piece)  # the text's own BOS; the row has one already
        if place == len(pieces) - 1:
            piece = encoder.ended(piece, text)
            end = len(piece)
        else:
            end = encoder.closed(piece, text) if trained else 0
        tokens += piece
        mask += [True] * end + [False] * (len(piece) - end)
    return Response(tokens, mask)


def _fit(
    prompt: list[int], responses: list[Response], encoder: _Encoder, max_length: int, counts: dict[str, int]
) -> list[Response] | None:
    """Prompt and responses within `max_length` ids: first the prompt's left is cut, then each response's right.

    None, counted as dropped, if a response has no trained token left. A first token without a BOS or prompt before it
    has no context to be predicted from, so it is never trained.
    """
    counts["rows"] += 1
    counts["long_prompts"] += len(prompt) > max_length
    longest = max(len(response.tokens) for response in responses)
    start = _cut_left(prompt, max_length - longest, encoder.bos)
    room = max_length - len(start)
    fitted = []
    for response in responses:
        mask = [False] * len(start) + response.mask[:room]
        if mask:
            mask[0] = False
        if not any(mask):
            counts["dropped"] += 1
            return None
        fitted.append(Response(start + response.tokens[:room], mask))
    counts["used"] += 1
    counts["truncated_prompts"] += len(start) < len(prompt)
    counts["truncated_responses"] += sum(len(response.tokens) > room for response in responses)
    counts["equal"] += len(fitted) > 1 and all(other.tokens == fitted[0].tokens for other in fitted)
    return fitted


def _cut_left(ids: list[int], length: int, bos: int | None) -> list[int]:
    """The last `length` ids, of which BOS keeps its place in front, whatever the length."""
    if len(ids) <= length:
        return ids
    kept = 0 if bos is None else 1
    return ids[:kept] + ids[len(ids) - max(length - kept, 0) :]
