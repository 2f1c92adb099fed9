"""Completions as text: what people and rewards see of the sampled tokens.

A completion's end and padding are never shown. Special tokens that frame a text are left out too: BOS, EOS and the
like, and those that the chat template writes around messages. Other special tokens (`<answer>`, `<tool_call>`) are
part of what the model says, and are shown. With `keep_special_tokens` all but padding and the end are shown.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.ends import Ends, formatting_tokens, special_tokens

FRAMING = ("bos", "eos", "pad", "unk", "sep", "cls", "mask")
"""The roles of special tokens that are not part of a text."""


@dataclass(frozen=True)
class Decoder:
    """Decodes completions, leaving out the `hidden` tokens; `formatting` are those that the chat template writes."""

    tokenizer: Any
    ends: Ends
    hidden: frozenset[int]
    formatting: frozenset[int] = frozenset()

    @classmethod
    def of(cls, policy: Any, keep_special_tokens: bool = False) -> "Decoder":
        """The decoder for a policy's completions."""
        tokenizer = policy.tokenizer
        if keep_special_tokens:
            return cls(tokenizer, policy.ends, frozenset(listed(tokenizer, ["pad"])))
        framing = set(listed(tokenizer, FRAMING)) | set(policy.ends.ids) & set(special_tokens(tokenizer).values())
        formatting = formatting_tokens(tokenizer) - framing
        return cls(tokenizer, policy.ends, formatting | framing, formatting)

    def responses(self, completions: Sequence[Sequence[int]]) -> list[str]:
        """The completions' texts."""
        return self._texts([self.ends.without(ids) for ids in completions])

    def texts(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[str]:
        """The texts of prompts and completions, each pair decoded together."""
        return self._texts([[*p, *self.ends.without(ids)] for p, ids in zip(prompts, completions, strict=True)])

    def warn(self, completions: Iterable[Sequence[int]], say: Callable[[str], None]) -> None:
        """Say which of the template's special tokens the completions have, but not their texts."""
        for token in sorted(self.formatting & {token for ids in completions for token in ids}):
            say(
                f"warning: completions contain {self.tokenizer.convert_ids_to_tokens(token)}, a special token of the "
                "chat template, which is left out of their text: --keep-special-tokens keeps it"
            )

    def _texts(self, rows: list[list[int]]) -> list[str]:
        shown = [[token for token in ids if token not in self.hidden] for ids in rows]
        return list(self.tokenizer.batch_decode(shown, skip_special_tokens=False))


def listed(tokenizer: Any, roles: Iterable[str]) -> list[int]:
    """The ids of the tokens with these roles, where the tokenizer has them."""
    return [number for role in roles if (number := getattr(tokenizer, f"{role}_token_id")) is not None]
