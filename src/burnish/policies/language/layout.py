"""How rows of tokens are laid out for the model: sorted by length into buckets of bounded size.

A padded batch of texts is mostly padding when lengths vary. Computing rows of similar length together wastes little,
and a causal model never looks at what follows a token, so right padding needs no attention mask.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from burnish.batches import Demonstrations


@dataclass(frozen=True)
class Bucket:
    """Rows of similar length, cut to the part that the model has to read.

    `inputs[n, s]` are the ids read; `chosen[n, s]` is True where the *next* token was chosen by the policy, and
    `targets` are those tokens in row-major order. `rows` and `columns` say where their log-probabilities belong, and
    `lines` are the rows of the batch that were read.
    """

    inputs: Int[Tensor, "n s"]
    chosen: Bool[Tensor, "n s"]
    targets: Int[Tensor, "k"]
    rows: Int[Tensor, "k"]
    columns: Int[Tensor, "k"]
    lines: Int[Tensor, "n"]


def buckets(
    tokens: Int[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    max_tokens: int,
    last_too: bool = False,
    lengths: Int[Tensor, "N"] | None = None,
    kinds: Int[Tensor, "N"] | None = None,
) -> list[Bucket]:
    """Split rows into buckets of at most `max_tokens` padded tokens (one row at least), longest first.

    This is the one place that shifts by one: the token in column t is predicted from columns before t, so column 0
    can never be chosen. Rows in which nothing is chosen are left out, and nothing after a row's last chosen token is
    read. That token itself is read with `last_too` only, as nothing is predicted from it. Where the rows' `lengths` are
    given, they are read whole instead; only rows of the same of their `kinds` share a bucket. Raises ValueError where
    the mask is True in column 0.
    """
    last = last_chosen(mask)
    read = torch.where(last > 0, last + last_too if lengths is None else lengths, 0)
    order = torch.argsort(read, descending=True, stable=True)
    order = order[read[order] > 0]
    out: list[Bucket] = []
    while len(order):
        width = int(read[order[0]])
        count = max(1, max_tokens // width)
        if kinds is not None:  # rows of one kind follow one another
            count = min(count, int((kinds[order] == kinds[order[0]]).sum()))
        rows, order = order[:count], order[count:]
        chosen = mask[rows, 1 : width + 1]
        row, column = chosen.nonzero(as_tuple=True)
        targets = tokens[rows, 1 : width + 1][row, column]
        chosen = torch.nn.functional.pad(chosen, (0, width - chosen.shape[1]))
        out.append(Bucket(tokens[rows, :width], chosen, targets, rows[row], column + 1, rows))
    return out


def empty(device: torch.device) -> Bucket:
    """A row of one token, in which nothing is chosen."""
    none, one = torch.zeros(0, dtype=torch.long, device=device), torch.zeros(1, dtype=torch.long, device=device)
    return Bucket(one[None], one[None] > 0, none, none, none, one)


def last_chosen(mask: Bool[Tensor, "N T"]) -> Int[Tensor, "N"]:
    """The last column of each row where the mask is True, 0 where it nowhere is: reading what stands before it predicts
    all chosen tokens. Raises ValueError where the mask is True in column 0."""
    if mask[..., 0].any():
        raise ValueError("the first token of a row has nothing before it: its mask must be False")
    return torch.where(mask, torch.arange(mask.shape[1], device=mask.device), 0).amax(1)


def behind_the_end(
    tokens: Int[Tensor, "N T"], lengths: Int[Tensor, "N"]
) -> tuple[Int[Tensor, "N T+1"], Bool[Tensor, "N T+1"]]:
    """The rows with one column more, and a mask that is True in column `lengths` alone.

    So `buckets` reads each row up to its last real token, where a whole text is scored. The added
    column, and everything after a row's end, is never read. A row without a token (a missing response of a ranking)
    has no True.
    """
    columns = torch.arange(tokens.shape[1] + 1, device=tokens.device)
    return torch.nn.functional.pad(tokens, (0, 1)), (columns == lengths[:, None]) & (lengths > 0)[:, None]


def completions_batch(prompts: list[list[int]], completions: list[list[int]]) -> Demonstrations:
    """Prompts and completions as a batch with the mask True on the completions."""
    lengths = torch.tensor([len(p) + len(c) for p, c in zip(prompts, completions, strict=True)])
    starts = torch.tensor([len(p) for p in prompts])
    tokens = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        tokens[row, : lengths[row]] = torch.tensor(prompt + completion)
    columns = torch.arange(tokens.shape[1])
    mask = (columns >= starts[:, None]) & (columns < lengths[:, None])
    return Demonstrations(tokens, mask, lengths, torch.arange(len(prompts)))
