"""Rows of tokens without padding: several texts in one row, and a prompt that several responses share only once.

A row of a `Pack` is a chain of parts. A part is a prompt, or a response that continues one:

    tokens     p0 p1 p2 | a0 a1 | b0 b1 b2 | q0 q1 | c0
    positions   0  1  2 |  3  4 |  3  4  5 |  0  1 |  2

A token sees its own part and the prompt that its part continues, up to its own position. So every response has the
hidden states that it would have behind its prompt alone, and the prompt goes through the model once.

Rows of a pack that is `joined` go through the model one behind the other, without padding but for what rounds their
sizes (`STEPS`), and each attends to itself.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from burnish.policies.language.layout import last_chosen

WIDENING = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)
"""How many times as wide as the longest block the rows of a pack may be: the cheapest is taken."""

CALL, IN_BFLOAT16 = 200_000.0, 5.0
"""What attention to a row by itself costs beyond the row's tokens, in tokens of a model of width 1: so many times as
much in bfloat16, where all else takes less time."""

STEPS = 8
"""The sizes that packs have between two powers of two, in bfloat16 on a CPU. There a matrix product of a size that is
new takes ten times as long, because oneDNN generates code for it, and hardly any two batches have the same size."""

PADDING = -1
"""The part of a place without a token."""


@dataclass(frozen=True)
class Pack:
    """Blocks laid out in rows.

    `inputs`, `positions` and `parts` are `[n, s]`: ids, positions within the texts, and numbers of the parts, with
    `prompts` the number of the part that each continues. The hidden states at `at` (rows and columns of what the model
    reads) are those before the `targets`, whose numbers belong at `rows` and `columns` of the batch. `plain` says that
    each row is one text from its beginning, which a causal model reads without a mask. `sizes` are the numbers of
    columns of the rows of a pack that is joined, which the model reads as one row; None where it reads them as they
    are.
    """

    inputs: Int[Tensor, "n s"]
    positions: Int[Tensor, "n s"]
    parts: Int[Tensor, "n s"]
    prompts: Int[Tensor, "n s"]
    at: tuple[Int[Tensor, "k"], Int[Tensor, "k"]]
    targets: Int[Tensor, "k"]
    rows: Int[Tensor, "k"]
    columns: Int[Tensor, "k"]
    plain: bool
    sizes: tuple[int, ...] | None = None

    def read(self, places: Int[Tensor, "n s"]) -> Int[Tensor, "m r"]:
        """`inputs` or `positions` as the model reads them."""
        if self.sizes is None:
            return places
        return torch.cat([row[:size] for row, size in zip(places, self.sizes, strict=True)])[None]

    def states(self, hidden: Float[Tensor, "m r d"]) -> Float[Tensor, "k d"]:
        """The hidden states before the targets."""
        return hidden[self.at]

    def visible(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Whether the key's part is the query's own or the prompt that it continues, for places that broadcast."""
        part = self.parts[row, key]
        return (part == self.parts[row, query]) | (part == self.prompts[row, query])


@dataclass(frozen=True)
class Block:
    """Rows of the batch that begin with the same `prompt` tokens, and the numbers of tokens read behind it."""

    rows: list[int]
    prompt: int
    behind: list[int]

    @property
    def size(self) -> int:
        return self.prompt + sum(self.behind)


