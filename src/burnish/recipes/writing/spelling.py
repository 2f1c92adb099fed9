"""Which tokens can follow the beginning of a word so that a word comes out that exists, and a teacher of it.

A model that has read little gives each of the thousands of tokens that add letters to a word a little probability
behind words that are whole, and together they are likely enough for "goodbyeously" every few sentences. More of the
same text does not take it away. But which tokens cannot follow is known, and the model without them is a teacher.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.policies.language.policy import LanguagePolicy

TAIL = re.compile(r"(['’]?)([^\W_]*)$")

BROKEN = "\ufffd"
"""What a part of a character is decoded to."""

FREE = None
"""The state behind an apostrophe, in a word with a digit or a broken character, and in one that begins with a capital,
which may be a name: everything may follow."""

NOTHING = -1
"""The number of a state that forbids nothing: between words, `FREE`, or the beginning of no known word."""

IMPOSSIBLE = -1e4
"""The logit of a token that cannot follow: its probability is 0, and 0 times its logarithm is 0."""


@dataclass(frozen=True)
class Piece:
    """What a token does to a word: letters that it `adds` to it; or it ends it, and leaves the beginning of another."""

    adds: str | None
    leaves: str | None

    def after(self, begun: str | None) -> str | None:
        """The beginning of a word behind this token, where `begun` was before it."""
        if self.adds is None:
            return self.leaves
        return FREE if begun is FREE or has_digit(self.adds) else begun + self.adds


def piece(text: str) -> Piece:
    """The `Piece` of a token's text, which is empty for tokens that are no text: they end a word.

    The tokens of a byte-level tokenizer have letters at their end alone, if any.
    """
    apostrophe, begun = TAIL.search(text).groups()  # type: ignore[union-attr]
    if begun and begun == text:
        return Piece(begun, None)
    free = apostrophe or BROKEN in text or has_digit(begun) or begun[:1].isupper()
    return Piece(None, FREE if free else begun)


def has_digit(letters: str) -> bool:
    return any(letter.isdigit() for letter in letters)


class Lexicon:
    """For every beginning of one of the `words`, the tokens of a byte-level tokenizer that may follow it.

    A token of letters may if a word begins so, or is so; one that ends the word if it is one already. Words are as
    `burnish.evaluation.english.spelled` gives them. Beginnings have numbers: `number` by name.
    """

    def __init__(self, words: Iterable[str], tokenizer: Any) -> None:
        special, known = set(tokenizer.all_special_ids), set(words)
        texts = ["" if i in special else tokenizer.backend_tokenizer.decode([i]) for i in range(len(tokenizer))]
        self.pieces = [piece(text) for text in texts]
        adding: dict[str, list[int]] = {}
        for i, one in enumerate(self.pieces):
            if one.adds is not None and not has_digit(one.adds):
                adding.setdefault(one.adds, []).append(i)
        found: dict[str, set[int]] = {}
        for word in sorted(known):
            for i in range(1, len(word) + 1):
                may = found.setdefault(word[:i], set())
                may.update(*(adding.get(word[i:j], ()) for j in range(i + 1, len(word) + 1)))
        self.number = {begun: number for number, begun in enumerate(found)}
        # The last are those of NOTHING, which is counted from the end.
        self.allowed = [torch.tensor(sorted(ids), dtype=torch.long) for ids in (*found.values(), ())]
        self.whole = torch.tensor([*(begun in known for begun in found), True])
        self.kinds = torch.zeros(2, len(texts))
        """1 for the tokens of letters, and for those that end a word."""
        self.kinds[0, [i for ids in adding.values() for i in ids]] = 1.0
        ends = [i for i, one in enumerate(self.pieces) if one.adds is None and BROKEN not in texts[i]]
        self.kinds[1, ends] = 1.0

    def states(self, tokens: Iterable[int]) -> list[int]:
        """The number of the state before each token of a text, and behind the last; `NOTHING` where all may follow."""
        begun: str | None = ""
        found = [NOTHING]
        for token in tokens:
            begun = self.pieces[token].after(begun)
            found.append(NOTHING if not begun else self.number.get(begun, NOTHING))
        return found

    def forbids(self, states: Int[Tensor, "k"]) -> Bool[Tensor, "k V"]:
        """The tokens that cannot follow in each of these states: of those with letters all that it does not allow, and
        those that end a word where there is none yet."""
        begun = states != NOTHING
        found = torch.stack([begun, begun & ~self.whole[states]], 1).float() @ self.kinds > 0
        ids = [self.allowed[number] for number in states.tolist()]
        rows = torch.arange(len(ids)).repeat_interleave(torch.tensor([len(one) for one in ids], dtype=torch.long))
        return found.index_put_((rows, torch.cat(ids)), torch.tensor(False))


class Speller(LanguagePolicy):
    """A policy that gives no probability to what a lexicon forbids, and all else its share: a teacher.

        π'(a | s) = π(a | s) [a may follow s] / Σ_b π(b | s) [b may follow s]

    It is the nearest to π, by KL(π'‖π), of all that write no word outside the lexicon. That holds for the distributions
    that `divergences` asks a teacher for, from `states` and `logits`; log-probabilities of chosen tokens are π's.
    """

    def __init__(self, policy: LanguagePolicy, lexicon: Lexicon) -> None:
        vars(self).update(vars(policy))
        self.lexicon = lexicon

    def states(self, batch: Any) -> Float[Tensor, "k d_plus_1"]:
        """The policy's, and behind each the number of the lexicon's state."""
        numbers = [self.lexicon.states(row)[:-1] for row in batch.tokens.flatten(0, -2).tolist()]
        chosen = torch.tensor(numbers, device=batch.mask.device).view(batch.mask.shape)[batch.mask]
        return torch.cat([super().states(batch).float(), chosen[:, None].float()], -1)

    def logits(self, hidden: Float[Tensor, "k any"]) -> Float[Tensor, "k V"]:
        if hidden.shape[-1] == self.width:
            return super().logits(hidden)
        wrong = self.lexicon.forbids(hidden[:, -1].long().cpu())
        return super().logits(hidden[:, :-1]).masked_fill(wrong.to(hidden.device), IMPOSSIBLE)
