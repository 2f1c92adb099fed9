"""Texts at which a completion stops, for showing text: what is trained on-policy ends at its model's own ends alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from burnish.run import UserError

BEFORE = 4
"""So many tokens of the prompt are decoded before a completion: alone, some tokenizers leave out its first space."""


@dataclass(frozen=True)
class Cut:
    """A completion up to a stop text: its whole tokens before it, the characters between them and it, and the text."""

    tokens: list[int]
    rest: str
    stop: str


@dataclass(frozen=True)
class Stops:
    """Finds the first of the `texts` in a completion, wherever its tokens begin and end.

    Special tokens are searched like other text. A completion also stops at any of the `tokens`, as at an end. Raises
    UserError for an empty text.
    """

    texts: tuple[str, ...]
    tokenizer: Any
    tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not all(self.texts):
            raise UserError("--stop needs a text that is not empty")

    @cached_property
    def window(self) -> int:
        """The most tokens that a stop text can lie in: every token has at least one byte."""
        return BEFORE + max((len(text.encode()) for text in self.texts), default=0)

    def reached(self, prompt: Sequence[int], tokens: Sequence[int]) -> bool:
        """Whether the newest of the tokens completes a stop text, or is one to stop at."""
        if tokens[-1] in self.tokens:
            return True
        if not self.texts:
            return False
        recent = self.tokenizer.decode([*prompt[-BEFORE:], *tokens][-self.window :], skip_special_tokens=False)
        return any(text in recent for text in self.texts) and self.place(self.written(prompt, tokens)) is not None

    def cut(self, prompt: Sequence[int], tokens: Sequence[int]) -> Cut | None:
        """A completion up to the first stop text in it; None if it has none."""
        whole = self.written(prompt, tokens)
        found = self.place(whole)
        if found is None:
            return None
        place, stop = found
        for count in range(len(tokens), -1, -1):
            before = self.written(prompt, tokens[:count])
            if whole[:place].startswith(before):
                return Cut(list(tokens[:count]), whole[len(before) : place], stop)
        return Cut([], whole[:place], stop)

    def finished(self, tokens: Sequence[int], rest: str, end: int | None) -> list[int]:
        """The ids of a cut completion: the `rest` as the tokenizer writes it alone, and an `end` where there is one.

        A rest that the tokenizer cannot write alone, such as half of a word, is left out.
        """
        ids = self.tokenizer.encode(rest, add_special_tokens=False) if rest else []
        exact = self.tokenizer.decode([*tokens, *ids]) == self.tokenizer.decode(list(tokens)) + rest
        return [*tokens, *(ids if exact else []), *([] if end is None else [end])]

    def written(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """The text of a completion as it stands behind its prompt, with all special tokens."""
        before = list(prompt[-BEFORE:])
        texts = self.tokenizer.batch_decode([before, [*before, *tokens]], skip_special_tokens=False)
        return texts[1][len(texts[0]) :]

    def place(self, text: str) -> tuple[int, str] | None:
        """Where the first stop text begins, and which it is; of several that begin there, the longest."""
        places = [(text.find(stop), -len(stop), stop) for stop in self.texts if stop in text]
        if not places:
            return None
        place, _, stop = min(places)
        return place, stop