def packs(
    tokens: Int[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    starts: Int[Tensor, "N"],
    max_tokens: int,
    width: int,
    call: float | None = None,
    steps: int | None = None,
) -> list[Pack]:
    """Lay out the tokens before each place where the mask is True, in packs of at most `max_tokens` (a block at least).

    `starts` are the lengths of the prompts: rows with the same prompt may share it. `width` is that of the model's
    hidden states: it says how much attention between the texts of a row costs beside reading a token of padding. Packs
    are joined where that costs less, with `call` for each row, see `call_cost`; None: never. With `steps` the sizes are
    `rounded`. Rows in which nothing is chosen are left out, and nothing after a row's last chosen token is read, nor
    that token itself. Raises ValueError where the mask is True in column 0.
    """
    read, chosen, ids = (one.cpu().numpy() for one in (last_chosen(mask), mask, tokens))
    blocks = sorted(blocks_of(ids, read, starts.cpu().numpy(), width, max_tokens), key=lambda block: -block.size)
    found = []
    while blocks:
        count, total = 1, blocks[0].size
        while count < len(blocks) and total + blocks[count].size <= max_tokens:
            total += blocks[count].size
            count += 1
        rows, joined = cheapest(blocks[:count], width, call)
        found.append(laid_out(rows, ids, chosen, tokens.device, joined, steps))
        blocks = blocks[count:]
    return found


def call_cost(half: bool) -> float:
    """What attention to a row by itself costs in a model of width 1, in its tokens; `half`: in bfloat16."""
    return CALL * (IN_BFLOAT16 if half else 1.0)


def prompt_lengths(mask: Bool[Tensor, "N T"], lengths: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
    """How many tokens stand before each row's first chosen one; all of them where none is chosen."""
    return torch.where(mask.any(1), mask.int().argmax(1), lengths)


def blocks_of(ids: NDArray, read: NDArray, starts: NDArray, width: int, max_tokens: int) -> Iterator[Block]:
    """The rows that are read, those with the same prompt together.

    m responses of r tokens behind a prompt of p cost about (p + m·r)·(1 + (p + m·r) / (4·width)): the first factor is
    the tokens, the second the attention between all of them. That is least per response at m = √(p·(p + 4·width)) / r.
    """
    same: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(read > 0).tolist():
        prompt = min(starts[row], read[row])
        same.setdefault(ids[row, :prompt].tobytes(), []).append(row)
    for prompt_ids, rows in same.items():
        prompt = len(prompt_ids) // ids.itemsize
        longest = max(int(read[row]) - prompt for row in rows) or 1
        best = int((prompt * (prompt + 4 * width)) ** 0.5 / longest)
        count = max(1, min(best, (max_tokens - prompt) // longest))
        for start in range(0, len(rows), count):
            some = rows[start : start + count]
            yield Block(some, prompt, [int(read[row]) - prompt for row in some])


def cheapest(blocks: list[Block], width: int, call: float | None = None) -> tuple[list[list[Block]], bool]:
    """The blocks, longest first, in rows of about the same size, so that reading them costs the least; or each in a row
    of its own, and True, where with `call` for each that costs less."""

    def cost(size: int) -> float:
        return size * (1 + size / (4 * width))

    def padded(rows: list[list[Block]]) -> float:
        return len(rows) * cost(max(sum(block.size for block in row) for row in rows))

    total, longest = sum(block.size for block in blocks), blocks[0].size
    counts = {len(blocks), *(max(1, round(total / (longest * factor))) for factor in WIDENING)}
    rows = min((balanced(blocks, count) for count in sorted(counts) if count <= len(blocks)), key=padded)
    if call is not None and sum(cost(block.size) + call / width**2 for block in blocks) < padded(rows):
        return [[block] for block in blocks], True
    return rows, False


def balanced(blocks: list[Block], count: int) -> list[list[Block]]:
    """The blocks in `count` rows: each block, longest first, joins the row that has the fewest tokens."""
    rows: list[list[Block]] = [[] for _ in range(count)]
    sizes = [(0, row) for row in range(count)]
    for block in blocks:
        size, row = heapq.heappop(sizes)
        rows[row].append(block)
        heapq.heappush(sizes, (size + block.size, row))
    return rows


def rounded(size: int, steps: int | None) -> int:
    """The size, or the next larger one of which there are `steps` between powers of two: at most 1 / steps more."""
    step = 1 if steps is None else max(1, 2 ** (size.bit_length() - 1) // steps)
    return -(-size // step) * step


def laid_out(
    rows: list[list[Block]],
    ids: NDArray,
    chosen: NDArray,
    device: torch.device,
    joined: bool = False,
    steps: int | None = None,
) -> Pack:
    """The pack of these rows of blocks. With `steps` padding makes the rows wider, to `rounded` sizes, and with a last
    row of padding all rows of a joined pack together."""
    needed = [sum(block.size for block in row) for row in rows]
    sizes = tuple(rounded(size, steps) for size in needed)
    if joined and (spare := rounded(sum(sizes), steps and 2 * steps) - sum(sizes)):
        sizes = *sizes, spare
    shape = len(sizes), max(sizes)
    inputs, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    parts, prompts = np.full(shape, PADDING), np.full(shape, PADDING)
    places: list[NDArray] = []  # rows and columns of `inputs`, rows and columns of the batch
    number = 0
    for line, row in enumerate(rows):
        start = 0
        for block in row:
            prompt = slice(start, start + block.prompt)
            inputs[line, prompt] = ids[block.rows[0], : block.prompt]
            positions[line, prompt] = np.arange(block.prompt)
            parts[line, prompt] = prompts[line, prompt] = first = number
            at = prompt.stop
            for text, behind in zip(block.rows, block.behind, strict=True):
                number += 1
                own = slice(at, at + behind)
                inputs[line, own] = ids[text, block.prompt : block.prompt + behind]
                positions[line, own] = np.arange(block.prompt, block.prompt + behind)
                parts[line, own], prompts[line, own] = number, first
                before = np.concatenate([np.arange(prompt.start, prompt.stop), np.arange(at, own.stop)])
                columns = np.flatnonzero(chosen[text, : len(before) + 1])  # column t is read from what stands at t - 1
                places.append(
                    np.stack([np.full_like(columns, line), before[columns - 1], np.full_like(columns, text), columns])
                )
                at = own.stop
            number += 1
            start = at
    line_of, column_of, text_of, target_of = np.concatenate(places, 1)
    if joined:
        line_of, column_of = np.zeros_like(line_of), (np.cumsum(sizes) - sizes)[line_of] + column_of

    def moved(array: NDArray) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Pack(
        inputs=moved(inputs),
        positions=moved(positions),
        parts=moved(parts),
        prompts=moved(prompts),
        at=(moved(line_of), moved(column_of)),
        targets=moved(ids[text_of, target_of]),
        rows=moved(text_of),
        columns=moved(target_of),
        plain=not joined and shape[1] == max(needed) and all(len(row) == 1 and len(row[0].rows) == 1 for row in rows),
        sizes=sizes if joined else None,
    )
