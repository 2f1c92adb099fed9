"""Truncates tokenised examples to a length: the prompt on the left, then the responses on the right."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from burnish.data.encode import Encoder, Laid, in_common, whole
from burnish.data.formats import Example
from burnish.data.tokenised import Response


@dataclass(frozen=True)
class Fitted:
    """One row of an example: the full `prompt`, the full responses in `whole`, and both combined and truncated.

    `responses` contain prompt and response within the length limit; their first `start` ids are the prompt's. They are
    empty if the row is dropped, and `dropped` says why: `dropped` (no trained token is left), `formatting_only` (only
    masking its formatting tokens causes that) or `untrained` (nothing was to be trained). `notes` are counts about the
    example, given with the first of its rows.
    """

    example: Example
    prompt: list[int]
    whole: list[Response]
    start: int
    responses: list[Response]
    dropped: str = ""
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def cut_prompt(self) -> int:
        return len(self.prompt) - self.start

    @property
    def cut_responses(self) -> list[int]:
        lengths = [len(found.tokens) - self.start for found in self.responses]
        return [len(whole.tokens) - length for whole, length in zip(self.whole, lengths, strict=False)]


def fit(examples: Iterable[Example], encoder: Encoder, max_length: int, name: str) -> Iterator[Fitted]:
    """Tokenise each example to at most `max_length` ids: cut the prompt on the left, then responses on the right.

    A row is dropped if any response has no trained token left.
    """
    for example, group, notes in whole(examples, encoder, name):
        if group:
            yield _fit(example, group, encoder, max_length, notes)
        else:
            yield Fitted(example, [], [], 0, [], "untrained", notes)


def _fit(example: Example, group: list[Laid], encoder: Encoder, max_length: int, notes: dict[str, int]) -> Fitted:
    """Truncate a row. Its prompt is what all responses share; its first token is never trained: it has no context."""
    shared = in_common([one.tokens[: one.start] for one in group])
    prompt = group[0].tokens[:shared]
    responses = [Response(one.tokens[shared:], one.mask[shared:]) for one in group]
    longest = max(len(response.tokens) for response in responses)
    start = cut_left(prompt, max_length - longest, encoder.bos)
    room = max_length - len(start)

    def together(response: Response) -> Response:
        mask = [False] * len(start) + response.mask[:room]
        return Response(start + response.tokens[:room], [False, *mask[1:]] if mask else [])

    def trained(group: list[Response]) -> bool:
        return all(any(one.mask) for one in group)

    fitted = usual = [together(response) for response in responses]
    if encoder.how.mask_formatting:
        responses = [encoder.without_formatting(response) for response in responses]
        fitted = [together(response) for response in responses]
    dropped = "" if trained(fitted) else "formatting_only" if trained(usual) else "dropped"
    return Fitted(example, prompt, responses, len(start), [] if dropped else fitted, dropped, notes)


def cut_left(ids: list[int], length: int, bos: int | None) -> list[int]:
    """The last `length` ids; a leading BOS is always kept."""
    if len(ids) <= length:
        return ids
    kept = int(ids[:1] == [bos])
    return ids[:kept] + ids[len(ids) - max(length - kept, 0) :]
